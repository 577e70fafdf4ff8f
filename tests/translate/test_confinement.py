"""What users bring into the proxy reaches traffic, and nothing of the host unless they are trusted."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.mesh import MeshSettings, Problem
from meshlite.translate.translate import translate
from tests.translate import cases

EXTENSIONS = "type.googleapis.com/envoy.extensions"
LOG = {"name": "log", "typed_config": {"@type": f"{EXTENSIONS}.access_loggers.file.v3.FileAccessLog"}}
STRUCT = "type.googleapis.com/udpa.type.v1.TypedStruct"
HOSTILE = (
    "f = io.open('/tmp/x', 'w') f:write('x') f:close() os.execute('id') function envoy_on_request(h) end"
)


def logging_to(path: str) -> dict[str, Any]:
    return {"access_log": [{**LOG, "typed_config": {**LOG["typed_config"], "path": path}}]}  # type: ignore[dict-item]


def patch(apply_to: str, value: dict[str, Any], operation: str = "MERGE") -> dict[str, Any]:
    match: dict[str, Any] = {"context": "SIDECAR_OUTBOUND"}
    if apply_to == "HTTP_FILTER":
        manager = {"filter": {"name": "envoy.filters.network.http_connection_manager"}}
        match["listener"] = {"filterChain": manager}
    return {"applyTo": apply_to, "match": match, "patch": {"operation": operation, "value": value}}


def http_filter(kind: str, **fields: Any) -> dict[str, Any]:
    config = {"@type": f"{EXTENSIONS}.filters.http.{kind}", **fields}
    return patch("HTTP_FILTER", {"name": "x", "typed_config": config}, "INSERT_BEFORE")


def lua(**fields: Any) -> dict[str, Any]:
    return http_filter("lua.v3.Lua", **fields)


def translated(one: dict[str, Any], **settings: Any) -> tuple[str, tuple[Problem, ...]]:
    """All of what Envoy is told, as text, and what is wrong."""
    resource = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "f", "namespace": "shop"},
        "spec": {"configPatches": [one]},
    }
    case = {
        "workloads": [{"name": "web", "link": "169.254.0.2", "ports": ["http:80"]}],
        "resources": [resource],
    }
    snapshot, node = cases.mesh(case)
    made = translate(snapshot.model_copy(update={"settings": MeshSettings(**settings)}), node)
    return str({**cases.shown(made), "problems": []}), made.problems


TAP = {"output_config": {"sinks": [{"file_per_tap": {"path_prefix": "/tmp/tap"}}]}}
PIPE = {"name": "p", "address": {"pipe": {"path": "/tmp/p"}}}
ELSEWHERE = {
    "socket_address": {"address": "::", "port_value": 1, "networkNamespaceFilepath": "/proc/1/ns/net"}
}
ENDPOINT = {"endpoint": {"address": {"pipe": {"path": "/var/run/docker.sock"}}}}
WRAPPED = {
    "@type": STRUCT,
    "type_url": f"{EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
    "value": {"path": "/etc/cron.d/x"},
}


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (patch("LISTENER", logging_to("/etc/cron.d/x")), "it writes to the file '/etc/cron.d/x' of the host"),
        (patch("LISTENER", {"accessLog": [{"name": "l", "typedConfig": WRAPPED}]}), "it writes to the file"),
        (http_filter("tap.v3.Tap", common_config={"static_config": TAP}), "files of the host"),
        (http_filter("golang.v3alpha.Config", library_path="/tmp/x.so"), "it runs a program of the host"),
        (http_filter("dynamic_modules.v3.DynamicModuleFilter"), "it runs a program of the host"),
        (http_filter("file_system_buffer.v3.FileSystemBufferFilterConfig"), "keeps bodies in files"),
        (lua(default_source_code={"filename": "/tmp/x.lua"}), "Lua by filename cannot be confined"),
        (lua(defaultSourceCode={"inlineBytes": "G0xK"}), "Lua by inline_bytes cannot be confined"),
        (patch("LISTENER", PIPE, "ADD"), "it reaches the socket '/tmp/p' of the host"),
        (patch("LISTENER", {"name": "n", "address": ELSEWHERE}, "ADD"), "it leaves the workload's network"),
        (
            patch(
                "CLUSTER",
                {"name": "c", "load_assignment": {"endpoints": [{"lb_endpoints": [ENDPOINT]}]}},
                "ADD",
            ),
            "it reaches the socket '/var/run/docker.sock' of the host",
        ),
    ],
)
def test_a_patch_that_reaches_the_host_is_left_out_and_told(one: dict[str, Any], why: str) -> None:
    shown, problems = translated(one)
    [problem] = problems
    assert problem.resource == "EnvoyFilter/shop/f"
    assert why in problem.reason
    assert problem.reason.startswith("spec.configPatches[0]: ")
    assert problem.reason.endswith("the setting envoy_filter: trusted allows it; it is left out")
    for trace in ("/etc/cron.d", "/tmp/", "docker.sock", "/proc/1"):
        assert trace not in shown
    assert not any("trusted" in told.reason for told in translated(one, envoy_filter="trusted")[1])


@pytest.mark.parametrize(
    "field", [{"address": ELSEWHERE}, {"additionalAddresses": []}, {"name": "n"}, {"bindToPort": False}]
)
@pytest.mark.parametrize("word", ["confined", "trusted"])
def test_nobody_moves_the_listeners_of_capture(field: dict[str, Any], word: str) -> None:
    plain, _ = translated(patch("LISTENER", {"stat_prefix": ""}))
    shown, [problem] = translated(patch("LISTENER", field), envoy_filter=word)
    assert "capture finds the listener" in problem.reason
    assert shown == plain


def test_a_log_on_standard_output_is_fine() -> None:
    shown, problems = translated(patch("LISTENER", logging_to("/dev/stdout")))
    assert problems == ()
    assert "/dev/stdout" in shown


@pytest.mark.parametrize("form", ["inline_code", "default_source_code", "source_codes"])
def test_lua_has_neither_files_nor_programs_unless_it_is_trusted(form: str) -> None:
    forms: dict[str, Any] = {
        "inline_code": HOSTILE,
        "default_source_code": {"inline_string": HOSTILE},
        "source_codes": {"a": {"inlineString": HOSTILE}},
    }
    shown, problems = translated(lua(**{form: forms[form]}))
    assert problems == ()
    assert "io=nil package=nil" in shown
    assert "io=nil" not in translated(lua(**{form: forms[form]}), envoy_filter="trusted")[0]
