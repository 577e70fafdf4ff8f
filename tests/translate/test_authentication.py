"""Which ports refuse strangers: PeerAuthentication from the mesh down to a port."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.translate.envoy import schema
from meshlite.translate.plan.authentication import StrictPolicy
from meshlite.translate.translate import translate
from tests.translate import cases

WORKLOAD = {"name": "web", "version": "v1", "ports": ["http:80", "http:81"], "link": "169.254.1.1"}

MESH, NAMESPACE = "meshlite-system", "shop"


def policy(namespace: str, name: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def mode(value: str) -> dict[str, str]:
    return {"mode": value}


SELECTED = {"matchLabels": {"app": "web"}}
STRICT, PERMISSIVE, UNSET, DISABLE = (mode(name) for name in ("STRICT", "PERMISSIVE", "UNSET", "DISABLE"))


def strict(*policies: dict[str, Any]) -> StrictPolicy:
    translation = translate(*cases.mesh({"workloads": [WORKLOAD], "resources": list(policies)}))
    assert translation.problems == ()
    listeners = translation.resources[schema.LISTENER]
    found = translation.strict["4000"]
    assert ("inbound/4000" in listeners) == (not found.closed)
    return found


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], StrictPolicy()),
        ([policy(MESH, mtls=STRICT)], StrictPolicy(True)),
        ([policy(NAMESPACE, mtls=STRICT)], StrictPolicy(True)),
        ([policy("elsewhere", mtls=STRICT)], StrictPolicy()),
        ([policy(MESH, mtls=STRICT), policy(NAMESPACE, mtls=PERMISSIVE)], StrictPolicy()),
        ([policy(MESH, mtls=STRICT), policy(NAMESPACE, mtls=UNSET)], StrictPolicy(True)),
        ([policy(MESH, mtls=STRICT), policy(NAMESPACE, mtls=DISABLE)], StrictPolicy()),
        ([policy(NAMESPACE, mtls=STRICT), policy(NAMESPACE, "b", mtls=PERMISSIVE)], StrictPolicy(True)),
        ([policy(NAMESPACE, mtls=STRICT), policy(NAMESPACE, "web", selector=SELECTED)], StrictPolicy(True)),
        (
            [policy(NAMESPACE, mtls=STRICT), policy(NAMESPACE, "web", selector=SELECTED, mtls=PERMISSIVE)],
            StrictPolicy(),
        ),
        (
            [
                policy(
                    NAMESPACE, "web", selector={"matchLabels": {"app": "web", "version": "v1"}}, mtls=STRICT
                )
            ],
            StrictPolicy(True),
        ),
        ([policy(NAMESPACE, "web", selector={"matchLabels": {"app": "other"}}, mtls=STRICT)], StrictPolicy()),
        ([policy(MESH, "web", selector=SELECTED, mtls=STRICT)], StrictPolicy()),
    ],
)
def test_the_narrowest_scope_decides(policies: list[dict[str, Any]], expected: StrictPolicy) -> None:
    assert strict(*policies) == expected


def test_ports_differ_from_the_rest_of_the_workload() -> None:
    ports = {81: PERMISSIVE, 82: UNSET}
    found = strict(policy(NAMESPACE, "web", selector=SELECTED, mtls=STRICT, portLevelMtls=ports))
    assert [found.strict(port) for port in (80, 81, 82)] == [True, False, True]
    assert not found.closed


def test_one_strict_port_of_an_open_workload() -> None:
    found = strict(policy(NAMESPACE, "web", selector=SELECTED, portLevelMtls={81: STRICT}))
    assert [found.strict(port) for port in (80, 81)] == [False, True]


def test_a_container_that_shares_the_namespace_has_its_own_policy_for_its_ports() -> None:
    sidekick = {"name": "sidekick", "ports": ["http:9000"]}
    case = {
        "workloads": [WORKLOAD, sidekick],
        "resources": [policy(NAMESPACE, "one", selector={"matchLabels": {"app": "sidekick"}}, mtls=STRICT)],
    }
    snapshot, node = cases.mesh(case)
    [attachment] = node.attachments
    shared = type(attachment)(**{**vars(attachment), "workloads": ("web-id", "sidekick-id")})
    found = translate(snapshot, type(node)(**{**vars(node), "attachments": (shared,)})).strict["4000"]
    assert [found.strict(port) for port in (80, 9000)] == [False, True]
