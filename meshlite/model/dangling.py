"""Hosts and subsets that nobody has: what a resource refers to, held against what the mesh knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from meshlite.model.faults import Fault, rejection, suggest
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.names import CLUSTER_SUFFIX, resolve_known
from meshlite.model.networking.destination import Destination
from meshlite.model.networking.destination_rule import DestinationRule
from meshlite.model.networking.virtual_service import VirtualService
from meshlite.model.rules.forms import is_address
from meshlite.model.validate import parse
from meshlite.model.wire import Document, Rejection

Subsets = Mapping[str, Collection[str]]


def dangling(
    document: Document, known_hosts: Collection[str], known_subsets: Subsets
) -> tuple[Rejection, ...]:
    """What a valid resource points at and nobody has. Hosts are FQDNs.

    A destination must be known, whatever its form, since a route to it would only answer 503. The host that a
    resource is about must be known if it is a name of the mesh; wildcards and outside names may wait.
    """
    return tuple(
        rejection(document, fault) for fault in _faults(document.resource, known_hosts, known_subsets)
    )


def subsets_of(
    rules: Iterable[tuple[str, DestinationRule]], known_hosts: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """FQDN -> the subsets that DestinationRules, each with its namespace, define for it."""
    subsets: dict[str, tuple[str, ...]] = {}
    for namespace, rule in rules:
        host = resolve_known(rule.host, namespace, known_hosts)
        subsets[host] = (*subsets.get(host, ()), *(subset.name for subset in rule.subsets))
    return subsets


def _faults(resource: Resource, known_hosts: Collection[str], known_subsets: Subsets) -> Iterator[Fault]:
    if resource.kind == "DestinationRule":
        rule = parse(resource, DestinationRule)
        yield from _subject(rule.host, resource.namespace, known_hosts, ("spec", "host"))
    elif resource.kind == "VirtualService":
        spec = parse(resource, VirtualService)
        for place, host in enumerate(spec.hosts):
            yield from _subject(host, resource.namespace, known_hosts, ("spec", "hosts", place))
        for at, target in destinations(spec):
            yield from _destination(target, resource.namespace, known_hosts, known_subsets, at)


def destinations(spec: VirtualService) -> Iterator[tuple[Path, Destination]]:
    """Everything that a VirtualService sends to, mirrors included, and where it says so."""
    for place, rule in enumerate(spec.http):
        at: Path = ("spec", "http", place)
        for number, part in enumerate(rule.route):
            yield (*at, "route", number, "destination"), part.destination
        if rule.mirror:
            yield (*at, "mirror"), rule.mirror
        for number, mirror in enumerate(rule.mirrors):
            yield (*at, "mirrors", number, "destination"), mirror.destination
    l4 = [(("spec", "tls", place), tls.route) for place, tls in enumerate(spec.tls)]
    l4 += [(("spec", "tcp", place), tcp.route) for place, tcp in enumerate(spec.tcp)]
    for start, route in l4:
        for number, share in enumerate(route):
            yield (*start, "route", number, "destination"), share.destination


def _subject(host: str, namespace: str, known_hosts: Collection[str], at: Path) -> Iterator[Fault]:
    name = resolve_known(host, namespace, known_hosts)
    if name in known_hosts or "*" in name or is_address(name) or not name.endswith(f".{CLUSTER_SUFFIX}"):
        return
    yield Fault(at, f"no service {_short(name)} in the mesh{_near(name, known_hosts)}")


def _destination(
    target: Destination, namespace: str, known_hosts: Collection[str], known_subsets: Subsets, at: Path
) -> Iterator[Fault]:
    name = resolve_known(target.host, namespace, known_hosts)
    if name not in known_hosts:
        what = "no service" if name.endswith(f".{CLUSTER_SUFFIX}") else "nothing declares the host"
        yield Fault((*at, "host"), f"{what} {_short(name)} in the mesh{_near(name, known_hosts)}")
        return
    subsets = known_subsets.get(name, ())
    if target.subset and target.subset not in subsets:
        known = (
            f"; known: {', '.join(sorted(set(subsets)))}" if subsets else "; apply its DestinationRule first"
        )
        yield Fault((*at, "subset"), f"no subset {target.subset} of {_short(name)}{known}")


def _short(name: str) -> str:
    return name.removesuffix(f".{CLUSTER_SUFFIX}")


def _near(name: str, known_hosts: Collection[str]) -> str:
    """The service meant: the same name in another namespace, or a name that is spelt nearly so."""
    short = _short(name)
    service, _, namespace = short.partition(".")
    others = [_short(host) for host in known_hosts]
    elsewhere = sorted(other for other in others if other.partition(".")[0] == service)
    if elsewhere and namespace:
        return f" (did you mean {', '.join(elsewhere[:3])}?)"
    return suggest(short, others)
