"""The base of every Istio message: reads protobuf's JSON mapping, refuses unknown fields, is frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from meshlite.model.scalars import refuse


def camel(name: str) -> str:
    """protobuf's JSON name of a field: `ignore_uri_case` -> `ignoreUriCase`, `from_` -> `from`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name.rstrip("_"))


class Message(BaseModel):
    """Keys may be camelCase or snake_case, null means absent; of each group in `oneofs` one may be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=camel, defer_build=True)

    oneofs: ClassVar[tuple[tuple[str, ...], ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_proto_json(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        names = json_names(cls)
        fields: dict[object, object] = {}
        for key, item in value.items():
            if item is None:
                continue
            name = names.get(key, key)
            if name in fields:
                raise refuse(f"{name} is given twice, in both of its spellings")
            fields[name] = item
        for group in cls.oneofs:
            given = [name for name in map(camel, group) if name in fields]
            if len(given) > 1:
                raise refuse(f"{' and '.join(given)} exclude each other: set one of them")
        return fields


@cache
def json_names(model: type[Message]) -> Mapping[object, str]:
    """Every spelling of a field -> its JSON name."""
    names: dict[object, str] = {}
    for field, info in model.model_fields.items():
        names[field.rstrip("_")] = names[field] = names[info.alias or field] = info.alias or field
    return names
