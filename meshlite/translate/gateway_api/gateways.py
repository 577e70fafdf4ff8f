"""Gateways and ListenerSets: whose they are, who carries them, and all of their listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshlite.model.gateway_api import Gateway, Listener, ListenerSet
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.model.names import CLUSTER_SUFFIX, fqdn
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.listeners import Opened, conflicts, namespace_selected, opened
from meshlite.translate.gateway_api.parents import Owner, Parent
from meshlite.translate.gateway_api.world import CONTROLLER, UNMANAGED, World
from meshlite.translate.plan.resources import Applied

_INGRESS = "istio-ingressgateway"
_BUILT_IN = {
    _INGRESS: {"istio": "ingressgateway"},
    "istio-egressgateway": {"istio": "egressgateway"},
}
"""Services that every host has without a container -> labels of the gateway workload behind them."""


@dataclass(frozen=True)
class Carrier:
    """Who carries a Gateway: `selector` chooses the workloads, `addresses` are where they are reached.

    `wrong`: with the addresses that the Gateway asks for; `missing`: with all of those it may have.
    """

    selector: Mapping[str, str]
    addresses: tuple[str, ...] = ()
    wrong: Complaint | None = None
    missing: Complaint | None = None


@dataclass(frozen=True)
class AGateway:
    """A Gateway of ours. `sets`: ListenerSets that are allowed, with their listeners."""

    applied: Applied[Gateway]
    carrier: Carrier
    listeners: tuple[Opened, ...]
    sets: tuple[tuple[Applied[ListenerSet], tuple[Opened, ...]], ...]

    @property
    def every(self) -> Iterator[Opened]:
        yield from self.listeners
        for _, listeners in self.sets:
            yield from (one for one in listeners if one.holds)

    def resources(self) -> Iterator[Resource]:
        made = (one.gateway(self.carrier.selector) for one in self.every)
        yield from (one for one in made if one is not None)


def ours(world: World) -> tuple[AGateway, ...]:
    """Every Gateway of a class that is carried here."""
    wanted = (
        one for one in world.gateways if world.controllers.get(one.spec.gateway_class_name) == CONTROLLER
    )
    return tuple(_gateway(one, world) for one in wanted)


def unmanaged(world: World) -> tuple[Applied[Gateway], ...]:
    """Those that somebody else carries, and says so."""
    return tuple(
        one for one in world.gateways if world.controllers.get(one.spec.gateway_class_name) == UNMANAGED
    )


def parents(gateways: Sequence[AGateway]) -> Mapping[Owner, Sequence[Parent]]:
    """What routes may attach to: listeners of Gateways and of ListenerSets, each by its own resource."""
    found: dict[Owner, list[Parent]] = {}
    for gateway in gateways:
        found.setdefault(("Gateway", gateway.applied.namespace, gateway.applied.resource.name), [])
        for one in gateway.every:
            parent = one.parent
            if parent is not None:
                found.setdefault(one.key, []).append(parent)
    return found


def allows(gateway: Applied[Gateway], namespace: str, world: World) -> bool:
    """Whether ListenerSets of `namespace` may add listeners to the Gateway."""
    rule = gateway.spec.allowed_listeners.namespaces
    if rule.from_ == "Selector":
        return rule.selector is not None and namespace_selected(rule.selector, namespace, world)
    return rule.from_ == "All" or (rule.from_ == "Same" and namespace == gateway.namespace)


def of(gateway: Applied[Gateway], one: Applied[ListenerSet]) -> bool:
    ref = one.spec.parent_ref
    wanted = (ref.group, ref.kind, ref.namespace or one.namespace, ref.name)
    return wanted == (GATEWAY_API, "Gateway", gateway.namespace, gateway.resource.name)


def _gateway(one: Applied[Gateway], world: World) -> AGateway:
    found = carrier(one, world)
    if not found.selector:
        return AGateway(one, found, (), ())
    sets = [each for each in world.listener_sets if of(one, each) and allows(one, each.namespace, world)]
    ordered = [(_owner(one.resource), listener) for listener in one.spec.listeners]
    ordered += [(_owner(each.resource), listener) for each in sets for listener in each.spec.listeners]
    lost = conflicts(ordered)

    def open_all(owner: Resource, listeners: Sequence[Listener]) -> tuple[Opened, ...]:
        return tuple(
            opened(listener, one.spec, owner, world, lost.get((_owner(owner), listener.name), ""))
            for listener in listeners
        )

    own = open_all(one.resource, one.spec.listeners)
    return AGateway(
        one, found, own, tuple((each, open_all(each.resource, each.spec.listeners)) for each in sets)
    )


def _owner(resource: Resource) -> Owner:
    return resource.kind, resource.namespace, resource.name


def carrier(one: Applied[Gateway], world: World) -> Carrier:
    """Without an address of type Hostname, the built-in ingress gateway of every host."""
    addresses = one.spec.addresses
    if not addresses or (len(addresses) == 1 and addresses[0].type == "IPAddress"):
        return Carrier(_BUILT_IN[_INGRESS], world.known.addresses)
    hosts = [_host(address.value, one.namespace) for address in addresses if address.type == "Hostname"]
    others = [address.value for address in addresses if address.type != "Hostname"]
    wrong = None
    if others:
        message = f"only addresses of type Hostname are supported, not {', '.join(others)}"
        wrong = Complaint("UnsupportedAddress", message)
    if not hosts:
        missing = Complaint("UnsupportedAddress", "no address that the Gateway asks for can be had")
        return Carrier({}, (), wrong, missing)
    return _at(hosts[0], wrong, world)


def _at(host: str, wrong: Complaint | None, world: World) -> Carrier:
    """The workloads of the service `host`: the built-in gateways, or containers that take the traffic."""
    name = host.partition(".")[0]
    if name in _BUILT_IN:
        return Carrier(_BUILT_IN[name], world.known.addresses, wrong)
    service = world.known.services.get(host)
    if service is None:
        missing = Complaint(
            "AddressNotUsable", f"there is no service {host.removesuffix('.' + CLUSTER_SUFFIX)}"
        )
        return Carrier({"app": name}, (), wrong, missing)
    return Carrier({"app": service.name}, (service.address,), wrong)


def _host(value: str, namespace: str) -> str:
    return value if "." in value else fqdn(value, namespace)
