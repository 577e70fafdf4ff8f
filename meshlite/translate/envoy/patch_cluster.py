"""Patches of clusters, and clusters that are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlite.translate.envoy import schema
from meshlite.translate.envoy.patch import Patched, Work, merge_any, merge_patch, merges
from meshlite.translate.envoy.values import marked
from meshlite.translate.plan.cluster import Endpoint, EndpointSet
from meshlite.translate.plan.patch import Added, Patch
from meshlite.translate.translation import Encoded


def cluster(encoded: Encoded, patches: tuple[Patch, ...], service: str) -> Patched:
    """`service`: the FQDN behind an inbound cluster, whose name does not say it."""
    work = Work()
    message: Any = schema.message(schema.CLUSTER).FromString(encoded.body)
    for patch in (one for one in patches if _fits(one, message.name, service)):
        if patch.operation == "REMOVE":
            work.found(patch)
            return work.done(None)
        if merges(patch) and (source := work.value(patch)) is not None:
            work.found(patch)
            if not _merged_socket(message, source):
                merge_patch(patch, message, source)
    return work.done(message)


def _fits(patch: Patch, name: str, service: str) -> bool:
    """`outbound|9080|v1|reviews.shop.svc.cluster.local|shop/app=web` is Istio's name and whose it is."""
    match = patch.cluster
    if match is None:
        return True
    direction, port, subset, host, *_ = (*name.split("|"), "", "", "")
    inbound = direction == "inbound"
    known = f"inbound|{port}||" if inbound else "|".join((direction, port, subset, host))
    if match.name:
        return match.name in (known, name)
    host = service if inbound else host
    number = int(port) if port.isdigit() else -1
    return (
        match.service in ("", host)
        and match.subset in ("", "" if inbound else subset)
        and match.port_number in (0, number)
    )


def _merged_socket(cluster: Any, source: Any) -> bool:
    """A transport socket is merged into the one of the same name, else it takes its place, and nothing else
    of the patch counts: so does Istio."""
    if not source.HasField("transport_socket"):
        return False
    given = source.transport_socket
    held = [match.transport_socket for match in cluster.transport_socket_matches]
    held += [cluster.transport_socket] if cluster.HasField("transport_socket") else []
    same = next((one for one in held if one.name == given.name), None)
    if same is not None:
        merge_any(same.typed_config, given.typed_config)
    else:
        cluster.transport_socket.CopyFrom(given)
    return True


def added(one: Added, endpoints: Mapping[str, EndpointSet], mark: int) -> tuple[Patched, EndpointSet | None]:
    """The cluster, with the endpoints that the mesh has for it if its address is a service of the mesh.

    Envoy runs beside the workloads: it cannot look up the mesh's names, and the mesh need not.
    """
    work = Work()
    message = work.value(one.patch)
    if message is None:
        return Patched(None, frozenset(work.used), tuple(work.told)), None
    work.found(one.patch)
    set = _endpoints(message, dict(one.services), endpoints)
    if set is not None:
        message.ClearField("load_assignment")
        message.type = message.EDS
        message.eds_cluster_config.eds_config.ads.SetInParent()
        message.eds_cluster_config.eds_config.resource_api_version = 2
    if not message.HasField("upstream_bind_config"):
        for option in marked(mark):
            schema.fill(option, message.upstream_bind_config.socket_options.add())
    return work.done(message), set


def _endpoints(
    cluster: Any, services: Mapping[str, str], endpoints: Mapping[str, EndpointSet]
) -> EndpointSet | None:
    found: list[Endpoint] = []
    for group in cluster.load_assignment.endpoints:
        for endpoint in group.lb_endpoints:
            address = endpoint.endpoint.address.socket_address
            fqdn = services.get(address.address)
            known = endpoints.get(f"outbound|{address.port_value}||{fqdn}") if fqdn else None
            if known is not None:
                found += known.endpoints
    return EndpointSet(cluster.name, tuple(found)) if found else None
