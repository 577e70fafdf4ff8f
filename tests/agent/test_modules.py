"""Modules from files and web servers: checked, kept, and looked for again where they fail."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from meshlite.agent.modules import Modules
from meshlite.translate.node import Module, ModuleState
from tests.wasm import MODULE

HASH = hashlib.sha256(MODULE).hexdigest()


@asynccontextmanager
async def serving(bodies: dict[str, bytes], asked: list[str]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        body = bodies.get(request.path)
        return web.Response(body=body) if body is not None else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def states(folder: Path, *wanted: Module, of: Modules | None = None) -> list[ModuleState]:
    modules = of or Modules(folder, folder)
    modules.want(wanted)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(modules.run())
        while any(module not in modules.held.value for module in wanted):
            await modules.held.next(modules.held.value)
        running.cancel()
    return [modules.held.value[module] for module in wanted]


async def test_files_and_servers(tmp_path: Path) -> None:
    source = tmp_path / "a b.wasm"
    source.write_bytes(MODULE)
    asked: list[str] = []
    async with serving({"/m.wasm": MODULE, "/page": b"<html>"}, asked) as url:
        file, good, page, absent, other = await states(
            tmp_path / "kept",
            Module(f"file://{tmp_path}/a%20b.wasm"),
            Module(f"{url}/m.wasm", HASH),
            Module(f"{url}/page"),
            Module(f"{url}/absent"),
            Module(f"{url}/m.wasm", "0" * 64),
        )
    kept = tmp_path / "kept" / f"{HASH}.wasm"
    assert file == good == ModuleState(path=str(kept))
    assert kept.read_bytes() == MODULE
    assert kept.stat().st_mode & 0o444 == 0o444
    assert "not a WebAssembly module" in page.error
    assert "404" in absent.error
    assert f"its sha256 is {HASH}" in other.error
    assert asked.count("/m.wasm") == 1, "the one of a known hash is there already"


async def test_what_is_kept_by_its_hash_needs_no_server(tmp_path: Path) -> None:
    Modules(tmp_path, tmp_path).keep(Module("file:///x", HASH), MODULE)
    [state] = await states(tmp_path, Module("http://127.0.0.1:9/m.wasm", HASH))
    assert state.path.endswith(f"{HASH}.wasm")
    [gone, missing] = await states(
        tmp_path, Module("http://127.0.0.1:9/n.wasm"), Module("file:///no/such.wasm")
    )
    assert gone.error
    assert "no such file" in missing.error
