"""Each field of each kind does something, or a row says that it does not: nothing is ignored without a word.

The cases in `testdata` are changed field by field: a field is taken away, or has another value. What Envoy is
told, or what people are told, must then be something else, in one case at least.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from meshlite.model import external
from meshlite.model.fields import choices, inner
from meshlite.model.kinds import KINDS, Kind, named
from meshlite.model.support import GAPS, matches
from meshlite.model.validate import validate
from meshlite.model.wire import Document
from meshlite.server.door import Door
from meshlite.translate.memo import NOTHING
from meshlite.translate.node import ModuleState
from meshlite.translate.translate import remembering
from tests.translate import cases

FOLDER = Path(__file__).parent / "testdata"
ENFORCED = [kind for kind in KINDS if kind.spec is not None and kind.enforced]

Owner = tuple[str, type[BaseModel], str]
"""A kind, a message within it, and a field of that, by its name in JSON: a field wherever it stands."""

Place = tuple[str | int, ...]

_FITS = "goes with the name: what does not fit together, or is of another namespace, is refused"
_UNION = "says which of the others is set: what does not fit is refused"
_NAME = "a name for people"

ELSEWHERE: dict[str, dict[str, str]] = {
    "WorkloadGroup": dict.fromkeys(
        ("metadata.labels{}", "metadata.annotations{}"), "kept with the template, which is warned of"
    ),
    "Gateway": {"servers[].port.targetPort": "is refused by Istio's own rules", "servers[].name": _NAME},
    "Sidecar": {
        "ingress[].port.name": _NAME,
        "ingress[].port.targetPort": "is refused by Istio's own rules",
        "ingress[].bind": "but for all addresses, which it is anyway, it is refused",
        "ingress[].captureMode": "either way the port is where the mesh and others call",
    },
    "EnvoyFilter": dict.fromkeys((f"targetRefs[].{part}" for part in ("group", "kind", "namespace")), _FITS),
    "ProxyConfig": {"selector.matchLabels{}": "each of the resource's other fields is warned of"},
    "RequestAuthentication": {
        **dict.fromkeys((f"targetRef.{part}" for part in ("group", "kind", "namespace")), _FITS),
        "jwtRules[].timeout": "the server waits for keys so long: tests/server/test_key_sets.py",
    },
    "AuthorizationPolicy": dict.fromkeys(
        (f"targetRef.{part}" for part in ("group", "kind", "namespace")), _FITS
    ),
    "WasmPlugin": dict.fromkeys((f"targetRef.{part}" for part in ("group", "kind", "namespace")), _FITS),
    "TrafficExtension": dict.fromkeys(
        (f"targetRefs[].{part}" for part in ("group", "kind", "namespace")), _FITS
    ),
    "GatewayClass": {"description": _NAME},
    "HTTPRoute": dict.fromkeys(
        ("rules[].filters[].type", "rules[].filters[].requestRedirect.path.type"), _UNION
    ),
    "GRPCRoute": {"rules[].filters[].type": _UNION},
    "TLSRoute": {"rules[].name": _NAME},
    "TCPRoute": {"rules[].name": _NAME},
    "BackendTLSPolicy": {"validation.subjectAltNames[].type": _UNION},
}
"""Fields that no translation shows, and why, or where they show instead. May only shrink."""


def fields_of(kind: Kind) -> dict[Owner, str]:
    """Fields that hold no message, with the first path of each; none of what a row is about as a whole."""
    found: dict[Owner, str] = {}

    def walk(model: type[BaseModel], prefix: str, above: tuple[type[BaseModel], ...]) -> None:
        for name, info in model.model_fields.items():
            shape, held = inner(info.annotation)
            path = f"{prefix}{info.alias or name}{shape}"
            message = isinstance(held, type) and issubclass(held, BaseModel)
            if not message:
                found.setdefault((kind.key, model, info.alias or name), path)
            elif held not in above and not whole(kind, path):
                walk(held, f"{path}.", (*above, held))

    assert kind.spec is not None
    walk(kind.spec, "", (kind.spec,))
    return found


def whole(kind: Kind, path: str) -> bool:
    """Whether a row is about the field, whatever its value."""
    return any(gap.kind == kind.key and gap.values in ("", "all") and matches(gap, path) for gap in GAPS)


Given = tuple[Owner, Place, Any]


def given(kind: Kind, model: type[BaseModel], value: Any, at: Place = ()) -> Iterator[Given]:
    """Fields that are set and hold no message, with their places and annotations."""
    for name, info in model.model_fields.items():
        alias = info.alias or name
        if not isinstance(value, dict) or alias not in value:
            continue
        shape, held = inner(info.annotation)
        if not (isinstance(held, type) and issubclass(held, BaseModel)):
            yield (kind.key, model, alias), (*at, alias), info.annotation
        else:
            inside = value[alias]
            below = {"[]": enumerate, "{}": dict.items}.get(shape, lambda one: (((), one),))(inside)
            for key, item in below:
                more = () if key == () else (key,)
                yield from given(kind, held, item, (*at, alias, *more))


def changed(spec: Any, place: Place, annotation: Any, pool: list[Any]) -> Iterator[Any]:
    """The spec without the field, and with other values of it: changed ones, and those of other cases."""
    *above, last = place
    for value in (None, *others(_at(spec, place), annotation), *pool):
        copied = copy.deepcopy(spec)
        holder = _at(copied, tuple(above))
        if value is None:
            del holder[last]
        else:
            holder[last] = value
        yield copied


def others(value: Any, annotation: Any) -> Iterator[Any]:
    shape, bare = inner(annotation)
    if shape == "[]":
        yield from (value[:-1], value[::-1])
        yield from ([[f"{value[0]}x"]] if isinstance(value[0], str) else ())
    elif shape == "{}":
        yield {key: f"{one}x" if isinstance(one, str) else one for key, one in value.items()}
    elif names := choices(bare):
        yield from (name for name in names if name != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, -value)
    elif isinstance(value, str):
        yield f"{value}x"
        yield f"x{value}"
        if value.endswith("s") and value[:-1].isdigit():
            yield f"{int(value[:-1]) + 1}s"


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


class Told:
    """What becomes of a case: what Envoy is told, what is wrong, and the status of resources."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.documents: list[dict[str, Any]] = case["resources"]
        self.door = Door()
        self.snapshot, self.node = cases.mesh(case)
        first, self.memory = remembering(self.snapshot, self.node, NOTHING)
        if case.get("modules"):
            states = {module: ModuleState(f"/{place}") for place, module in enumerate(first.modules)}
            self.node = replace(self.node, modules=states)
        self.usual = self._told(self.documents)

    def differs(self, place: int, spec: Any) -> bool:
        documents = list(self.documents)
        documents[place] = {**documents[place], "spec": spec}
        return self._told(documents) != self.usual

    def _told(self, documents: list[dict[str, Any]]) -> Any:
        written = tuple(cases.resource(one, place) for place, one in enumerate(documents))
        resources = self.door.through(written, self.snapshot.services, ())
        taken = {service.address for service in self.snapshot.services}
        hosts = external.allocate(external.read(resources), "240.240.0.0/16", taken, ())
        snapshot = self.snapshot.model_copy(update={"resources": resources, "hosts": hosts})
        made, self.memory = remembering(snapshot, self.node, self.memory)
        statuses = {key: repr(value) for key, value in self.door.statuses.items()}
        return made.resources, made.problems, made.strict, made.modules, hosts, statuses


