"""What a route of Gateway API does to requests and responses on their way.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.forms import (
    HeaderName,
    HeaderValue,
    Origin,
    Path,
    Port,
    PreciseHostname,
    whole,
)
from meshlite.model.gateway_api.references import BackendObjectReference, LocalObjectReference
from meshlite.model.message import Message
from meshlite.model.scalars import Bool

_COUNT = 2**31 - 1


class HTTPHeader(Message):
    name: HeaderName
    value: HeaderValue


class HeaderModifier(Message):
    """Of headers with one name, in any case, the first counts."""

    set: Annotated[tuple[HTTPHeader, ...], Field(max_length=16)] = ()
    add: Annotated[tuple[HTTPHeader, ...], Field(max_length=16)] = ()
    remove: Annotated[tuple[str, ...], Field(max_length=16)] = ()


class PathModifier(Message):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Path | None = None
    replace_prefix_match: Path | None = None


class RequestRedirect(Message):
    """What is absent stays as in the request; with a `scheme`, the port becomes that scheme's."""

    scheme: Literal["http", "https"] | None = None
    hostname: PreciseHostname | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class URLRewrite(Message):
    hostname: PreciseHostname | None = None
    path: PathModifier | None = None


class Fraction(Message):
    numerator: Annotated[int, whole(0, _COUNT)]
    denominator: Annotated[int, whole(1, _COUNT)] = 100


class RequestMirror(Message):
    """Without `percent` and `fraction`: everything."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, whole(0, 100)] | None = None
    fraction: Fraction | None = None


CorsMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]


class CORS(Message):
    """`max_age` in seconds."""

    allow_origins: Annotated[tuple[Origin, ...], Field(max_length=64)] = ()
    allow_credentials: Bool | None = None
    allow_methods: Annotated[tuple[CorsMethod, ...], Field(max_length=9)] = ()
    allow_headers: Annotated[tuple[HeaderName, ...], Field(max_length=64)] = ()
    expose_headers: Annotated[tuple[HeaderName, ...], Field(max_length=64)] = ()
    max_age: Annotated[int, whole(1, _COUNT)] = 5


class GRPCAuth(Message):
    allowed_headers: tuple[str, ...] = ()


class HTTPAuth(Message):
    path: Path | None = None
    allowed_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()


class ForwardBody(Message):
    max_size: Annotated[int, whole(0, _COUNT)] | None = None


class ExternalAuth(Message):
    protocol: Literal["HTTP", "GRPC"]
    backend_ref: BackendObjectReference
    grpc: GRPCAuth | None = None
    http: HTTPAuth | None = None
    forward_body: ForwardBody | None = None


class HTTPRouteFilter(Message):
    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_mirror: RequestMirror | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: URLRewrite | None = None
    cors: CORS | None = None
    external_auth: ExternalAuth | None = None
    extension_ref: LocalObjectReference | None = None


class GRPCRouteFilter(Message):
    type: Literal["ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_mirror: RequestMirror | None = None
    extension_ref: LocalObjectReference | None = None
