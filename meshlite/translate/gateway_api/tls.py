"""The TLS of a listener: who it is to its clients, and whom they must prove to be.

Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/ and
https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

from typing import Any

from meshlite.model.gateway_api import Gateway, Listener, ObjectReference, SecretObjectReference, TLSConfig
from meshlite.model.mesh import Resource
from meshlite.model.names import ROOT_NAMESPACE
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.world import World

_BUILT_IN = "builtin://"
_MODE = "gateway.istio.io/tls-terminate-mode"
_CIPHERS = "gateway.istio.io/tls-cipher-suites"
_MOST_CERTIFICATES = 2
_KNOWN_CIPHERS = frozenset(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    )
)
"""What Envoy takes; others are left out, as in Istio."""

Settings = dict[str, Any]


def credential(namespace: str, name: str) -> str:
    """A Secret or ConfigMap as Istio's resources name one: those of the root namespace by name alone."""
    return f"kubernetes://{name}" if namespace == ROOT_NAMESPACE else f"kubernetes://{namespace}/{name}"


def settings(
    listener: Listener, gateway: Gateway, owner: Resource, world: World
) -> tuple[Settings | None, Complaint | None]:
    """ServerTLSSettings of an Istio Gateway, and what is wrong with what they refer to."""
    tls = listener.tls
    if tls is None:
        return None, None
    made: Settings = {"mode": "PASSTHROUGH"}
    complaint = None
    wanted = tls.options.get(_MODE, "")
    if tls.mode == "Terminate":
        if wanted == "ISTIO_SIMPLE":
            return {"mode": "SIMPLE", "credentialName": _BUILT_IN}, None
        if wanted == "ISTIO_MUTUAL":
            return {"mode": "ISTIO_MUTUAL"}, None
        made = {"mode": wanted if wanted in ("MUTUAL", "OPTIONAL_MUTUAL") else "SIMPLE"}
        names, complaint = _certificates(tls.certificate_refs, owner, world)
        if not names:
            return made, complaint
        made |= {"credentialName": names[0]} if len(names) == 1 else {"credentialNames": names}
        clients, complaint = _clients(_frontend(gateway, listener.port), wanted, owner, world)
        made |= clients
    if ciphers := _ciphers(tls.options.get(_CIPHERS, "")):
        made["cipherSuites"] = ciphers
    return made, complaint


def _ciphers(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name in _KNOWN_CIPHERS]


def _certificates(
    refs: tuple[SecretObjectReference, ...], owner: Resource, world: World
) -> tuple[list[str], Complaint | None]:
    if len(refs) > _MOST_CERTIFICATES:
        message = f"a listener takes up to {_MOST_CERTIFICATES} certificates"
        return [], Complaint("InvalidCertificateRef", message)
    found = []
    complaint: Complaint | None = None
    for ref in refs:
        wrong = _secret(ref, owner, world)
        if wrong is None:
            namespace = ref.namespace or owner.namespace
            found.append(credential(namespace, ref.name))
        else:
            complaint = wrong if complaint is None else complaint + wrong
    return found, complaint


def _secret(ref: SecretObjectReference, owner: Resource, world: World) -> Complaint | None:
    """What is wrong with a reference to a certificate. It is looked up only if it may be used."""
    namespace = ref.namespace or owner.namespace
    if not world.granted(owner, ref.group, ref.kind, namespace, ref.name):
        return _forbidden("certificateRef", ref.name, namespace, owner)
    if (ref.group, ref.kind) != ("", "Secret"):
        return Complaint("InvalidCertificateRef", f"a {ref.kind} is no certificate: only Secrets are")
    return _missing("InvalidCertificateRef", "certificate", ref.name, namespace, world)


def client_certificate(gateway: Gateway, owner: Resource, world: World) -> Complaint | None:
    """What is wrong with the certificate that a gateway is to show to backends."""
    tls = gateway.tls
    ref = tls.backend.client_certificate_ref if tls is not None and tls.backend is not None else None
    if ref is None:
        return None
    namespace = ref.namespace or owner.namespace
    reason = "InvalidClientCertificateRef"
    if (ref.group, ref.kind) != ("", "Secret"):
        return Complaint(reason, f"a {ref.kind} is no certificate: only Secrets are")
    if not world.granted(owner, ref.group, ref.kind, namespace, ref.name):
        return _forbidden("clientCertificateRef", ref.name, namespace, owner)
    return _missing(reason, "certificate", ref.name, namespace, world)


def _frontend(gateway: Gateway, port: int) -> TLSConfig | None:
    frontend = gateway.tls.frontend if gateway.tls is not None else None
    if frontend is None:
        return None
    return next((entry.tls for entry in frontend.per_port if entry.port == port), frontend.default)


def _clients(
    config: TLSConfig | None, wanted: str, owner: Resource, world: World
) -> tuple[Settings, Complaint | None]:
    """Settings for clients that must show a certificate, or may."""
    validation = config.validation if config is not None else None
    if validation is None:
        return {}, None
    if len(validation.ca_certificate_refs) > 1:
        return {}, Complaint("InvalidCACertificateRef", "only one caCertificateRef is supported")
    [ref] = validation.ca_certificate_refs
    if (complaint := _authority(ref, owner, world)) is not None:
        return {}, complaint
    lenient = validation.mode == "AllowInsecureFallback"
    made: Settings = {
        "mode": "OPTIONAL_MUTUAL" if lenient else "MUTUAL",
        "insecureSkipVerify": lenient,
        "caCertCredentialName": credential(ref.namespace or owner.namespace, ref.name),
    }
    if wanted in ("MUTUAL", "OPTIONAL_MUTUAL"):
        made |= {"mode": wanted, "insecureSkipVerify": False}
    return made, None


def _authority(ref: ObjectReference, owner: Resource, world: World) -> Complaint | None:
    namespace = ref.namespace or owner.namespace
    if not world.granted(owner, ref.group, ref.kind, namespace, ref.name):
        return _forbidden("caCertificateRef", ref.name, namespace, owner)
    if (ref.group, ref.kind) not in (("", "ConfigMap"), ("", "Secret")):
        message = f"a {ref.kind} holds no certificates: only Secrets and ConfigMaps do"
        return Complaint("InvalidCACertificateKind", message)
    return _missing("InvalidCACertificateRef", "CA certificate", ref.name, namespace, world, "-cacert")


def _forbidden(what: str, name: str, namespace: str, owner: Resource) -> Complaint:
    message = (
        f"{what} {name} of namespace {namespace} may not be used by a {owner.kind} of namespace"
        f" {owner.namespace}: a ReferenceGrant there is missing"
    )
    return Complaint("RefNotPermitted", message)


def _missing(
    reason: str, what: str, name: str, namespace: str, world: World, suffix: str = ""
) -> Complaint | None:
    known = world.known.credentials
    if known is None or f"{namespace}/{name}{suffix}" in known:
        return None
    return Complaint(reason, f"there is no {what} {name} in namespace {namespace}")
