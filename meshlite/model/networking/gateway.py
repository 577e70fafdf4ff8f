"""Gateway: ports at the edge of the mesh, the hosts served there, and their TLS.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.scalars import Bool, UInt32, by_number

_TLSMode = Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"]
_TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]
ServerTLSMode = Annotated[_TLSMode, by_number(_TLSMode)]
TLSProtocol = Annotated[_TLSProtocol, by_number(_TLSProtocol)]


class TLSCertificate(Message):
    """Files of one certificate and its key."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Message):
    """How a server takes TLS. Certificates come from files or, by name, from the node's credentials.

    Several names or pairs are for an RSA and an ECDSA certificate side by side. On a plain HTTP port only
    `https_redirect` has a meaning. `verify_certificate_*`, `subject_alt_names`: which clients' certificates.
    """

    oneofs: ClassVar = (
        ("credential_names", "tls_certificates"),
        ("credential_name", "credential_names"),
        ("credential_name", "tls_certificates"),
    )

    https_redirect: Bool = False
    mode: ServerTLSMode = "PASSTHROUGH"
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Field(max_length=2)] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    insecure_skip_verify: Bool | None = None


class Port(Message):
    """A server's port. `name` is unique within its Gateway."""

    number: UInt32
    protocol: str
    name: str
    target_port: UInt32 = 0


class Server(Message):
    """`hosts`: `name`, `namespace/name`, with a leading wildcard or `*` for any; `.` is the own namespace."""

    port: Port
    bind: str = ""
    hosts: tuple[str, ...]
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class Gateway(Message):
    """Without a selector it is for the built-in gateways of every node."""

    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = {}
