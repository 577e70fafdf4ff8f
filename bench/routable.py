"""How long after the engine's `start` event a container serves requests that come through the mesh."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker

from bench.compose import HTTP, PAIR, Container, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import mesh
from bench.prober import Prober
from bench.samples import median, quantile

TITLE = "From container start to routable"
NOTES = (
    "a waiting client asks every 2 ms, over and over; time runs from the engine's `start` event to the first"
    " answer with status 200. nginx needs some of it itself: that is the row without a mesh.",
    "`docker start` is the whole request to the engine; with a mesh it has the runtime hook in it.",
)


def measure(options: Options) -> Part:
    taken: dict[str, list[tuple[float, float]]] = {"no mesh": [], "meshlite": []}
    with (
        project("direct", PAIR) as plain,
        project("mesh", PAIR) as captured,
        mesh(captured.name) as ours,
        starts() as events,
    ):
        ours.up()
        client = captured.container("client")
        ways = {
            "no mesh": (
                plain.container("client"),
                plain.container("server"),
                plain.container("server").address,
            ),
            "meshlite": (client, captured.container("server"), client.resolve("server")),
        }
        for _ in range(options.times(15)):
            for name, (caller, server, address) in ways.items():
                taken[name].append(restart(caller, server, address, events))
    reached = {name: [sample[0] for sample in samples] for name, samples in taken.items()}
    rows = tuple(
        (
            name,
            f"{median(reached[name]):.0f}",
            f"{quantile(reached[name], 0.95):.0f}",
            f"{median([sample[1] for sample in samples]):.0f}",
            str(len(samples)),
        )
        for name, samples in taken.items()
    )
    head = ("", "start to first 200, p50, ms", "p95, ms", "docker start, p50, ms", "samples")
    figure = Figure("container start to routable, p50", median(reached["meshlite"]), "ms", "at most", 150)
    return Part("routable", TITLE, (figure,), (Table(head, rows),), NOTES, {"ms": taken})


def restart(
    caller: Container, server: Container, address: str, events: queue.Queue[tuple[str, int]]
) -> tuple[float, float]:
    """Milliseconds from the event to the first 200, and that the engine's start took."""
    engine = docker.from_env()
    engine.api.kill(server.id)
    engine.api.wait(server.id)
    time.sleep(1.0)
    while not events.empty():
        events.get()
    # A short patience: a SYN to an address that nobody has yet is repeated only after a second.
    prober = Prober(caller.pid, address, HTTP, "server", timeout=0.02)
    took: list[float] = []

    def start() -> None:
        began = time.perf_counter()
        engine.api.start(server.id)
        took.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=start)
    thread.start()
    served = first_answer(prober)
    thread.join()
    engine.close()
    return (served - started(server.id, events)) / 1e6, took[0]


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
