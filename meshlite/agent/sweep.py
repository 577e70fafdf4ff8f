"""Takes back all that an agent did to its host, also when no agent runs any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from meshlite.agent import capture, hook, launch_plan, proxy
from meshlite.config import Settings
from meshlite.sources.engine import Engine


def leftovers(settings: Settings) -> list[str]:
    """Sentences on everything of ours that is on the host, in use or forgotten. Changes nothing."""
    plan = launch_plan.plan_of(settings)
    found = [f"node proxy, process {process.pid}" for process in proxy.Record.read(plan.record).processes]
    found += asyncio.run(capture.look(settings)).sentences()
    return found


@dataclass(frozen=True)
class Swept:
    """Sentences on what was removed, and on what had to stay. `entered`: why the engine still names us."""

    removed: tuple[str, ...]
    stays: tuple[str, ...]
    entered: str = ""


def sweep(settings: Settings) -> Swept:
    """Remove everything, in the order that breaks least."""
    return asyncio.run(swept(settings))


async def swept(settings: Settings) -> Swept:
    stays: list[str] = []
    entered = ""
    try:
        stays = await hook.uninstall(settings, Engine(settings.paths.docker_socket))
    except (OSError, hook.NotLeft) as error:
        entered = f"the engine's configuration stays: {error}"
    removed = [*(await capture.sweep(settings)).sentences()]
    removed += await asyncio.to_thread(proxy.remove, launch_plan.plan_of(settings))
    for socket in (settings.paths.hook_socket, settings.paths.agent_socket):
        socket.unlink(missing_ok=True)
    return Swept(tuple(removed), tuple(stays), entered)
