"""TrafficExtension and WasmPlugin in a real Envoy between captured namespaces."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.agent.modules import Modules
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.translate.node import ModuleState
from tests.netns.meshed import VIRTUAL, Proxy, ask, captured, envoy, get, until
from tests.netns.world import Box, dial
from tests.wasm import MODULE


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def resource(kind: str, name: str, app: str, spec: dict[str, Any]) -> Resource:
    spec = {"selector": {"matchLabels": {"app": app}}, **spec}
    version = "extensions.istio.io/v1alpha1"
    return Resource(api_version=version, kind=kind, name=name, namespace="test", spec=spec)


def lua(app: str, mark: str, **spec: Any) -> Resource:
    """It appends `mark` to a header of the answer; answers meet the filters in reverse order."""
    code = f"""
    function envoy_on_response(handle)
      local old = handle:headers():get("x-order") or ""
      handle:headers():replace("x-order", old .. "{mark}")
    end"""
    return resource("TrafficExtension", f"lua-{mark}", app, {"lua": {"inlineCode": code}, **spec})


async def order(box: Box, of: str, port: int = 8000) -> str:
    _, headers, _ = await ask(box, VIRTUAL[of], port, of)
    return headers.get("x-order", "")


async def test_lua_by_phase_and_priority_on_the_side_that_is_meant(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    server = {"match": [{"mode": "SERVER"}]}
    proxy.resources = [
        lua("neighbour", "4", **server),
        lua("neighbour", "3", phase="STATS", **server),
        lua("neighbour", "1", phase="AUTHN", priority=10, **server),
        lua("neighbour", "2", phase="AUTHN", **server),
        lua("neighbour", "x", match=[{"mode": "SERVER", "ports": [{"number": 8080}]}]),
    ]
    await proxy.push()
    await until(lambda: order(app, "neighbour"), "4321")
    assert await order(neighbour, "app") == ""
    proxy.resources = [lua("app", "c", match=[{"mode": "CLIENT", "ports": [{"number": 8000}]}])]
    await proxy.push()
    await until(lambda: order(app, "neighbour"), "c")
    assert await order(neighbour, "app") == ""


async def test_a_module_is_awaited_checked_and_run(proxy: Proxy, app: Box, settings: Settings) -> None:
    """Nothing passes before it is there, and nothing if it is another one."""
    source = settings.paths.run / "source.wasm"
    source.write_bytes(MODULE)
    spec = {"url": f"file://{source}", "pluginConfig": {"a": 1}, "match": [{"mode": "SERVER"}]}
    plugin = resource("WasmPlugin", "w", "neighbour", spec)
    proxy.resources = [plugin]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "403 ")
    [module] = proxy.wanted
    kept = Modules(settings.paths.modules, settings.paths.credentials).keep(module, MODULE)
    assert kept.name == f"{hashlib.sha256(MODULE).hexdigest()}.wasm"
    proxy.modules = {module: ModuleState(path=str(kept))}
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "200 ")
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")


async def test_what_may_fail_open_does(proxy: Proxy, app: Box) -> None:
    spec = {"url": "https://modules.invalid/a.wasm", "failStrategy": "FAIL_OPEN"}
    proxy.resources = [
        resource("WasmPlugin", "w", "neighbour", spec),
        lua("neighbour", "l", match=[{"mode": "SERVER"}]),
    ]
    await proxy.push()
    await until(lambda: order(app, "neighbour"), "l")
    assert [module.url for module in proxy.wanted] == ["https://modules.invalid/a.wasm"]
    assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 ")
