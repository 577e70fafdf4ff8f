"""Extension providers of the mesh's configuration, in Istio's words: services that decide about calls.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from meshlite.model.message import Message
from meshlite.model.scalars import Bool, Port, PositiveDuration, UInt32, refuse, shown

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?"
_SERVICE = re.compile(rf"({_LABEL}/)?{_LABEL}(\.{_LABEL})+")


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise refuse(f"{shown(text)} is not a service's full name: write namespace/host, or the host")
    return text.lower()


def _status(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and 200 <= int(text) < 600):
        raise refuse(f"{shown(text)} is not an HTTP status")
    return text


def _prefix(text: str) -> str:
    if text and not text.startswith("/"):
        raise refuse(f"{shown(text)} does not begin with /")
    return text


ServiceName = Annotated[str, AfterValidator(_service)]
StatusText = Annotated[str, AfterValidator(_status)]


class RequestBody(Message):
    max_request_bytes: UInt32 = 0
    allow_partial_message: Bool = False
    pack_as_bytes: Bool = False


class EnvoyExternalAuthorizationHttpProvider(Message):
    """Headers may begin or end with `*`. `timeout`: by default 600 s. `status_on_error`: by default 403."""

    service: ServiceName
    port: Port
    timeout: PositiveDuration | None = None
    path_prefix: Annotated[str, AfterValidator(_prefix)] = ""
    fail_open: Bool = False
    clear_route_cache: Bool = False
    status_on_error: StatusText = ""
    include_headers_in_check: tuple[str, ...] = ()
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: dict[str, str] = {}
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class EnvoyExternalAuthorizationGrpcProvider(Message):
    service: ServiceName
    port: Port
    timeout: PositiveDuration | None = None
    fail_open: Bool = False
    clear_route_cache: Bool = False
    status_on_error: StatusText = ""
    include_request_body_in_check: RequestBody | None = None


class ExtensionProvider(Message):
    """A provider by the name that policies call it. One of its kinds."""

    oneofs: ClassVar = (("envoy_ext_authz_http", "envoy_ext_authz_grpc"),)

    name: Annotated[str, Field(min_length=1)]
    envoy_ext_authz_http: EnvoyExternalAuthorizationHttpProvider | None = None
    envoy_ext_authz_grpc: EnvoyExternalAuthorizationGrpcProvider | None = None
