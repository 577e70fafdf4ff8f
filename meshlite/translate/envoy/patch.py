"""Patches of what was emitted: their values as messages, and how one message is merged into another.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-Patch-Operation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from meshlite.translate.envoy import schema
from meshlite.translate.plan.patch import Patch
from meshlite.translate.translation import Encoded

MESSAGES = {
    "LISTENER": schema.LISTENER,
    "LISTENER_FILTER": "envoy.config.listener.v3.ListenerFilter",
    "FILTER_CHAIN": "envoy.config.listener.v3.FilterChain",
    "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "ROUTE_CONFIGURATION": schema.ROUTES,
    "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.Route",
    "CLUSTER": schema.CLUSTER,
    "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig",
}
"""What a patch's value is, by what it is applied to."""

_TYPED_STRUCTS = ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")
_DURATION = "google.protobuf.Duration"
_VERSION = "transport_api_version"
_SERVICES = ("grpc_service", "grpc_services", "cluster_names")

Reference = tuple[str, int]
"""A patch by its resource and its place there."""


@dataclass(frozen=True, slots=True)
class Patched:
    """`encoded` None: removed. `used`: the patches that found what they match; `told`: what is wrong."""

    encoded: Encoded | None
    used: frozenset[Reference]
    told: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Work:
    """Patches on their way through one resource."""

    used: set[Reference] = field(default_factory=set)
    told: list[tuple[str, str]] = field(default_factory=list)

    def found(self, patch: Patch) -> None:
        self.used.add((patch.key, patch.place))

    def tell(self, patch: Patch, reason: str) -> None:
        self.found(patch)
        self.told.append((patch.key, f"spec.configPatches[{patch.place}]: {reason}"))

    def value(self, patch: Patch) -> Any:
        """The patch's message; None, and told, if Envoy has no such one."""
        try:
            return value(patch)
        except (json_format.ParseError, KeyError, TypeError, ValueError) as error:
            self.tell(patch, f"patch.value is nothing that Envoy takes: {_said(error)}; it is left out")
            return None

    def done(self, message: Any) -> Patched:
        encoded = Encoded.of(message.SerializeToString(deterministic=True)) if message is not None else None
        return Patched(encoded, frozenset(self.used), tuple(dict.fromkeys(self.told)))


def value(patch: Patch) -> Any:
    """Raises ParseError, with the path, for what is not in Envoy's schema."""
    found = schema.parse(MESSAGES[patch.apply_to], plain(patch.value))
    _of_today(found)
    return found


def _of_today(message: Any) -> None:
    """Patches that leave the version of Envoy's API open, as older ones do, mean the only one there is."""
    for descriptor, given in message.ListFields():
        if descriptor.message_type is not None:
            values = given.values() if _is_map(descriptor) else given if descriptor.is_repeated else (given,)
            for one in values:
                _any_of_today(one)
    known = message.DESCRIPTOR.fields_by_name.get(_VERSION)
    if known is not None and getattr(message, _VERSION) == 0 and _asks(message):
        setattr(message, _VERSION, known.enum_type.values_by_name["V3"].number)


def _any_of_today(message: Any) -> None:
    kind = getattr(message, "DESCRIPTOR", None)
    if kind is None:
        return
    if kind.full_name == "google.protobuf.Any":
        held = unpack(message)
        _of_today(held)
        message.value = held.SerializeToString(deterministic=True)
    else:
        _of_today(message)


def _asks(message: Any) -> bool:
    """Whether it says whom to ask, so that a version means something."""
    return any(name in message.DESCRIPTOR.fields_by_name and _has(message, name) for name in _SERVICES)


def _has(message: Any, name: str) -> bool:
    if message.DESCRIPTOR.fields_by_name[name].is_repeated:
        return bool(getattr(message, name))
    return bool(message.HasField(name))


def plain(fields: Any) -> Any:
    """JSON where no message is wrapped in a TypedStruct, so that it can be checked and merged."""
    if isinstance(fields, dict):
        kind = str(fields.get("@type", "")).removeprefix(schema.PREFIX)
        inner = str(fields.get("type_url") or fields.get("typeUrl") or "")
        if kind in _TYPED_STRUCTS and inner:
            return {"@type": inner, **plain(fields.get("value") or {})}
        return {name: plain(value) for name, value in fields.items()}
    return [plain(item) for item in fields] if isinstance(fields, list | tuple) else fields


