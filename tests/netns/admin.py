"""What an Envoy that is fed by files says of itself, by its admin socket in the folder of those files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.netns.world import LIMIT


def bootstrap(folder: Path) -> dict[str, Any]:
    """The part of a bootstrap that has Envoy answer here."""
    return {"address": {"pipe": {"path": str(folder / "admin.sock")}}}


async def ask(folder: Path, path: str) -> str:
    """Envoy's own answer; empty while it does not listen."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(folder / "admin.sock"))
    except OSError:
        return ""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode()


async def taken(folder: Path, version: int, tables: Iterable[str]) -> None:
    """Wait until Envoy has this version of its clusters, its listeners and these route tables."""
    names = {"cluster_manager.cds.version_text", "listener_manager.lds.version_text"}
    names |= {f"rds.{name}.version_text" for name in tables}
    async with asyncio.timeout(LIMIT):
        while True:
            found = await ask(folder, "/stats?type=TextReadouts")
            lines = [line for line in found.splitlines() if line.endswith(f'"{version}"')]
            if all(any(name in line for line in lines) for name in names):
                return
            await asyncio.sleep(0.02)
