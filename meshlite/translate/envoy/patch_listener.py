"""Patches of listeners, their filter chains and filters.

Where Istio has a listener for each port, one listener takes everything a workload sends, and its chains
stand for ports. So a match by Istio's `portNumber`, or its listeners' names, chooses chains; at gateways both
have a listener for each port. docs/envoy-filter.md has the mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshlite.translate.envoy import schema
from meshlite.translate.envoy.patch import (
    Patched,
    Work,
    edited,
    merge_filter,
    merge_patch,
    merges,
    set_list,
    unpack,
)
from meshlite.translate.envoy.patch_place import Place
from meshlite.translate.envoy.patch_routes import patch_table
from meshlite.translate.plan.patch import Patch
from meshlite.translate.translation import Encoded

MANAGER = "envoy.filters.network.http_connection_manager"

_ALIASES = {
    "envoy.http_connection_manager": MANAGER,
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
}
_ONE_LISTENER = "one listener takes all ports, so this cannot be for one of them: match 15001 or 15006"
_CLOSE = "envoy.extensions.filters.network.direct_response.v3.Config"


def listener(encoded: Encoded, place: Place, patches: tuple[Patch, ...]) -> Patched:
    work = Work()
    message: Any = schema.message(schema.LISTENER).FromString(encoded.body)
    for patch in (one for one in patches if one.apply_to == "LISTENER" and place.takes(one)):
        if not place.whole(patch):
            work.tell(patch, _ONE_LISTENER)
        elif patch.operation == "REMOVE":
            work.found(patch)
            return work.done(None)
        elif merges(patch) and (source := work.value(patch)) is not None:
            work.found(patch)
            merge_patch(patch, message, source)
    _listener_filters(work, message, place, patches)
    kept = [chain for chain in message.filter_chains if _chain(work, chain, place, patches)]
    if len(kept) < len(message.filter_chains):
        set_list(message, "filter_chains", kept)
    for patch in (one for one in patches if one.apply_to == "FILTER_CHAIN" and one.operation == "ADD"):
        if place.takes(patch):
            _add_chain(work, message, place, patch)
    _resolve_extensions(work, message, patches)
    return work.done(message if message.filter_chains else None)


def _add_chain(work: Work, message: Any, place: Place, patch: Patch) -> None:
    if not place.matched:
        work.tell(patch, "chains are chosen by port and address, so one that is added is never asked")
    elif (source := work.value(patch)) is not None:
        work.found(patch)
        message.filter_chains.append(source)


def added(patch: Patch, key: str, path: str) -> Patched:
    """A listener of a patch's own, opened in a workload's network namespace; `path` empty: in the host's."""
    work = Work()
    message = work.value(patch)
    if message is None:
        return work.done(None)
    work.found(patch)
    message.name = f"{message.name}/{key}"
    for address in (message.address, *(one.address for one in message.additional_addresses)):
        socket = address.socket_address if address.HasField("socket_address") else None
        if path and socket is not None and not socket.network_namespace_filepath:
            socket.network_namespace_filepath = path
    return work.done(message)


def _listener_filters(work: Work, message: Any, place: Place, patches: tuple[Patch, ...]) -> None:
    """The mesh's own connections come in without any of these."""
    if place.door:
        return
    for patch in (one for one in patches if one.apply_to == "LISTENER_FILTER" and place.takes(one)):
        if not place.whole(patch):
            work.tell(patch, _ONE_LISTENER)
            continue
        name = patch.listener.listener_filter if patch.listener is not None else ""
        _edit(work, patch, message, "listener_filters", _by_name(name) if name else None, 0)


def _chain(work: Work, chain: Any, place: Place, patches: tuple[Patch, ...]) -> bool:
    """Whether the chain is still there."""
    for patch in (one for one in patches if one.apply_to == "FILTER_CHAIN" and place.chain(one, chain)):
        if patch.operation == "REMOVE":
            work.found(patch)
            _close(chain)
            return not place.matched
        if merges(patch) and (source := work.value(patch)) is not None:
            work.found(patch)
            merge_patch(patch, chain, source)
    fitting = [one for one in patches if place.chain(one, chain)]
    for patch in sorted((one for one in fitting if one.apply_to == "NETWORK_FILTER"), key=merges):
        _edit(work, patch, chain, "filters", _network_filter(patch), 1)
    for filter in chain.filters:
        if filter.name == MANAGER:
            _manager(work, filter, fitting)
    return True


def _close(chain: Any) -> None:
    """What would come to a chain that is gone is closed, as if no chain had matched."""
    closing = {"name": "envoy.filters.network.direct_response", "typed_config": schema.typed(_CLOSE)}
    set_list(chain, "filters", [schema.parse("envoy.config.listener.v3.Filter", closing)])


def _manager(work: Work, filter: Any, patches: list[Patch]) -> None:
    manager = unpack(filter.typed_config)
    for patch in sorted((one for one in patches if one.apply_to == "HTTP_FILTER"), key=merges):
        if (named := _network_filter(patch)) is None or named(filter):
            _edit(work, patch, manager, "http_filters", _http_filter(patch), 1)
    if manager.HasField("route_config"):
        patch_table(work, manager.route_config, tuple(patches))
    filter.typed_config.value = manager.SerializeToString(deterministic=True)


def _edit(
    work: Work, patch: Patch, holder: Any, field: str, fits: Callable[[Any], bool] | None, end: int
) -> None:
    """Apply a patch to a list of filters."""
    items = getattr(holder, field)
    source = None if patch.operation == "REMOVE" else work.value(patch)
    if source is None and patch.operation != "REMOVE":
        return
    if merges(patch):
        for item in (item for item in items if fits is None or fits(item)):
            work.found(patch)
            merge_filter(work, patch, item, source)
    else:
        set_list(holder, field, edited(work, patch, items, fits, source, end if items else 0))


def _by_name(name: str) -> Callable[[Any], bool]:
    wanted = _ALIASES.get(name, name)
    return lambda filter: bool(filter.name == wanted)


def _network_filter(patch: Patch) -> Callable[[Any], bool] | None:
    chain = patch.listener.filter_chain if patch.listener is not None else None
    return _by_name(chain.filter.name) if chain is not None and chain.filter is not None else None


def _http_filter(patch: Patch) -> Callable[[Any], bool] | None:
    chain = patch.listener.filter_chain if patch.listener is not None else None
    inner = chain.filter.sub_filter if chain is not None and chain.filter is not None else None
    return _by_name(inner.name) if inner is not None else None


def _resolve_extensions(work: Work, message: Any, patches: tuple[Patch, ...]) -> None:
    """Filters that ask for a configuration by its name get it put in place; the last one of a name counts."""
    known = {}
    for patch in (one for one in patches if one.apply_to == "EXTENSION_CONFIG"):
        if (source := work.value(patch)) is not None:
            known[source.name] = (patch, source)
    if not known:
        return
    for chain in message.filter_chains:
        for filter in (one for one in chain.filters if one.name == MANAGER):
            manager = unpack(filter.typed_config)
            for inner in manager.http_filters:
                if inner.HasField("config_discovery") and inner.name in known:
                    patch, source = known[inner.name]
                    work.found(patch)
                    inner.typed_config.CopyFrom(source.typed_config)
            filter.typed_config.value = manager.SerializeToString(deterministic=True)
