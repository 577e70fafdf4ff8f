"""Envoy's Protobuf messages, from the descriptors that Envoy's own binary carries.

They live in a private pool, so nothing collides with other Protobuf packages of the process. Classes are made
when first asked for. `descriptors.bin.z` is made by scripts/descriptors.py and read once.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from meshlite.translate.envoy.descriptors import DescriptorFiles
from meshlite.translate.envoy.filling import Filler

PREFIX = "type.googleapis.com/"

CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"


@functools.cache
def pool() -> DescriptorPool:
    """The pool of all packaged messages."""
    packed = files(__package__).joinpath("descriptors.bin.z").read_bytes()
    return DescriptorPool(descriptor_db=DescriptorFiles.unpacked(packed))


@functools.cache
def message(name: str) -> type[Message]:
    """The class of a message by full name or type URL. KeyError: the packaged descriptors lack it."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name.removeprefix(PREFIX)))


def parse(name: str, fields: Mapping[str, Any]) -> Message:
    """A message from a dict in Protobuf's JSON form (snake_case names).

    Raises json_format.ParseError, with the path, for what is not in Envoy's schema.
    """
    found = message(name)()
    try:
        _filler().fill(found, fields)
    except (json_format.ParseError, ValueError, TypeError, AttributeError):
        # It says where in the whole the mistake is.
        for place in _untyped(fields):
            raise json_format.ParseError(f"{place} is not the name of a message") from None
        return json_format.ParseDict(dict(fields), message(name)(), descriptor_pool=pool())
    return found


def _untyped(fields: Any, at: str = "") -> Iterator[str]:
    """Where a message's type is anything but text, over which Protobuf's own reader stumbles."""
    items = fields.items() if isinstance(fields, Mapping) else ()
    for key, value in enumerate(fields) if isinstance(fields, list) else items:
        place = f"{at}.{key}".lstrip(".")
        if key == "@type" and not isinstance(value, str):
            yield place
        yield from _untyped(value, place)


@functools.cache
def _filler() -> Filler:
    return Filler(pool(), encode)


def fill(fields: Mapping[str, Any], into: Message) -> None:
    """Set fields of a message from a dict."""
    json_format.ParseDict(dict(fields), into, descriptor_pool=pool())


def encode(name: str, fields: Mapping[str, Any]) -> bytes:
    """Bytes of a message given as a dict; equal dicts give equal bytes."""
    return parse(name, fields).SerializeToString(deterministic=True)


def decode(name: str, body: bytes) -> dict[str, Any]:
    """The dict form of an encoded message, for people and tests."""
    found = message(name).FromString(body)
    text = json_format.MessageToJson(found, preserving_proto_field_name=True, descriptor_pool=pool())
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def typed(name: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The value of a `typed_config`: fields with their message's name."""
    return {"@type": PREFIX + name, **(fields or {})}


def embedded(name: str, field: str, body: bytes) -> bytes:
    """An encoded message as a field of message `name`, to be appended to that one's bytes.

    So a large message is put together from parts that are already encoded.
    Source: https://protobuf.dev/programming-guides/encoding/#length-types
    """
    return _key(name, field) + _varint(len(body)) + body


@functools.cache
def _key(name: str, field: str) -> bytes:
    descriptor = pool().FindMessageTypeByName(name.removeprefix(PREFIX))
    return _varint(descriptor.fields_by_name[field].number << 3 | 2)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
