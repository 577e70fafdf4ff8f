"""What the mesh takes while nothing happens, and how long `meshlite up` takes, with 20 workloads."""

from __future__ import annotations

import time

from bench.compose import CLIENT, SERVER, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import Mesh, mesh
from bench.processes import cpu_seconds, resident
from bench.samples import median

TITLE = "Start and footprint, 20 workloads"
SERVICES, REPLICAS = 10, 2
SETTLING_SECONDS = 20
NOTES = (
    "`meshlite up -d` on a machine where nothing of the mesh runs: server, agent and Envoy start, 20 running"
    " containers are captured, and it returns when all are.",
    f"memory and idle CPU are taken {SETTLING_SECONDS} s after `up`, idle CPU over 30 s without a request or"
    " a change; Envoy has as many workers as it ships with (one for each core, at most 4).",
)


def measure(options: Options) -> Part:
    servers = {f"server-{number}": SERVER for number in range(SERVICES - 1)}
    services = {"client": CLIENT, **servers}
    scale = [option for name in services for option in ("--scale", f"{name}={REPLICAS}")]
    with project("footprint", services, *scale) as containers, mesh(containers.name) as ours:
        ups = [up(ours) for _ in range(options.times(5) - 1)]
        last = start(ours)
        time.sleep(options.times(SETTLING_SECONDS, 5))
        pids = ours.pids()
        memory = {part: resident(pid) for part, pid in pids.items()}
        idle = idle_share(pids, options.times(30, 5))
    seconds = [*ups, last]
    rows = tuple((part, f"{memory[part]:.0f}", f"{idle[part] * 100:.2f}") for part in pids)
    head = ("part", "resident memory, MiB", "idle CPU, % of a core")
    figures = (
        Figure("meshlite up on a prepared machine", median(seconds), "s", "at most", 10),
        Figure("Envoy's memory", memory["Envoy"], "MiB", "at most", 100),
        Figure("agent's memory", memory["agent"], "MiB", "at most", 90),
        Figure("idle CPU of all parts", sum(idle.values()) * 100, "% of a core", "at most", 1),
    )
    samples = {"up_seconds": seconds, "memory_mib": memory, "idle_share": idle}
    return Part("footprint", TITLE, figures, (Table(head, rows),), NOTES, samples)


def up(ours: Mesh) -> float:
    """Seconds of a start that is taken back."""
    seconds = start(ours)
    ours.down()
    return seconds


def start(ours: Mesh) -> float:
    began = time.perf_counter()
    ours.up()
    return time.perf_counter() - began


def idle_share(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """How much of a core each part uses while nobody wants anything."""
    before = {part: cpu_seconds([pid]) for part, pid in pids.items()}
    began = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    return {part: (cpu_seconds([pid]) - before[part]) / took for part, pid in pids.items()}
