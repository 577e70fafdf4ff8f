"""A fault: what is wrong at one place of a resource, said to a person; pydantic's errors said that way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from meshlite.model.fields import paths_of, type_at
from meshlite.model.located import Path
from meshlite.model.scalars import shown
from meshlite.model.wire import Document, Rejection


@dataclass(frozen=True)
class Fault:
    """`path`: the field, by its JSON names. A `warning` does not keep the resource from being applied.

    `code` is that of Istio's analysis, where it has one of its own for this.
    """

    path: Path
    reason: str
    warning: bool = False
    code: str = ""


def field(path: Path) -> str:
    """A path as people write it: `spec.http[0].match[1].headers["x.y"].exact`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}"
        else:
            text += f'["{part}"]'
    return text.removeprefix(".")


def suggest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)`, or nothing where nothing is near."""
    lowered = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), lowered, n=1, cutoff=0.7)
    return f" (did you mean {lowered[near[0]]}?)" if near else ""


def rejection(document: Document, fault: Fault) -> Rejection:
    """The fault at its file:line; that of what holds the field, where the field is missing."""
    nearest = (field(fault.path[:end]) for end in range(len(fault.path), 0, -1))
    line = next((document.lines[name] for name in nearest if name in document.lines), None)
    file = document.location.rpartition(":")[0]
    where = document.location if line is None else f"{file}:{line}"
    return Rejection(
        resource=document.resource.key, where=where, field=field(fault.path), reason=fault.reason
    )


def faults_of(error: ValidationError, model: type[BaseModel], prefix: Path = ()) -> Iterator[Fault]:
    """Each error of `model`, with the place where it stands below `prefix`."""
    for detail in error.errors(include_url=False):
        if _follows(detail):
            continue
        path = tuple(part for part in detail["loc"] if part != "[key]")
        yield Fault((*prefix, *path), _reason(detail, path, model))


def _follows(detail: ErrorDetails) -> bool:
    """A list only counts as too short because some of its items are faulty, which is said by itself."""
    given = detail["input"]
    return (
        detail["type"] == "too_short"
        and isinstance(given, list | tuple)
        and len(given) >= detail["ctx"]["min_length"]
    )


def _reason(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    given = detail["input"]
    match detail["type"]:
        case "refused":
            return detail["msg"]
        case "missing":
            return "is required"
        case "extra_forbidden":
            return _unknown_field(path, model)
        case "model_type" | "model_attributes_type" | "dict_type":
            hint = "; write {} for an empty one" if given is None else ""
            return f"must be a mapping, not {shown(given)}{hint}"
        case "tuple_type":
            return f"must be a list, not {shown(given)}"
        case "string_type":
            return f"must be a string, not {shown(given)}{_quoting(given)}"
        case "bool_type":
            return f"must be true or false, not {shown(given)}"
        case "too_short":
            return f"needs at least {detail['ctx']['min_length']}"
        case "too_long":
            ctx = detail["ctx"]
            return f"has {ctx['actual_length']} entries; at most {ctx['max_length']} are allowed"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"has {len(given)} characters; at most {detail['ctx']['max_length']} are allowed"
        case "literal_error":
            return f"must be {detail['ctx']['expected']}, not {shown(given)}{_quoting(given)}"
        case _:
            return detail["msg"]


def _quoting(given: object) -> str:
    if isinstance(given, bool):
        return ": YAML reads y, yes, on, n, no and off as booleans, so put the word in quotes"
    return ": put it in quotes" if isinstance(given, int | float) else ""


def _unknown_field(path: Path, model: type[BaseModel]) -> str:
    name = str(path[-1])
    holder = type_at(model, path[:-1])
    known = [info.alias or key for key, info in holder.model_fields.items()] if holder else []
    elsewhere = [place for place in paths_of(model) if place.split(".")[-1].rstrip("[]{}") == name]
    if elsewhere:
        return f"unknown field here; {name} belongs at {min(elsewhere, key=len)}"
    listed = f"; known here: {', '.join(known)}" if known else ""
    return "unknown field" + (suggest(name, known) or listed)
