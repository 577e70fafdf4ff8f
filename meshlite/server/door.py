"""Where Gateway API's resources enter: what the mesh gets instead of them, and the status people see on them.

Everybody behind it, agents above all, knows Istio's resources only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshlite.model.mesh import GATEWAY_API, NodeRecord, Resource, Service
from meshlite.translate.gateway_api.conditions import Status, condition
from meshlite.translate.gateway_api.convert import Conversion, convert
from meshlite.translate.gateway_api.world import Known, World
from meshlite.translate.memo import NOTHING, Memo, Memory
from meshlite.translate.plan.resources import read


class Door:
    """Converts again and again, each time all at once; what has not changed is remembered."""

    def __init__(self) -> None:
        self.statuses: Mapping[str, Status] = MappingProxyType({})
        """By Resource.key."""
        self._memory: Memory = NOTHING

    def through(
        self,
        resources: tuple[Resource, ...],
        services: tuple[Service, ...],
        nodes: tuple[NodeRecord, ...],
    ) -> tuple[Resource, ...]:
        """Istio's resources: those that people wrote, and those that their others become. By key."""
        written = tuple(resource for resource in resources if resource.api_group != GATEWAY_API)
        if len(written) == len(resources):
            self.statuses, self._memory = MappingProxyType({}), NOTHING
            return resources
        memo = Memo(self._memory)
        wanted = tuple(r for r in resources if r.api_group == GATEWAY_API or r.kind == "ServiceEntry")
        addresses = tuple(node.address for node in nodes if node.address)
        spaces = {service.namespace for service in services} | {r.namespace for r in resources}
        spaces |= {project for node in nodes for project in node.projects}
        made = memo.within("all", _convert, wanted, services, addresses, frozenset(spaces))
        self.statuses, self._memory = made.statuses, memo.now
        return tuple(sorted((*written, *made.resources), key=lambda resource: resource.key))


def _convert(
    memo: Memo,
    resources: tuple[Resource, ...],
    services: tuple[Service, ...],
    addresses: tuple[str, ...],
    namespaces: frozenset[str],
) -> Conversion:
    typed, told = read(memo, resources)
    generations = {resource.key: resource.generation for resource in resources}
    known = Known(
        {service.fqdn: service for service in services},
        {namespace: {} for namespace in sorted(namespaces)},
        addresses,
    )
    made = convert(World(typed, known))
    unread = {
        key: {"conditions": [condition("Accepted", "Invalid", reason, generations[key], status=False)]}
        for key, reason in told
    }
    return Conversion(made.resources, {**made.statuses, **unread})
