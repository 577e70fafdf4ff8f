"""Fills Protobuf messages from dicts in JSON form, several times as quick as protobuf's own reader of JSON.

That one goes through all fields of a message's type for every message. Here a type's fields are kept, and
plain cases done directly; everything else, and every mistake, is left to it.
Source: https://protobuf.dev/programming-guides/json/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

_SCALARS: Mapping[int, tuple[type, ...]] = {
    FieldDescriptor.CPPTYPE_BOOL: (bool,),
    FieldDescriptor.CPPTYPE_STRING: (str,),
    FieldDescriptor.CPPTYPE_DOUBLE: (float, int),
    FieldDescriptor.CPPTYPE_INT32: (int,),
    FieldDescriptor.CPPTYPE_INT64: (int,),
    FieldDescriptor.CPPTYPE_UINT32: (int,),
    FieldDescriptor.CPPTYPE_UINT64: (int,),
}
_GOOGLE = "google.protobuf."
_WRAPPERS = frozenset(
    f"{_GOOGLE}{kind}Value" for kind in ("Bool", "Double", "Int32", "Int64", "String", "UInt32", "UInt64")
)


class _Field(NamedTuple):
    """How a field is set: `put` says whether it did. `of`: what `put` needs to know of the field."""

    name: str
    oneof: str
    put: Callable[[Filler, Any, _Field, Any], bool]
    of: Any = None


class Filler:
    """Fills messages of one pool. `encode` makes the bytes of an Any's content, by type URL and fields."""

    def __init__(self, pool: DescriptorPool, encode: Callable[[str, Mapping[str, Any]], bytes]) -> None:
        self.encode = encode
        self._pool = pool
        self._types: dict[str, Mapping[str, _Field]] = {}

    def fill(self, message: Any, fields: Mapping[str, Any]) -> None:
        """Raises json_format.ParseError for what is not in the schema."""
        known = self._fields(message.DESCRIPTOR)
        for name, value in fields.items():
            field = known.get(name)
            if field is not None and field.oneof:
                other = message.WhichOneof(field.oneof)
                if other is not None and other != name:
                    raise json_format.ParseError(f"{other} and {name} exclude each other")
            if field is None or not field.put(self, message, field, value):
                json_format.ParseDict({name: value}, message, descriptor_pool=self._pool)

    def _fields(self, descriptor: Descriptor) -> Mapping[str, _Field]:
        name = descriptor.full_name
        if name not in self._types:
            self._types[name] = {field.name: _field(field) for field in descriptor.fields}
        return self._types[name]


def _field(field: FieldDescriptor) -> _Field:
    oneof = field.containing_oneof.name if field.containing_oneof is not None else ""
    if field.message_type is not None:
        return _Field(field.name, oneof, *_message_put(field, field.message_type))
    if field.enum_type is not None:
        numbers = {value.name: value.number for value in field.enum_type.values}
        return _Field(field.name, oneof, _unusual if field.is_repeated else _enum, numbers)
    types = _SCALARS.get(field.cpp_type)
    if types is None or field.type == FieldDescriptor.TYPE_BYTES:
        return _Field(field.name, oneof, _unusual)
    return _Field(field.name, oneof, _scalars if field.is_repeated else _scalar, types)


def _message_put(
    field: FieldDescriptor, kind: Descriptor
) -> tuple[Callable[[Filler, Any, _Field, Any], bool], Any]:
    if kind.GetOptions().map_entry:
        value = kind.fields_by_name["value"]
        if kind.fields_by_name["key"].cpp_type != FieldDescriptor.CPPTYPE_STRING or not value.message_type:
            return _unusual, None
        return _map, _filling(value.message_type)
    return (_repeated if field.is_repeated else _message), _filling(kind)


def _filling(kind: Descriptor) -> Callable[[Filler, Any, Any], bool]:
    """How a message of a type is filled."""
    name = kind.full_name
    if name in _WRAPPERS:
        types = _SCALARS[kind.fields_by_name["value"].cpp_type]
        return lambda _filler, message, value: _wrapped(message, types, value)
    special = {
        f"{_GOOGLE}Any": _any,
        f"{_GOOGLE}Duration": _duration,
        f"{_GOOGLE}Struct": _struct,
        f"{_GOOGLE}Value": _value,
    }
    if name in special:
        return special[name]
    return _left if name.startswith(_GOOGLE) else _plain


def _unusual(_filler: Filler, _message: Any, _field: _Field, _value: Any) -> bool:
    return False


def _scalar(_filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    if type(value) not in field.of:
        return False
    setattr(message, field.name, value)
    return True


def _scalars(_filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    if type(value) is not list or any(type(item) not in field.of for item in value):
        return False
    getattr(message, field.name).extend(value)
    return True


def _enum(_filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    number = field.of.get(value) if type(value) is str else None
    if number is None:
        return False
    setattr(message, field.name, number)
    return True


def _message(filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    inner = getattr(message, field.name)
    inner.SetInParent()
    return bool(field.of(filler, inner, value))


def _repeated(filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    if type(value) is not list:
        return False
    items = getattr(message, field.name)
    return all(field.of(filler, items.add(), item) for item in value)


def _map(filler: Filler, message: Any, field: _Field, value: Any) -> bool:
    if type(value) is not dict:
        return False
    items = getattr(message, field.name)
    return all(type(key) is str and field.of(filler, items[key], item) for key, item in value.items())


def _plain(filler: Filler, message: Any, value: Any) -> bool:
    if type(value) is not dict:
        return False
    filler.fill(message, value)
    return True


def _left(_filler: Filler, _message: Any, _value: Any) -> bool:
    return False


def _wrapped(message: Any, types: tuple[type, ...], value: Any) -> bool:
    if type(value) not in types:
        return False
    message.value = value
    return True


def _any(filler: Filler, message: Any, value: Any) -> bool:
    url = value.get("@type", "") if type(value) is dict else ""
    if not url or f"/{_GOOGLE}" in url:
        return False
    message.type_url = url
    message.value = filler.encode(url, {name: item for name, item in value.items() if name != "@type"})
    return True


def _duration(_filler: Filler, message: Any, value: Any) -> bool:
    if type(value) is not str:
        return False
    message.FromJsonString(value)
    return True


def _struct(filler: Filler, message: Any, value: Any) -> bool:
    if type(value) is not dict:
        return False
    fields = message.fields
    return all(type(key) is str and _value(filler, fields[key], item) for key, item in value.items())


def _value(filler: Filler, message: Any, value: Any) -> bool:
    match value:
        case bool():
            message.bool_value = value
        case str():
            message.string_value = value
        case int() | float():
            message.number_value = value
        case dict():
            message.struct_value.SetInParent()
            return _struct(filler, message.struct_value, value)
        case list():
            message.list_value.SetInParent()
            items = message.list_value.values
            return all(_value(filler, items.add(), item) for item in value)
        case _:
            return False
    return True
