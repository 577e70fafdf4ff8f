"""Thirty containers started at once: what the mesh adds until the engine has started them all."""

from __future__ import annotations

import time
from typing import Any

from bench.compose import IMAGE, Project, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import Mesh, mesh, wait
from bench.samples import median, paired_ratio

TITLE = "Thirty containers started at once"
CONTAINERS = 30
IDLE: dict[str, Any] = {
    "image": IMAGE,
    "command": ["sleep", "infinity"],
    "init": True,
    "stop_grace_period": "1s",
    "labels": {"meshlite.ports": "http:9080"},
}
NOTES = (
    f"`docker compose up -d` of {CONTAINERS} new containers of one service, by turns past the runtime hook"
    " (`runtime: runc`) and through it, until it returns; then the hook has captured each. `all known`:"
    " until the agent lists them all as captured.",
)


def measure(options: Options) -> Part:
    alone: list[float] = []
    meshed: list[float] = []
    known: list[float] = []
    with (
        project("together-direct", {"app": {**IDLE, "runtime": "runc"}}) as plain,
        project("together-mesh", {"app": IDLE}) as ours,
        mesh(ours.name) as running,
    ):
        running.up()
        for _ in range(options.times(3, 1)):
            for one in (plain, ours):
                one.compose("up", "-d", "--scale", "app=0")
            alone.append(started(plain))
            began = time.perf_counter()
            meshed.append(started(ours))
            wait(lambda: captured(running) >= CONTAINERS, f"{CONTAINERS} captured containers", 120)
            known.append(time.perf_counter() - began)
    added = (paired_ratio(meshed, alone) - 1) * 100
    rows = (
        ("no mesh", f"{median(alone):.2f}", "–"),
        ("with the mesh", f"{median(meshed):.2f}", f"{median(known):.2f}"),
    )
    return Part(
        "together",
        TITLE,
        (Figure(f"{CONTAINERS} containers at once, added by the mesh", added, "%", "at most", 30),),
        (Table(("", "all started, s", "all known, s"), rows),),
        NOTES,
        {"alone_s": alone, "meshed_s": meshed, "known_s": known},
    )


def started(of: Project) -> float:
    """Seconds in which Compose starts all of a service of which there is none."""
    began = time.perf_counter()
    of.compose("up", "-d", "--scale", f"app={CONTAINERS}")
    return time.perf_counter() - began


def captured(running: Mesh) -> int:
    return sum(bool(one["captured"]) for one in running.status()["workloads"])
