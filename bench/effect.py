"""How long after `apply` requests are treated as it says, in a mesh of 100 services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from bench.compose import HTTP, PAIR, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import Mesh, mesh, wait
from bench.prober import Prober
from bench.samples import median, quantile
from meshlite.model.wire import Report
from meshlite.model.workload import Port, Workload

TITLE = "From apply to effect, 100 services"
SERVICES, ENDPOINTS = 100, 3
NODE = "elsewhere"
HEAD = ("changed by", "effect, p50, ms", "p95, ms", "done, p50, ms", "p95, ms", "samples")

NOTES = (
    "a client asks over one keep-alive connection every millisecond; the effect is the first answer that"
    " carries the header which the new route sets.",
    "two services are real containers; the others, 3 endpoints each, are reported for another node, in the"
    " same namespace: their routes are in the same table as the one that changes.",
    "`meshlite apply` has the start of its process in it; POST /v1/resources is what it then sends. `done`:"
    " the answer of the server, or the end of the command.",
)


def measure(options: Options) -> Part:
    with project("effect", PAIR) as pair, mesh(pair.name) as ours:
        ours.up()
        with crowd(ours):
            client = pair.container("client")
            prober = Prober(client.pid, client.resolve("server"), HTTP, "server")
            wait(lambda: (answer := prober.ask()) and answer.status == 200, "the server answers")
            api = [change(prober, n, ours.apply) for n in range(1, 1 + options.times(60, 5))]
            by_cli = [
                change(prober, n, lambda text: apply(ours, text))
                for n in range(1000, 1000 + options.times(20))
            ]
            prober.close()
    return Part(
        "effect",
        TITLE,
        figures(api, by_cli),
        (Table(HEAD, (row("POST /v1/resources", api), row("meshlite apply", by_cli))),),
        NOTES,
        {"api": [asdict(one) for one in api], "cli": [asdict(one) for one in by_cli]},
    )


@dataclass(frozen=True)
class Sample:
    """Milliseconds from the beginning until the effect, and until who applied it was done."""

    effect: float
    done: float


def figures(api: list[Sample], by_cli: list[Sample]) -> tuple[Figure, ...]:
    """`apply` is promised from what reaches the server; the command has the start of Python before that."""
    effect, done = (
        Figure("apply to effect, p50", median([one.effect for one in api]), "ms", "at most", 100),
        Figure(
            "meshlite apply, the whole command, p50",
            median([one.done for one in by_cli]),
            "ms",
            "at most",
            200,
        ),
    )
    return effect, done


def row(name: str, samples: list[Sample]) -> tuple[str, ...]:
    effect, done = [one.effect for one in samples], [one.done for one in samples]
    numbers = (median(effect), quantile(effect, 0.95), median(done), quantile(done, 0.95))
    return (name, *(f"{number:.0f}" for number in numbers), str(len(samples)))


def apply(ours: Mesh, text: str) -> None:
    ours.run("apply", "-n", ours.project, "-f", "-", stdin=text)


def change(prober: Prober, number: int, act: Callable[[str], None]) -> Sample:
    """Until the answer carries the number. Acts from a thread, as somebody else would."""
    time.sleep(0.1)
    done: list[float] = []
    began = time.perf_counter()

    def acting(text: str) -> None:
        act(text)
        done.append((time.perf_counter() - began) * 1000)

    with threading_out(acting, route(number)):
        while (answer := prober.ask()) is None or answer.headers.get("x-bench") != str(number):
            if time.perf_counter() - began > 30:
                raise RuntimeError(f"change {number} has no effect within 30 s")
            time.sleep(0.001)
        effect = (time.perf_counter() - began) * 1000
    if not done:
        raise RuntimeError(f"change {number} was not applied")
    return Sample(effect, done[0])


@contextmanager
def threading_out(act: Callable[[str], None], text: str) -> Iterator[None]:
    thread = threading.Thread(target=act, args=(text,))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def route(number: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: server}}
spec:
  hosts: [server]
  http:
  - headers: {{response: {{set: {{x-bench: "{number}"}}}}}}
    route: [{{destination: {{host: server}}}}]
"""


@contextmanager
def crowd(ours: Mesh) -> Iterator[None]:
    """The other services, reported again and again as an agent would, so that their lease holds."""
    report = Report(workloads=tuple(workloads(ours.project))).model_dump(mode="json")
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(3.0):
            ours.server.call("PUT", f"/v1/nodes/{NODE}/workloads", report)

    def count() -> int:
        return len(ours.server.get("/v1/services")["services"])

    ours.server.call("PUT", f"/v1/nodes/{NODE}/projects", {"projects": [ours.project]})
    ours.server.call("PUT", f"/v1/nodes/{NODE}/workloads", report)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        wait(lambda: count() >= SERVICES, f"{SERVICES} services")
        time.sleep(2.0)
        yield
    finally:
        ended.set()
        thread.join()


def workloads(namespace: str) -> Iterator[Workload]:
    for service in range(SERVICES - len(PAIR)):
        for endpoint in range(ENDPOINTS):
            yield Workload(
                id=f"bench-{service}-{endpoint}",
                node=NODE,
                name=f"service-{service}-{endpoint}",
                service=f"service-{service}",
                namespace=namespace,
                version=f"v{endpoint}",
                ports=(Port(number=HTTP, protocol="http", origin="label"),),
                addresses=(f"198.18.{service}.{endpoint + 1}",),
            )
