"""What a module's absence means, and what becomes of its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshlite.translate.node import Module, ModuleState
from meshlite.translate.translate import translate
from tests.translate import cases

URL = "https://modules.example.com/m.wasm"
HASH = "a" * 64


def case(**spec: Any) -> dict[str, Any]:
    plugin = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": "w"},
        "spec": {"url": URL, "sha256": HASH, "match": [{"mode": "SERVER"}], **spec},
    }
    return {
        "workloads": [{"name": "web", "link": "169.254.0.2", "ports": ["http:80"]}],
        "resources": [plugin],
    }


def filters(made: dict[str, Any]) -> list[dict[str, Any]]:
    chain = made["listeners"]["inbound/4000/80"]["filter_chains"][0]
    found: list[dict[str, Any]] = chain["filters"][0]["typed_config"]["http_filters"]
    return found


def test_what_is_wanted_and_what_a_failure_means() -> None:
    snapshot, node = cases.mesh(case())
    waiting = translate(snapshot, node)
    assert waiting.modules == (Module(URL, HASH),)
    assert waiting.problems == ()
    assert filters(cases.shown(waiting))[0]["typed_config"]["@type"].endswith("rbac.v3.RBAC")
    failed = translate(snapshot, replace(node, modules={Module(URL, HASH): ModuleState(error="it is gone")}))
    [problem] = failed.problems
    assert problem.resource == "WasmPlugin/shop/w"
    assert problem.reason == f"{URL}: it is gone: what it is for is refused"


def test_settings_reach_the_module() -> None:
    env = [{"name": "A", "value": "b"}, {"name": "PATH", "valueFrom": "HOST"}]
    snapshot, node = cases.mesh(
        case(
            pluginConfig={"b": 1, "a": "x"},
            pluginName="root",
            vmConfig={"env": env},
            failStrategy="FAIL_RELOAD",
        )
    )
    node = replace(node, modules={Module(URL, HASH): ModuleState(path="/run/m.wasm")})
    config = filters(cases.shown(translate(snapshot, node)))[0]["typed_config"]["config"]
    assert config["root_id"] == "root"
    assert config["failure_policy"] == "FAIL_RELOAD"
    assert config["configuration"]["value"] == '{"a": "x", "b": 1}'
    variables = config["vm_config"]["environment_variables"]
    assert variables == {"key_values": {"A": "b"}, "host_env_keys": ["PATH"]}
    assert config["vm_config"]["code"]["local"]["filename"] == "/run/m.wasm"


def test_always_is_looked_for_again_after_each_change() -> None:
    snapshot, node = cases.mesh(case(imagePullPolicy="Always", sha256=""))
    [one] = translate(snapshot, node).modules
    [resource] = snapshot.resources
    changed = snapshot.model_copy(update={"resources": (resource.model_copy(update={"generation": 2}),)})
    [other] = translate(changed, node).modules
    assert one.url == other.url
    assert one != other


def test_images_are_looked_for_again_where_their_name_may_come_to_mean_another() -> None:
    """As in Istio: `latest` by itself; with the login to the registry where a secret is named."""
    found = []
    for name in ("m", "m:1", "m@sha256:" + HASH):
        spec = {"url": f"oci://registry.example.com/{name}", "imagePullSecret": "pull", "sha256": ""}
        snapshot, node = cases.mesh(case(**spec))
        translation = translate(snapshot, node)
        assert translation.problems == ()
        found += translation.modules
    assert [bool(one.fresh) for one in found] == [True, False, False]
    assert {one.secret for one in found} == {"shop/pull"}
