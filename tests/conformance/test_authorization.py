"""AuthorizationPolicy decides as Istio does: its filters for its policies, and ours, in a real Envoy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlite.model.mesh import Resource
from meshlite.model.provider import ExtensionProvider
from meshlite.translate.envoy import schema
from meshlite.translate.envoy.chooser import chooser
from meshlite.translate.envoy.guards import request_filters
from meshlite.translate.memo import Memo
from meshlite.translate.plan.attachment import Called
from meshlite.translate.plan.catalog import Callee, Catalog, service_port
from meshlite.translate.plan.guard import Guard, verdicts
from meshlite.translate.plan.guards import book
from meshlite.translate.plan.listener import Chooser, Judged
from meshlite.translate.plan.resources import read
from meshlite.translate.plan.trust import Trust
from tests.conformance import oracle
from tests.conformance.corpus import ROOT, needed

FOLDER = ROOT / "2-authz-builder"
DATA = FOLDER / "istio/pilot/pkg/security/authz/builder/testdata"


def expected() -> dict[str, Any]:
    file = FOLDER / "EXPECTED.yaml"
    found: dict[str, Any] = yaml.safe_load(file.read_text()) if file.exists() else {"http": [], "tcp": []}
    return found


EXPECTED = expected()


def documents(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((DATA / case["input"]).read_text()) if one]


def istios(case: dict[str, Any]) -> list[dict[str, Any]]:
    filters = [yaml.safe_load((DATA / name).read_text()) for name in case["want"]]
    adapted: list[dict[str, Any]] = oracle.adapted(oracle.asking_nobody(filters))
    return adapted


def guard(case: dict[str, Any]) -> Guard:
    resources = tuple(
        Resource(
            api_version=one["apiVersion"],
            kind=one["kind"],
            name=one["metadata"]["name"],
            namespace=one["metadata"].get("namespace", "foo"),
            annotations=one["metadata"].get("annotations", {}),
            spec=one["spec"],
            sequence=place,
        )
        for place, one in enumerate(documents(case))
    )
    found, told = read(Memo(), resources)
    assert told == ()
    trust = Trust(case.get("trust_domain", "cluster.local"), tuple(case.get("trust_domain_aliases", ())))
    name = "my-custom-ext-authz.foo.svc.cluster.local"
    service = Callee("x", "foo", name, (), {9000: service_port(9000, "grpc", "")}, (), {}, key=name)
    config = EXPECTED["mesh_configs"].get(case.get("mesh_config", ""), {})
    providers = tuple(ExtensionProvider.model_validate(one) for one in config.get("extensionProviders", ()))
    made, _ = book(Memo(), found, trust, (), providers, Catalog({name: service}))
    workload = Called("foo", "httpbin", EXPECTED["workload"]["labels"])
    return made.near("foo").guard(workload, (oracle.DESTINATION,))


@needed
@pytest.mark.parametrize("case", EXPECTED["http"], ids=lambda case: case["name"])
async def test_requests(case: dict[str, Any], tmp_path: Path) -> None:
    bench = oracle.Bench(tmp_path)
    ours = bench.http(oracle.asking_nobody(request_filters(guard(case))))
    theirs = bench.http(istios(case))
    async with bench.running():
        asked = list(dict.fromkeys(oracle.requests(documents(case))))
        for request in asked:
            assert await oracle.decision(ours, request) == await oracle.decision(theirs, request), request


@needed
@pytest.mark.parametrize("case", EXPECTED["tcp"], ids=lambda case: case["name"])
async def test_connections(case: dict[str, Any], tmp_path: Path) -> None:
    asked = list(dict.fromkeys(oracle.requests(documents(case))))
    made = guard(case).of_connections()
    bench = oracle.Bench(tmp_path)
    places = {principal: _places(bench, principal, made, istios(case)) for principal in _principals(asked)}
    async with bench.running():
        for request in asked:
            ours, theirs = places[request.principal]
            assert await oracle.heard(ours, request) == await oracle.heard(theirs, request), request


def _principals(asked: list[oracle.Request]) -> Iterator[str]:
    return iter(dict.fromkeys(request.principal for request in asked))


def _places(
    bench: oracle.Bench, principal: str, made: Guard, theirs: list[dict[str, Any]]
) -> tuple[int, int]:
    asked = verdicts(made.rules)
    named = tuple((test, f"denied/{name}") for test, name in asked)
    tree = chooser(Chooser((), "passed", judged=(Judged("passed", named),)))
    matcher = schema.decode("xds.type.matcher.v3.Matcher", tree) if tree else {}
    return bench.chosen(principal, matcher, (name for _, name in named)), bench.tcp(principal, theirs)


@needed
async def test_the_requests_tell_rules_apart(tmp_path: Path) -> None:
    """What they are compared by: of the richest policy's requests some are let in and some are not."""
    case = next(one for one in EXPECTED["http"] if one["name"] == "trust-domain-wildcard-in-principal")
    bench = oracle.Bench(tmp_path)
    ours = bench.http(request_filters(guard(case)))
    async with bench.running():
        found = {(await oracle.decision(ours, one))[0] for one in oracle.requests(documents(case))}
    assert found == {"200", "403"}
