"""One HTTP rule of a VirtualService: what it matches, where it sends, and what it does on the way.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from meshlite.model.message import Message
from meshlite.model.networking.destination import Destination, Percent
from meshlite.model.networking.match import HTTPMatchRequest, StringMatch
from meshlite.model.scalars import (
    Bool,
    Bytes,
    Count,
    HTTPStatus,
    Port,
    PositiveDuration,
    UInt32,
    WholePercent,
    by_number,
)

_RedirectPort = Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]
_UnmatchedPreflights = Literal["UNSPECIFIED", "FORWARD", "IGNORE"]
RedirectPortSelection = Annotated[_RedirectPort, by_number(_RedirectPort)]
UnmatchedPreflights = Annotated[_UnmatchedPreflights, by_number(_UnmatchedPreflights)]


class HeaderOperations(Message):
    """`set` overwrites, `add` appends, `remove` deletes. Setting `:authority` or `host` rewrites the host."""

    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Message):
    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPRouteDestination(Message):
    """Weights are relative; a lone destination takes all, whatever its weight."""

    destination: Destination
    weight: Count = 0
    headers: Headers | None = None


class HTTPRedirect(Message):
    """An empty `uri`, `authority` or `scheme` keeps the request's; `redirect_code` 0 means 301."""

    oneofs: ClassVar = (("port", "derive_port"),)

    uri: str = ""
    authority: str = ""
    port: Port | None = None
    derive_port: RedirectPortSelection | None = None
    scheme: str = ""
    redirect_code: UInt32 = 0
    prefix_rewrite: str = ""


class HTTPBody(Message):
    oneofs: ClassVar = (("string", "bytes"),)

    string: str | None = None
    bytes: Bytes | None = None


class HTTPDirectResponse(Message):
    status: HTTPStatus
    body: HTTPBody | None = None


class Delegate(Message):
    name: str = ""
    namespace: str = ""


class RegexRewrite(Message):
    """RE2 pattern, and a replacement with `\\1` for its first group."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Message):
    """`uri` replaces the matched prefix, or the whole path when the match was not a prefix."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Message):
    """`attempts` counts retries, not tries; 0 turns them off. `retry_on`: conditions, by comma."""

    attempts: Count = 0
    per_try_timeout: PositiveDuration | None = None
    retry_on: str = ""
    retry_remote_localities: Bool | None = None
    retry_ignore_previous_hosts: Bool | None = None
    backoff: PositiveDuration | None = None


class Delay(Message):
    oneofs: ClassVar = (("fixed_delay", "exponential_delay"),)

    percent: WholePercent = 0
    fixed_delay: PositiveDuration | None = None
    exponential_delay: PositiveDuration | None = None
    percentage: Percent | None = None


class Abort(Message):
    """`grpc_status` is a code's name in capitals, e.g. UNAVAILABLE."""

    oneofs: ClassVar = (("http_status", "grpc_status", "http2_error"),)

    http_status: HTTPStatus | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Message):
    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Message):
    """Absent `percentage`: everything is mirrored."""

    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Message):
    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: PositiveDuration | None = None
    allow_credentials: Bool | None = None
    unmatched_preflights: UnmatchedPreflights = "UNSPECIFIED"


class HTTPRoute(Message):
    """The first rule that matches wins; within a rule, `match` blocks are ORed.

    Absent `timeout`: none. Absent `retries`: the mesh's default. Absent `mirror_percentage`: everything.
    """

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: PositiveDuration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: WholePercent | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None
