"""The reference page of resources, made from the models: `python -m meshlite.model.reference [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from meshlite.model.fields import Field, choices, fields_of, inner
from meshlite.model.kinds import KINDS, Kind
from meshlite.model.support import GAPS, Gap, matches

_HEAD = """# Resources

<!-- Made from the models: `python -m meshlite.model.reference docs/reference/resources.md` -->

What `meshlite apply` takes of Istio's API and of Gateway API. *implemented*: it does what the API's
documentation says. *warned*: the resource is applied and the warning says what is missing. *refused*:
nothing is applied. A field that the API does not have is refused, too, so nothing is ever ignored without a
word. Field names may be written in camelCase or in snake_case.

Text is read as Kubernetes and Istio read it: YAML 1.1 in Go's dialect. Unquoted `y`, `yes`, `on`,
`n`, `no` and `off` are booleans, so write `"on"` where you mean the word; `010` is the number 8;
dates, `1:30` and `=` stay text. Unlike there, a key that is given twice is an error, and so is an
unquoted key such as `on:`. JSON, several documents in one file and `kind: List` are read, too.
Documents of Kubernetes itself (Deployment, Service and so on) are skipped with a warning.
"""

_TYPES: dict[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    bytes: "base64",
    timedelta: "duration",
}


def page() -> str:
    return (
        "\n".join(
            (
                _HEAD,
                *_kinds(),
                *(line for kind in KINDS if kind.enforced and kind.spec for line in _kind(kind)),
            )
        )
        + "\n"
    )


def _kinds() -> Iterator[str]:
    yield "| Kind | apiVersion | short | status |"
    yield "|---|---|---|---|"
    for kind in KINDS:
        versions = ", ".join(f"`{kind.group}/{version}`" for version in kind.versions)
        yield f"| {kind.name} | {versions} | {kind.short} | {_standing(kind)} |"


def _standing(kind: Kind) -> str:
    if kind.spec is None:
        return "refused"
    return "implemented" if kind.enforced else "checked by `validate`; refused by `apply`: not enforced yet"


def _kind(kind: Kind) -> Iterator[str]:
    assert kind.spec
    yield from ("", f"## {kind.key}", "", "| Field | Type | Status |", "|---|---|---|")
    shut: list[str] = []
    seen: dict[Any, str] = {}
    for field in fields_of(kind.spec):
        if any(field.path.startswith(f"{path}.") for path in shut):
            continue
        gaps = [gap for gap in GAPS if gap.kind == kind.key and matches(gap, field.path)]
        first = seen.setdefault(field.message or field.path, field.path)
        if first != field.path or any(gap.status == "refused" and not gap.values for gap in gaps):
            shut.append(field.path)
        known = "implemented" if first == field.path else f"as `{first}`"
        yield f"| `{field.path}` | {_type(field)} | {'; '.join(map(_status, gaps)) or known} |"


def _status(gap: Gap) -> str:
    return f"{gap.status}{f' ({gap.values})' if gap.values else ''}: {gap.sentence}"


def _type(field: Field) -> str:
    shape, bare = inner(field.annotation)
    names = choices(bare)
    name = " or ".join(map(str, names)) if names else _TYPES.get(bare, getattr(bare, "__name__", str(bare)))
    text = {"[]": "list of ", "{}": "map of "}.get(shape, "") + name
    return f"{text}, required" if field.required else text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page())
    else:
        sys.stdout.write(page())
