"""How long after the engine's `start` event a container serves requests that come through the mesh."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import docker

from bench.compose import HTTP, PAIR, Container, container, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import mesh
from bench.prober import Prober
from bench.samples import median, quantile

TITLE = "From container start to routable"
NOTES = (
    "a client that waits asks every 2 ms; time runs from the engine's `start` event to its first answer with"
    " status 200. Some of it is nginx's own: the first row is nginx without a mesh, asked on its own loopback"
    " once the engine has answered.",
    "`docker start` is the whole request to the engine; with a mesh it has the runtime hook in it: the"
    " container was made while the mesh was up.",
)


def measure(options: Options) -> Part:
    alone: list[Sample] = []
    meshed: list[Sample] = []
    with (
        project("direct", PAIR) as plain,
        project("mesh", PAIR) as captured,
        mesh(captured.name) as ours,
        starts() as events,
    ):
        ours.up()
        # Made anew, since a container keeps the runtime that it was made with, and only now is it the hook's.
        captured.compose("up", "-d", "--force-recreate", "--no-deps", "server")
        caller = captured.container("client")
        prober = Prober(caller.pid, caller.resolve("server"), HTTP, "server")
        for _ in range(options.times(15)):
            alone.append(restart(plain.container("server"), events, None))
            meshed.append(restart(captured.container("server"), events, prober))
    reached = median([sample.reached for sample in meshed])
    figure = Figure("container start to routable, p50", reached, "ms", "at most", 150)
    head = ("", "start to first 200, p50, ms", "p95, ms", "docker start, p50, ms", "samples")
    rows = (row("nginx alone, no mesh", alone), row("through the mesh", meshed))
    samples = {"alone": [asdict(one) for one in alone], "meshed": [asdict(one) for one in meshed]}
    return Part("routable", TITLE, (figure,), (Table(head, rows),), NOTES, samples)


@dataclass(frozen=True)
class Sample:
    """Milliseconds: from the engine's event to the first 200, and for the engine's answer to `start`."""

    reached: float
    start: float


def row(name: str, samples: list[Sample]) -> tuple[str, ...]:
    reached = [sample.reached for sample in samples]
    numbers = (median(reached), quantile(reached, 0.95), median([sample.start for sample in samples]))
    return (name, *(f"{number:.0f}" for number in numbers), str(len(samples)))


def restart(server: Container, events: queue.Queue[tuple[str, int]], waiting: Prober | None) -> Sample:
    """Kill and start the server. Where no client waits, the server is asked on its own loopback.

    From outside and without a mesh, the kernel's neighbour discovery alone takes up to a second.
    """
    engine = docker.from_env()
    engine.api.kill(server.id)
    engine.api.wait(server.id)
    time.sleep(1.0)
    while not events.empty():
        events.get()
    with ThreadPoolExecutor(1) as executor:
        answered = executor.submit(start, engine, server.id)
        if waiting is None:
            answered.result()
            waiting = Prober(container(server.id).pid, "127.0.0.1", HTTP, "server")
        served = first_answer(waiting)
        took = answered.result()
    engine.close()
    return Sample((served - started(server.id, events)) / 1e6, took)


def start(engine: docker.DockerClient, id: str) -> float:
    """Milliseconds until the engine says that it is done."""
    began = time.perf_counter()
    engine.api.start(id)
    return (time.perf_counter() - began) * 1000


def first_answer(prober: Prober) -> int:
    """When the first 200 came, in nanoseconds since 1970."""
    deadline = time.monotonic() + 30
    try:
        while (answer := prober.ask()) is None or answer.status != 200:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not routable within 30 s, last answer: {answer}")
            time.sleep(0.002)
        return time.time_ns()
    finally:
        prober.close()


def started(id: str, events: queue.Queue[tuple[str, int]]) -> int:
    """When the engine said that the container has started, in nanoseconds since 1970."""
    while True:
        who, when = events.get(timeout=10)
        if who == id:
            return when


@contextmanager
def starts() -> Iterator[queue.Queue[tuple[str, int]]]:
    """The engine's start events as they come: container id, nanoseconds since 1970."""
    engine = docker.from_env()
    stream = engine.api.events(decode=True, filters={"type": "container", "event": "start"})
    heard: queue.Queue[tuple[str, int]] = queue.Queue()

    def listen() -> None:
        for event in stream:
            heard.put((event["Actor"]["ID"], event["timeNano"]))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stream.close()
        engine.close()
