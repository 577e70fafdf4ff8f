"""How long after `apply` requests are treated as it says, in a mesh of 100 services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

NOTES = (
    "a client asks over one keep-alive connection every millisecond; the effect is the first answer that"
    " carries the header which the new route sets.",
    "two services are real containers; the others, 3 endpoints each, are reported for another node, in the"
    " same namespace: their routes are in the same table as the one that changes.",
    "`meshlite apply` has the start of its process in it; POST /v1/resources is what it then sends.",
)


def measure(options: Options) -> Part:
    with project("effect", PAIR) as pair, mesh(pair.name) as ours:
        ours.up()
        with crowd(ours):
            client = pair.container("client")
            prober = Prober(client.pid, client.resolve("server"), HTTP, "server")
            wait(lambda: (answer := prober.ask()) and answer.status == 200, "the server answers")
            api = [change(prober, n, lambda text: ours.apply(text)) for n in range(1, options.times(60, 5))]
            by_cli = [
                change(prober, n, lambda text: apply(ours, text))
                for n in range(1000, 1000 + options.times(10))
            ]
            prober.close()
    rows = tuple(
        (name, f"{median(taken):.0f}", f"{quantile(taken, 0.95):.0f}", str(len(taken)))
        for name, taken in (("POST /v1/resources", api), ("meshlite apply", by_cli))
    )
    return Part(
        "effect",
        TITLE,
        (Figure("apply to effect, p50", median(api), "ms", "at most", 100),),
        (Table(("changed by", "p50, ms", "p95, ms", "samples"), rows),),
        NOTES,
        {"api_ms": api, "cli_ms": by_cli},
    )


def apply(ours: Mesh, text: str) -> None:
    ours.run("apply", "-n", ours.project, "-f", "-", stdin=text)


def change(prober: Prober, number: int, act: Callable[[str], None]) -> float:
    """Milliseconds until the answer carries the number. Acts from a thread, as somebody else would."""
    time.sleep(0.1)
    began = time.perf_counter()
    with threading_out(act, route(number)):
        while (answer := prober.ask()) is None or answer.headers.get("x-bench") != str(number):
            if time.perf_counter() - began > 30:
                raise RuntimeError(f"change {number} has no effect within 30 s")
            time.sleep(0.001)
        return (time.perf_counter() - began) * 1000


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
