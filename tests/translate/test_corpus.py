"""Istio's own resources are translated, and Envoy takes the result; skipped where that YAML is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlite.model.documents import read
from meshlite.model.mesh import Resource
from meshlite.model.names import resolve
from meshlite.model.networking import DestinationRule, VirtualService
from meshlite.model.validate import parse, validate
from meshlite.translate.translate import Translator
from tests.conformance import corpus
from tests.translate import cases, envoy

pytestmark = corpus.needed

ENTRY_GROUPS = ("1-samples", "3-validation", "4-config", "8-api-doc-examples", "6b-integration-rendered")
GROUPS = ("1-samples", "3-validation", "4-config", "8-api-doc-examples")


def test_envoy_takes_all_of_istios_routes_and_policies(tmp_path: Path) -> None:
    resources = list(accepted())
    assert len(resources) > 50
    translator = Translator()
    translated = {name: shown(translator, one, place) for place, (name, one) in enumerate(resources)}
    if envoy.validate(together(translated.values()), tmp_path):
        refused = {
            name: complaint
            for name, one in translated.items()
            if (complaint := envoy.validate(together([one]), tmp_path))
        }
        raise AssertionError(json.dumps(refused, indent=1))


@pytest.mark.parametrize("groups", [*((group,) for group in ENTRY_GROUPS), ENTRY_GROUPS], ids=" ".join)
def test_envoy_takes_all_of_istios_service_entries(groups: tuple[str, ...], tmp_path: Path) -> None:
    """All of them in one mesh, with a caller in each namespace."""
    kinds = ("ServiceEntry", "WorkloadEntry", "DestinationRule", "VirtualService")
    documents = [
        case.data
        for group in groups
        for case in corpus.cases(group)
        if case.kind in kinds and not case.complaint and good(case)
    ]
    for place, one in enumerate(documents):
        one["metadata"] = {"namespace": "default", **one["metadata"], "name": f"r{place}"}
    namespaces = sorted({one["metadata"]["namespace"] for one in documents})
    callers = [
        {"name": f"in-{namespace}", "namespace": namespace, "ports": [], "link": f"169.254.1.{place}"}
        for place, namespace in enumerate(namespaces, 1)
    ]
    result = cases.shown(Translator().translate(*cases.mesh({"workloads": callers, "resources": documents})))
    assert [one for one in result["problems"] if "the resource has no effect" in one] == []
    assert any(name.startswith("outbound|") for name in result["clusters"])
    assert envoy.validate(envoy.bootstrap(result), tmp_path) == ""


def good(case: corpus.Case) -> bool:
    reading = read(case.text, case.file)
    return bool(reading.documents) and not any(validate(one).rejections for one in reading.documents)


def accepted() -> Iterator[tuple[str, Resource]]:
    for group in GROUPS:
        for case in corpus.cases(group):
            if case.kind not in ("VirtualService", "DestinationRule") or case.complaint:
                continue
            for document in read(case.text, case.file).documents:
                if not validate(document).rejections:
                    yield f"{case.file}:{case.line}", document.resource


def shown(translator: Translator, resource: Resource, place: int) -> dict[str, Any]:
    """The result for a mesh that has every service the resource names, on the ports 80 and 9080.

    Clusters get names of their own, so that many results fit into one configuration.
    """
    workloads = [
        {"name": "caller", "namespace": resource.namespace, "ports": [], "link": "169.254.1.1"},
        *(
            {
                "name": host,
                "service": service,
                "namespace": namespace,
                "host": "127.0.0.1",
                "ports": ["http:80", 9080],
            }
            for host, service, namespace in services(resource)
        ),
    ]
    snapshot, node = cases.mesh({"workloads": workloads})
    translation = translator.translate(snapshot.model_copy(update={"resources": (resource,)}), node)
    elsewhere = ("not in the mesh", "is not there or has hosts")
    complaints = [
        one.reason for one in translation.problems if not any(word in one.reason for word in elsewhere)
    ]
    assert [one for one in complaints if "has no effect" in one] == []
    text = json.dumps(cases.shown(translation)).replace("outbound|", f"{place}|")
    found: dict[str, Any] = json.loads(text)
    return found


def services(resource: Resource) -> Iterator[tuple[str, str, str]]:
    """Hosts, names and namespaces of the services that a resource is about."""
    hosts: set[str] = set()
    if resource.kind == "VirtualService":
        spec = parse(resource, VirtualService)
        hosts |= {*spec.hosts}
        hosts |= {part.destination.host for rule in spec.http for part in rule.route}
    else:
        hosts |= {parse(resource, DestinationRule).host}
    for host in sorted({resolve(host, resource.namespace) for host in hosts}):
        parts = host.split(".")
        if host.endswith(".svc.cluster.local") and len(parts) == 5 and "*" not in host:
            yield host, parts[0], parts[1]


def together(results: Any) -> dict[str, Any]:
    """One static configuration with a listener for each route table, and all clusters."""
    whole: dict[str, Any] = {"listeners": {}, "clusters": {}, "routes": {}, "endpoints": {}}
    port = 20000
    for result in results:
        outbound = result["listeners"]["outbound/4000"]
        for chain in outbound["filter_chains"]:
            if not chain["name"].startswith("http/"):
                continue
            port += 1
            manager = chain["filters"][0]["typed_config"]
            table = result["routes"][manager["rds"]["route_config_name"]]
            manager["rds"]["route_config_name"] = name = f"{port}"
            whole["routes"][name] = table
            address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
            whole["listeners"][name] = {"name": name, "address": address, "filter_chains": [chain]}
        whole["clusters"] |= result["clusters"]
        whole["endpoints"] |= result["endpoints"]
    return envoy.bootstrap(whole)
