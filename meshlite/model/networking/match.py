"""What a route of a VirtualService matches, for HTTP requests, TLS connections and TCP connections."""

from __future__ import annotations

from typing import ClassVar

from meshlite.model.message import Message
from meshlite.model.scalars import Bool, PortOrAny


class StringMatch(Message):
    """At most one is set; none set: it must be present. `regex` (RE2) matches the whole value."""

    oneofs: ClassVar = (("exact", "prefix", "regex"),)

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class HTTPMatchRequest(Message):
    """Fields are ANDed. `port`, `source_*` and `gateways` choose which clients get the route at all."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    port: PortOrAny = 0
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    query_params: dict[str, StringMatch] = {}
    ignore_uri_case: Bool = False
    without_headers: dict[str, StringMatch] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class L4MatchAttributes(Message):
    destination_subnets: tuple[str, ...] = ()
    port: PortOrAny = 0
    source_subnet: str = ""
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSMatchAttributes(Message):
    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: PortOrAny = 0
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""
