"""Declared hosts for tests, written as the YAML of ServiceEntries."""

from __future__ import annotations

from meshlite.model import external
from meshlite.model.external import Complaint, External
from meshlite.model.mesh import Resource
from meshlite.model.networking import ServiceEntry
from meshlite.model.validate import parse
from tests.model.resources import document


def entry(spec: str, namespace: str = "shop", name: str = "it", sequence: int = 0, **labels: str) -> Resource:
    found = document("ServiceEntry", spec, namespace).resource
    return found.model_copy(update={"name": name, "sequence": sequence, "labels": labels})


def declared(*entries: Resource) -> tuple[tuple[External, ...], tuple[Complaint, ...]]:
    return external.declared(tuple((one, parse(one, ServiceEntry)) for one in entries))
