"""What is to happen to HTTP requests: tables of virtual hosts and routes, resolved and ready to be emitted.

Values only; all shares are millionths, all names of clusters are final.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from typing import Literal

from meshlite.model.names import virtual_address6
from meshlite.translate.plan.patch import Patch

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Text:
    """How a string must look; `present` takes any value, `elements` is a prefix of whole path elements."""

    kind: Literal["exact", "prefix", "suffix", "contains", "elements", "regex", "present"]
    value: str = ""


def one_of(addresses: Collection[str]) -> Text:
    """The text of any of these addresses."""
    if len(addresses) == 1:
        return Text("exact", *addresses)
    return Text("regex", "|".join(re.escape(address) for address in addresses))


def within(network: str, network6: str = "") -> Text:
    """The text of any address of an IPv4 network. Ranges proper are not a settled part of Envoy's API.

    `network6`: a /96, within which the addresses have IPv6 forms.
    """
    if network6:
        return Text("regex", f"{_as_regex(within(network))}|{_beginning6(network, network6)}[0-9a-f:]*")
    parsed = ipaddress.IPv4Network(network)
    whole, part = divmod(parsed.prefixlen, 8)
    octets = str(parsed.network_address).split(".")
    if not part:
        return Text("exact" if whole == 4 else "prefix", ".".join(octets[:whole]) + "." * (whole < 4))
    first = int(octets[whole])
    values = "|".join(str(value) for value in range(first, first + 2 ** (8 - part)))
    tail = r"\.[0-9.]+" if whole < 3 else ""
    return Text("regex", re.escape("".join(f"{octet}." for octet in octets[:whole])) + f"({values}){tail}")


def _beginning6(network: str, network6: str) -> str:
    """What the texts of all IPv6 forms have in common."""
    edges = (ipaddress.IPv4Network(network)[1], ipaddress.IPv4Network(network)[-1])
    first, last = (virtual_address6(str(edge), network6) for edge in edges)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return re.escape("".join(letter for letter, _ in alike))


def _as_regex(text: Text) -> str:
    if text.kind == "regex":
        return text.value
    return re.escape(text.value) + (".*" if text.kind == "prefix" else "")


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    name: str
    text: Text
    invert: bool = False


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """A claim of the caller's token: a string, or one of a list of strings."""

    keys: tuple[str, ...]
    text: Text
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """All of it must hold. `destination`: the address that the client dialled; None: any."""

    path: Text = Text("prefix", "/")
    ignore_case: bool = False
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[tuple[str, Text], ...] = ()
    destination: Text | None = None
    claims: tuple[ClaimMatch, ...] = ()

    @property
    def everything(self) -> bool:
        """No later route can be reached."""
        whole = self.path in (Text("prefix", "/"), Text("prefix", ""), Text("regex", ".*"))
        return whole and not (self.headers or self.query or self.destination or self.claims)


@dataclass(frozen=True, slots=True)
class HeaderChange:
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    request: HeaderChange = HeaderChange()
    response: HeaderChange = HeaderChange()


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster and its share; `host` replaces the request's host if not empty."""

    cluster: str
    weight: int = 1
    headers: HeaderChanges = HeaderChanges()
    host: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` retries after the first try, on Envoy's conditions `on` (comma list) or on `codes`."""

    attempts: int
    on: str
    codes: tuple[int, ...] = ()
    per_try_timeout: timedelta | None = None
    backoff: timedelta | None = None
    other_hosts: bool = True
    other_priorities: bool = False


@dataclass(frozen=True, slots=True)
class HashKey:
    """What requests are spread by: the named header, cookie or query parameter, or the client's address."""

    kind: Literal["header", "cookie", "query", "address"]
    name: str = ""
    cookie_path: str = ""
    cookie_ttl: timedelta | None = None
    cookie_attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mirror:
    cluster: str
    share: int = MILLION


@dataclass(frozen=True, slots=True)
class Forward:
    """Send on. `timeout` None: none. `prefix` replaces the matched part; or `substitution` the `pattern`.

    `missing`: the answer where the chosen cluster is not there.
    """

    targets: tuple[Target, ...]
    timeout: timedelta | None = None
    retry: Retry | None = None
    prefix: str = ""
    pattern: str = ""
    substitution: str = ""
    host: str = ""
    mirrors: tuple[Mirror, ...] = ()
    hash_keys: tuple[HashKey, ...] = ()
    missing: int = 503


@dataclass(frozen=True, slots=True)
class Redirect:
    """Empty or 0: as in the request. `prefix` replaces the matched part; or `substitution` the `pattern`."""

    code: int = 301
    host: str = ""
    path: str = ""
    prefix: str = ""
    scheme: str = ""
    port: int = 0
    pattern: str = ""
    substitution: str = ""


@dataclass(frozen=True, slots=True)
class Respond:
    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Fault:
    """A delay, an abort, or both, each for its share of the requests."""

    delay: timedelta | None = None
    delay_share: int = 0
    http_status: int | None = None
    grpc_status: int | None = None
    abort_share: int = 0


@dataclass(frozen=True, slots=True)
class Cors:
    origins: tuple[Text, ...] = ()
    methods: str = ""
    request_headers: str = ""
    response_headers: str = ""
    max_age: str = ""
    credentials: bool | None = None
    forward_unmatched: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """`origin`: the resource and the rule in it that it comes from, for people."""

    match: Match
    action: Forward | Redirect | Respond
    name: str = ""
    headers: HeaderChanges = HeaderChanges()
    fault: Fault | None = None
    cors: Cors | None = None
    stat_prefix: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """`encrypted`: what comes in plain text is sent to https with a 301."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A route configuration: what callers that see the same find on one port."""

    name: str
    hosts: tuple[VirtualHost, ...]
    patches: tuple[Patch, ...] = ()