def takes(document: dict[str, Any]) -> bool:
    found = Document(resource=cases.resource(document, 0), location="it.yaml:1")
    return not validate(found, to_apply=True).rejections


@cache
def effective() -> frozenset[Owner]:
    """Fields that make a difference somewhere."""
    found: set[Owner] = set()
    written = [cases.load(path) for path in sorted(FOLDER.glob("*.in.yaml"))]
    pools: dict[Owner, list[Any]] = {}
    for case in written:
        for document in case["resources"]:
            for owner, at, _ in set_in(document):
                pool, value = pools.setdefault(owner, []), _at(document["spec"], at)
                pool += [value] if value not in pool and len(pool) < 6 else []
    for case in written:
        told = Told(case)
        for place, document in enumerate(told.documents):
            for owner, at, annotation in set_in(document):
                if owner not in found:
                    candidates = changed(document["spec"], at, annotation, pools[owner])
                    good = (one for one in candidates if takes({**document, "spec": one}))
                    if any(told.differs(place, one) for one in good):
                        found.add(owner)
    return frozenset(found)


def set_in(document: dict[str, Any]) -> Iterator[Given]:
    kind = named(document["apiVersion"], document["kind"])
    assert isinstance(kind, Kind)
    assert kind.spec is not None
    return given(kind, kind.spec, document.get("spec", {}))


@pytest.mark.parametrize("kind", ENFORCED, ids=lambda kind: kind.key)
def test_every_field_has_an_effect_or_a_row(kind: Kind) -> None:
    silent = {
        path for owner, path in fields_of(kind).items() if owner not in effective() and not whole(kind, path)
    }
    assert silent == set(ELSEWHERE.get(kind.key, {})), "say in support.py what it does not do, or add a case"