def merge(into: Any, source: Any, replace_lists: bool = False) -> None:
    """As Protobuf merges: what is set replaces, messages are merged, lists appended; durations replaced."""
    for descriptor, given in source.ListFields():
        name = descriptor.name
        if _is_map(descriptor):
            _merge_map(getattr(into, name), given, descriptor)
        elif descriptor.is_repeated:
            if replace_lists:
                into.ClearField(name)
            getattr(into, name).extend(given)
        elif descriptor.message_type is None:
            setattr(into, name, given)
        elif descriptor.message_type.full_name == _DURATION or not into.HasField(name):
            getattr(into, name).CopyFrom(given)
        else:
            merge(getattr(into, name), given, replace_lists)


def merges(patch: Patch) -> bool:
    return patch.operation in ("MERGE", "MERGE_AND_REPLACE_LIST")


def merge_patch(patch: Patch, into: Any, source: Any) -> None:
    merge(into, source, patch.operation == "MERGE_AND_REPLACE_LIST")


def merge_any(into: Any, source: Any, replace_lists: bool = False) -> bool:
    """Merge what two `Any` hold, if both hold the same kind of message."""
    if into.type_url != source.type_url:
        return False
    held, given = unpack(into), unpack(source)
    merge(held, given, replace_lists)
    into.value = held.SerializeToString(deterministic=True)
    return True


def merge_filter(work: Work, patch: Patch, filter: Any, source: Any) -> None:
    """A filter of any kind: the new name, if there is one, and the configuration merged into the old one."""
    if source.HasField("typed_config"):
        whole = patch.operation == "MERGE_AND_REPLACE_LIST"
        if not merge_any(filter.typed_config, source.typed_config, whole):
            work.tell(patch, f"{filter.name} has a configuration of another type; it is left as it is")
            return
    if source.name:
        filter.name = source.name


def unpack(packed: Any) -> Any:
    """Raises KeyError for a message that Envoy does not have."""
    return schema.message(packed.type_url).FromString(packed.value)


def edited(
    work: Work,
    patch: Patch,
    items: Iterable[Any],
    fits: Callable[[Any], bool] | None,
    source: Any,
    end: int = 0,
) -> list[Any]:
    """A list after ADD, REMOVE, REPLACE or an INSERT_; `fits` None: the patch names no item.

    `end`: how many items at the end, such as a router, must stay last.
    """
    items = list(items)
    last = len(items) - end
    operation = patch.operation
    if operation == "ADD" or (operation == "INSERT_AFTER" and fits is None):
        work.found(patch)
        return [*items[:last], source, *items[last:]]
    if operation == "INSERT_FIRST" or (operation == "INSERT_BEFORE" and fits is None):
        work.found(patch)
        return [source, *items]
    place = next((place for place, item in enumerate(items) if fits is not None and fits(item)), None)
    if place is None:
        return items
    work.found(patch)
    return list(_at(operation, items, place, source, fits))


def _at(
    operation: str, items: list[Any], place: int, source: Any, fits: Callable[[Any], bool] | None
) -> Iterator[Any]:
    for number, item in enumerate(items):
        if operation == "REMOVE" and fits is not None and fits(item):
            continue
        if operation == "INSERT_BEFORE" and number == place:
            yield source
        yield source if operation == "REPLACE" and number == place else item
        if operation == "INSERT_AFTER" and number == place:
            yield source


def set_list(message: Any, name: str, items: list[Any]) -> None:
    """Put (maybe other) items in place of those of a repeated field."""
    kept = [type(item).FromString(item.SerializeToString()) for item in items]
    message.ClearField(name)
    getattr(message, name).extend(kept)


def _is_map(descriptor: Any) -> bool:
    kind = descriptor.message_type
    return bool(descriptor.is_repeated and kind is not None and kind.GetOptions().map_entry)


def _merge_map(into: Any, given: Any, descriptor: Any) -> None:
    held = descriptor.message_type.fields_by_name["value"].message_type is not None
    for key, item in given.items():
        if held:
            into[key].CopyFrom(item)
        else:
            into[key] = item


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no message {str(error.args[0]).rpartition(' ')[2]}"
    return " ".join(str(error).split())
