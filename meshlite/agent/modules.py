"""WebAssembly modules on this node: fetched, checked against their hash, and kept by it.

The proxy runs as another user and reads them from a folder of its own, under names that are their hashes, so
that a file that changes is another file.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import aiohttp

from meshlite.agent import images
from meshlite.model.image import Image, is_image
from meshlite.translate.node import Module, ModuleState
from meshlite.watch import Watch

log = logging.getLogger(__name__)

LARGEST = 64 * 2**20
FETCH_SECONDS = 30.0
RETRY_SECONDS = 30.0
MAGIC = b"\0asm"


class Modules:
    """`held` has a state for each wanted module that was looked for; who wants others says so by `want`."""

    def __init__(self, folder: Path, credentials: Path) -> None:
        """`credentials`: folders `<namespace>/<name>`, as of certificates, with logins to registries."""
        self._folder, self._credentials = folder, credentials
        self._wanted: Watch[tuple[Module, ...]] = Watch(())
        self.held: Watch[Mapping[Module, ModuleState]] = Watch(MappingProxyType({}))

    def want(self, modules: tuple[Module, ...]) -> None:
        self._wanted.set(modules)

    async def run(self) -> None:
        """Ends only when cancelled."""
        while True:
            wanted = self._wanted.value
            await self._look(wanted)
            failed = any(state.error for state in self.held.value.values())
            try:
                async with asyncio.timeout(RETRY_SECONDS if failed else None):
                    await self._wanted.next(wanted)
            except TimeoutError:
                pass

    async def _look(self, wanted: tuple[Module, ...]) -> None:
        """Those that are kept at once, the others one after the other."""
        known = {module: state for module, state in self.held.value.items() if module in wanted}
        self.held.set(known)
        for module in wanted:
            if module not in known or known[module].error:
                known = {**known, module: await self._state(module)}
                self.held.set(known)

    async def _state(self, module: Module) -> ModuleState:
        try:
            body = self._kept(module) or await self._fetched(module)
            return ModuleState(path=str(await asyncio.to_thread(self.keep, module, body)))
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("module %s: %s", module.url, error)
            return ModuleState(error=str(error) or type(error).__name__)

    async def _fetched(self, module: Module) -> bytes:
        parts = urlsplit(module.url)
        if parts.scheme == "file":
            return await asyncio.to_thread(_read, Path(unquote(parts.path)))
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            if is_image(module.url):
                secret = self._credentials / module.secret if module.secret else None
                return await images.fetched(session, module.url, module.sha256, secret)
            return await _downloaded(session, module.url)

    def _kept(self, module: Module) -> bytes | None:
        """One of that hash that a former run has fetched."""
        path = self._folder / f"{_known(module)}.wasm"
        return path.read_bytes() if _known(module) and path.is_file() else None

    def keep(self, module: Module, body: bytes) -> Path:
        """The path of a module whose bytes are `body`. Raises ValueError for what is not what was meant."""
        found = hashlib.sha256(body).hexdigest()
        if module.sha256 and found != module.sha256 and not is_image(module.url):
            raise ValueError(f"its sha256 is {found}, not {module.sha256}")
        if not body.startswith(MAGIC):
            raise ValueError("it is not a WebAssembly module")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o755)
        path = self._folder / f"{_known(module) or found}.wasm"
        if not path.is_file():
            fresh = path.with_suffix(".new")
            fresh.write_bytes(body)
            fresh.chmod(0o644)
            os.replace(fresh, path)
        return path


def _known(module: Module) -> str:
    """The name under which a module is kept that cannot become another one; empty: it could."""
    if not is_image(module.url):
        return module.sha256
    digest = Image.of(module.url).digest or module.sha256
    return f"image-{digest}" if digest else ""


async def _downloaded(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as answer:
        if answer.status != 200:
            raise ValueError(f"the server answers {answer.status}")
        body = await answer.content.read(LARGEST + 1)
        while len(body) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(body))):
            body += more
    return _limited(body)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError("there is no such file on this node")
    with path.open("rb") as file:
        return _limited(file.read(LARGEST + 1))


def _limited(body: bytes) -> bytes:
    if len(body) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 2**20} MiB")
    return body
