"""Filters in Lua and WebAssembly, and what stands in for one that is not there.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/wasm_filter and lua_filter
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import only
from meshlite.translate.plan.extension import Extension, Lua, Missing, Wasm

_HTTP = "envoy.extensions.filters.http"
_NETWORK = "envoy.extensions.filters.network"
_FAILURE = {"FAIL_CLOSE": "FAIL_CLOSED", "FAIL_OPEN": "FAIL_OPEN", "FAIL_RELOAD": "FAIL_RELOAD"}
_RUNTIME = "envoy.wasm.runtime.v8"


def http_extensions(extensions: tuple[Extension, ...]) -> list[dict[str, Any]]:
    """The filters for requests, in order."""
    return [
        {"name": one.name, "typed_config": _http(one.name, one.code)} for one in extensions if not one.network
    ]


def network_extensions(extensions: tuple[Extension, ...]) -> list[dict[str, Any]]:
    """The filters for connections, in order."""
    return [
        {"name": one.name, "typed_config": _network(one.name, one.code)} for one in extensions if one.network
    ]


def _http(name: str, code: Lua | Wasm | Missing) -> dict[str, Any]:
    match code:
        case Lua():
            return typed(f"{_HTTP}.lua.v3.Lua", {"default_source_code": {"inline_string": code.code}})
        case Wasm():
            return typed(f"{_HTTP}.wasm.v3.Wasm", {"config": _plugin(name, code)})
        case Missing():
            return typed(f"{_HTTP}.rbac.v3.RBAC", {"rules": {"action": "ALLOW"}})


def _network(name: str, code: Lua | Wasm | Missing) -> dict[str, Any]:
    if isinstance(code, Wasm):
        return typed(f"{_NETWORK}.wasm.v3.Wasm", {"config": _plugin(name, code)})
    rules = {"rules": {"action": "ALLOW"}, "stat_prefix": "extension"}
    return typed(f"{_NETWORK}.rbac.v3.RBAC", rules)


def _plugin(name: str, wasm: Wasm) -> dict[str, Any]:
    variables = only(key_values=dict(wasm.variables), host_env_keys=list(wasm.inherited))
    vm = {
        "vm_id": name,
        "runtime": _RUNTIME,
        "code": {"local": {"filename": wasm.path}},
        **only(environment_variables=variables),
    }
    configuration = typed("google.protobuf.StringValue", {"value": wasm.configuration})
    return {
        "name": name,
        "root_id": wasm.root_id,
        "failure_policy": _FAILURE[wasm.fail],
        "vm_config": vm,
        **only(configuration=configuration if wasm.configuration else None),
    }
