"""What `up` waits for: the engine answers, the node proxy works, and every container meant is captured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshlite.cli import engine as engines
from meshlite.cli.engine import Container
from meshlite.cli.failure import Failure
from meshlite.cli.lifecycle import wait_until
from meshlite.cli.output import note
from meshlite.cli.settings import agent_of
from meshlite.config import Settings

SECONDS = 30.0


@dataclass(frozen=True)
class Capture:
    """How far capture has come: containers undecided, and those outside with the reason."""

    waiting: tuple[str, ...] = ()
    outside: Mapping[str, str] = field(default_factory=dict)
    inside: int = 0


def capture_of(containers: Sequence[Container], workloads: Sequence[dict[str, Any]]) -> Capture:
    """Compare what runs with what the agent says of it."""
    known = {workload["id"][:12]: workload for workload in workloads}
    waiting, outside, inside = [], {}, 0
    for container in containers:
        workload = known.get(container.short_id, {})
        if workload.get("captured"):
            inside += 1
        elif workload.get("reason"):
            outside[container.name] = workload["reason"]
        else:
            waiting.append(container.name)
    return Capture(tuple(waiting), outside, inside)


def wait_for_engine(settings: Settings) -> str:
    """The engine's version. Raises Failure where none answers."""
    return str(engines.engine_of(settings.paths.docker_socket).get("/version")["Version"])


def wait_for_proxy(settings: Settings) -> str:
    """Wait until Envoy runs and has taken its configuration; says its version."""
    agent = agent_of(settings)
    proxy: dict[str, Any] = {}

    def ready() -> bool:
        proxy.update(agent.get("/v1/status")["proxy"])
        return proxy["state"] == "running" and bool(proxy["synced"])

    if wait_until(ready, SECONDS):
        return f"Envoy {proxy.get('version') or ''}".strip()
    why = (
        proxy.get("error") or f"{proxy['state']}, {'synchronised' if proxy['synced'] else 'not synchronised'}"
    )
    log = settings.paths.state / "log" / "envoy.log"
    raise Failure("the node proxy is not ready", where=str(log), why=why, next_step="meshlite proxy-status")


def wait_for_hook(settings: Settings) -> str:
    """Wait until the runtime's hook is in use, or the agent says why it is not; events then do its work."""
    agent = agent_of(settings)
    hook: dict[str, Any] = {}

    def decided() -> bool:
        hook.update(agent.get("/v1/status")["hook"])
        return bool(hook["installed"] or hook["reason"])

    if not wait_until(decided, SECONDS):
        raise Failure("the runtime's hook is not in use", next_step="meshlite up --no-hook does without it")
    return "containers start captured" if hook["installed"] else f"by events: {hook['reason']}"


def wait_for_capture(settings: Settings, projects: Collection[str], everything: bool) -> str:
    """Wait until each container that should be in the mesh is captured, or the agent says why it is not."""
    agent, engine = agent_of(settings), engines.engine_of(settings.paths.docker_socket)
    capture = Capture()

    def settled() -> bool:
        nonlocal capture
        status = agent.get("/v1/status")
        capture = capture_of(
            engines.meant(engines.running(engine), projects, everything), status["workloads"]
        )
        return not capture.waiting and bool(status["proxy"]["synced"])

    if not wait_until(settled, SECONDS, pause=0.1):
        names = ", ".join(capture.waiting)
        why = f"still waiting for: {names}" if names else "the node proxy has not taken its configuration"
        raise Failure("not all containers are in the mesh", why=why, next_step="meshlite status")
    for name, reason in capture.outside.items():
        note(f"  {name} stays outside: {reason}")
    return f"{capture.inside} in the mesh"
