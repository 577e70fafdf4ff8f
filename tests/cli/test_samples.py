"""Istio's own samples go through `apply` into a real server as they are, beside the workloads they bring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from meshlite.model.located import Located, load
from meshlite.model.mesh import Resource
from meshlite.model.workload import Port, Workload
from tests.cli.conftest import NODE, Mesh
from tests.conformance import corpus

pytestmark = corpus.needed

FOLDER = corpus.ROOT / "1-samples/istio/samples"

REFUSED = {
    "bookinfo/swagger.yaml": "is required",
    "security/spire/clusterspiffeid.yaml": "is not known to meshlite",
    "security/spire-trust-domain-federation/cluster-federated-trust-domain.yaml": "is not known to meshlite",
    "security/spire-trust-domain-federation/spire-base.yaml": "is required",
    "security/spire-trust-domain-federation/spire-east.yaml": "is required",
    "security/spire-trust-domain-federation/spire-west.yaml": "is required",
}
"""Files that are refused, and why: other products' kinds, no resources at all. May only shrink."""

BEFORE = {
    "bookinfo/networking": ("bookinfo/networking/destination-rule-all.yaml",),
    "tcp-echo": ("tcp-echo/tcp-echo-all-v1.yaml",),
}
"""What is applied before the files of a folder."""


def files() -> list[str]:
    return [str(path.relative_to(FOLDER)) for path in sorted(FOLDER.rglob("*.yaml"))]


def documents() -> Iterator[dict[str, Any]]:
    for file in files():
        if REFUSED.get(file) != "is required":
            for item in load((FOLDER / file).read_text()):
                assert isinstance(item, Located)
                if isinstance(item.value, dict):
                    yield item.value


def workloads() -> Iterator[Workload]:
    """What Docker would run instead of the samples' Deployments: one container for each pod of a Service."""
    found = list(documents())
    pods = [one["spec"]["template"] for one in found if one.get("kind") == "Deployment"]
    for service in (one for one in found if one.get("kind") == "Service"):
        name, wanted = service["metadata"]["name"], service["spec"].get("selector") or {}
        ports = tuple(Port(number=row["port"], name=row.get("name", "")) for row in service["spec"]["ports"])
        for place, pod in enumerate(pods):
            labels = {key: str(value) for key, value in pod["metadata"]["labels"].items()}
            if wanted and wanted.items() <= labels.items():
                yield Workload(
                    id=f"{name}-{place}",
                    node=NODE,
                    name=f"{name}-{place}",
                    service=name,
                    namespace="default",
                    version=labels.get("version", ""),
                    labels=labels,
                    ports=ports,
                    captured=True,
                )


@pytest.fixture
def samples(mesh: Mesh) -> Mesh:
    mesh.projects("default")
    mesh.report(*{one.id: one for one in workloads()}.values())
    return mesh


def test_every_sample_applies_as_it_is(samples: Mesh) -> None:
    """Each file by itself, with what Istio's tasks apply before it; nothing is left for the next one."""
    applied, refused = 0, {}
    for file in files():
        for first in BEFORE.get(file.rpartition("/")[0], ()):
            assert apply(samples, first).exit_code == 0
        done = apply(samples, file)
        if done.exit_code:
            refused[file] = done.stderr
        elif done.stdout.strip():
            applied += len(json.loads(done.stdout)["applied"])
        clean(samples)
    unexpected = [text for file, text in refused.items() if REFUSED.get(file, "-") not in text]
    assert unexpected == []
    assert applied > 40


def apply(mesh: Mesh, file: str) -> Result:
    return mesh.cli("apply", "-n", "default", "-f", str(FOLDER / file), "-o", "json")


def clean(mesh: Mesh) -> None:
    for row in mesh.server.get("/v1/resources")["resources"]:
        mesh.server.call("DELETE", f"/v1/resources/{Resource.model_validate(row).key}")
