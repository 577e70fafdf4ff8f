"""The schema of a message as data: what fields there are, and which message stands at a path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True)
class Field:
    """A field below some message. `path`: JSON names, `[]` behind a list, `{}` behind a map."""

    path: str
    annotation: Any
    required: bool
    message: type[BaseModel] | None


def fields_of(
    model: type[BaseModel], prefix: str = "", above: tuple[type[BaseModel], ...] = ()
) -> Iterator[Field]:
    """Every field below `model`, depth first; a message inside itself is not entered again."""
    for name, info in model.model_fields.items():
        shape, held = inner(info.annotation)
        path = f"{prefix}{info.alias or name}{shape}"
        message = held if isinstance(held, type) and issubclass(held, BaseModel) else None
        yield Field(path, info.annotation, info.is_required(), message)
        if message and message not in above:
            yield from fields_of(message, f"{path}.", (*above, message))


def paths_of(model: type[BaseModel]) -> Iterator[str]:
    return (field.path for field in fields_of(model))


def type_at(model: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The message at `path` below `model`, where list places are numbers and map keys are strings."""
    here: Any = model
    for part in path:
        origin = get_origin(here)
        if origin in (tuple, dict):
            here = _bare(get_args(here)[0 if origin is tuple else 1])
        elif isinstance(here, type) and issubclass(here, BaseModel):
            found = [info for name, info in here.model_fields.items() if part in (info.alias, name)]
            here = _bare(found[0].annotation) if found else None
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def choices(annotation: Any) -> tuple[str, ...]:
    """The names of an enum; empty for anything else."""
    bare = _bare(annotation)
    return tuple(get_args(bare)) if get_origin(bare) is Literal else ()


def inner(annotation: Any) -> tuple[str, Any]:
    """`[]`, `{}` or nothing, and what a list, a map or a single value holds."""
    bare = _bare(annotation)
    if get_origin(bare) is tuple:
        return "[]", _bare(get_args(bare)[0])
    if get_origin(bare) is dict:
        return "{}", _bare(get_args(bare)[1])
    return "", bare


def _bare(annotation: Any) -> Any:
    """Without `Annotated[...]` and `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        else:
            return annotation
