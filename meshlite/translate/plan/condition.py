"""What may be asked about a caller and its call, and how answers are put together. Values only.

Leaves that only HTTP has an answer to are those of `HTTP`; the rest holds for connections, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TypeGuard

import re2

from meshlite.translate.plan.route import Text


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller's SPIFFE URI. Who is not of the mesh has none, which fits no text."""

    text: Text


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """The address that the connection comes from, within a CIDR block."""

    block: str


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """The client's address as X-Forwarded-For tells it; without that header, as SourceAddress."""

    block: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header, or HTTP/2's pseudo header of that meaning."""

    name: str
    text: Text
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """The path without query, normalised. `template`: Envoy's, instead of the text."""

    text: Text
    template: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A value that a filter has noted of the request or connection. `listed`: an item of a list."""

    filter: str
    keys: tuple[str, ...]
    text: Text
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the caller's token: a string, or an item of a list of strings."""

    keys: tuple[str, ...]
    text: Text
    listed: bool = False


@dataclass(frozen=True, slots=True)
class DestinationPort:
    number: int


@dataclass(frozen=True, slots=True)
class DestinationAddress:
    """An own address of the workload that is called, within a CIDR block."""

    block: str


@dataclass(frozen=True, slots=True)
class ServerName:
    """The name that the client's TLS asks for."""

    text: Text


Leaf = (
    Principal
    | SourceAddress
    | RemoteAddress
    | Header
    | Path
    | Metadata
    | Claim
    | DestinationPort
    | DestinationAddress
    | ServerName
)


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Test, ...] = ()


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Test, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    part: Test


Test = Leaf | All | Any | Not

ALWAYS: Test = All()
NEVER: Test = Any()
HTTP = (Header, Path, Claim)


def is_leaf(test: Test) -> TypeGuard[Leaf]:
    return not isinstance(test, All | Any | Not)


def leaves(test: Test) -> tuple[Leaf, ...]:
    if is_leaf(test):
        return (test,)
    parts = (test.part,) if isinstance(test, Not) else test.parts  # type: ignore[union-attr]
    return tuple(leaf for part in parts for leaf in leaves(part))


def rewritten(test: Test, change: Callable[[Leaf], Test]) -> Test:
    """With its leaves changed, and without what then says nothing."""
    if is_leaf(test):
        return change(test)
    if isinstance(test, Not):
        return negated(rewritten(test.part, change))
    parts = tuple(rewritten(part, change) for part in test.parts)  # type: ignore[union-attr]
    return all_of(*parts) if isinstance(test, All) else any_of(*parts)


def all_of(*tests: Test) -> Test:
    parts = tuple(dict.fromkeys(test for test in tests if test != ALWAYS))
    if NEVER in parts:
        return NEVER
    return parts[0] if len(parts) == 1 else All(parts)


def any_of(*tests: Test) -> Test:
    parts = tuple(dict.fromkeys(test for test in tests if test != NEVER))
    if ALWAYS in parts:
        return ALWAYS
    return parts[0] if len(parts) == 1 else Any(parts)


def negated(test: Test) -> Test:
    if isinstance(test, Not):
        return test.part
    if test == ALWAYS:
        return NEVER
    return ALWAYS if test == NEVER else Not(test)


def settled(leaf: Leaf, port: int | None, addresses: tuple[str, ...]) -> Test:
    """What is known of the called side, answered; `port` None: it is not known before the call."""
    if isinstance(leaf, DestinationPort) and port is not None:
        return ALWAYS if leaf.number == port else NEVER
    if isinstance(leaf, DestinationAddress):
        return ALWAYS if any(within(address, leaf.block) for address in addresses) else NEVER
    return leaf


def within(address: str, block: str) -> bool:
    try:
        return ip_address(address) in ip_network(block, strict=False)
    except ValueError:
        return False


def fits(text: Text, value: str) -> bool:
    """Whether a value looks as the text wants it; what is not there is empty and fits nothing."""
    match text.kind:
        case "exact":
            return value == text.value
        case "prefix":
            return value.startswith(text.value)
        case "suffix":
            return value.endswith(text.value)
        case "contains":
            return text.value in value
        case "regex":
            return re2.fullmatch(text.value, value) is not None
        case _:
            return bool(value)


def of_connections(test: Test) -> Test | None:
    """What is left of it where there is no HTTP; None: nothing.

    Parts that only HTTP can answer are left out, as if they had not been written.
    """
    if is_leaf(test):
        return None if isinstance(test, HTTP) else test
    if isinstance(test, Not):
        part = of_connections(test.part)
        return None if part is None else negated(part)
    parts = tuple(of_connections(part) for part in test.parts)  # type: ignore[union-attr]
    if parts and all(part is None for part in parts):
        return None
    if isinstance(test, All):
        return all_of(*(part for part in parts if part is not None))
    return any_of(*(ALWAYS if part is None else part for part in parts))
