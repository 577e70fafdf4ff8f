"""One hop between two containers of a host: no mesh, meshlite, and two sidecars take turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from bench import namespace, wrk
from bench.compose import HTTP, PAIR, STREAM, TCP, Container, project
from bench.figures import Figure, Options, Part, Table
from bench.mesh import mesh
from bench.processes import cpu_seconds
from bench.samples import median, paired_ratio
from bench.sidecar_pair import sidecar_pair

TITLE = "One hop on one host"
DIRECT, MESHLITE, SIDECARS, PLAIN = "no mesh", "meshlite", "two sidecars", "two sidecars, mutual TLS only"

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: client-only}
spec:
  action: ALLOW
  rules: [{from: [{source: {principals: [PRINCIPAL]}}]}]
"""
"""What the two sidecars do, too: no strangers, and the client alone may call."""

NOTES = (
    "client: wrk, one thread; server: nginx, one worker; every Envoy: the same binary, one worker; clients"
    " and servers in containers on Docker bridges of one machine, so all share its cores. The paths take"
    " turns, again and again; every number is a median, every ratio the median of ratios within one turn.",
    "meshlite: the product as it is, `meshlite up` and STRICT: captured by its rules, routed by host, with"
    " retries, source identity, telemetry, and an AuthorizationPolicy by which only the client may call.",
    "two sidecars: Istio's shape, redirection on both sides, mutual TLS (TLS 1.3, ECDSA P-256), retries, RBAC"
    " at the server, no telemetry at all (Istio's own has it). The last row leaves RBAC out, too: what it"
    " gains over the row before is what RBAC costs.",
    "a ratio is the median of the ratios of each turn, so on a noisy machine it is not that of two medians.",
)


@dataclass(frozen=True)
class Load:
    name: str
    port: int
    path: str
    connections: int

    @property
    def stream(self) -> bool:
        return self.path == STREAM


LOADS = (
    Load("HTTP/1.1, 32 connections", HTTP, "/", 32),
    Load("HTTP/1.1, 1 connection", HTTP, "/", 1),
    Load("TCP, requests on 32 connections", TCP, "/", 32),
    Load("TCP, a stream on 4 connections", TCP, STREAM, 4),
)


@dataclass(frozen=True)
class Path:
    """A way from client to server (by its name in the mesh), and the Envoys on it."""

    name: str
    client: Container
    address: str
    envoys: tuple[int, ...] = ()
    host: str = "server"


@dataclass(frozen=True)
class Sample:
    """`cost`: microseconds of all Envoys' CPU for each request, or milliseconds for each GiB of a stream."""

    rate: float
    p50: float
    cost: float


Samples = dict[str, list[Sample]]


def measure(options: Options) -> Part:
    results: dict[str, Samples] = {}
    with paths() as ways:
        for load in LOADS:
            results[load.name] = in_turn(ways, load, options)
    return Part(
        "hop",
        TITLE,
        figures(results),
        tuple(table(load, results[load.name]) for load in LOADS),
        NOTES,
        {
            load: {path: [asdict(s) for s in taken] for path, taken in r.items()}
            for load, r in results.items()
        },
    )


@contextmanager
def paths() -> Iterator[list[Path]]:
    """All four, ready to be measured."""
    with ExitStack() as stack:
        pair = {
            name: stack.enter_context(project(name, PAIR)) for name in ("direct", "mesh", "sidecars", "plain")
        }
        clients = {name: made.container("client") for name, made in pair.items()}
        servers = {name: made.container("server") for name, made in pair.items()}
        ours = stack.enter_context(mesh(pair["mesh"].name, proxy_concurrency="1"))
        ours.up()
        ours.apply(only_client(ours.project))
        made = [
            Path(DIRECT, clients["direct"], servers["direct"].address),
            Path(MESHLITE, clients["mesh"], clients["mesh"].resolve("server"), (ours.pids()["Envoy"],)),
        ]
        for name, kind, rbac in (("sidecars", SIDECARS, True), ("plain", PLAIN, False)):
            envoys = stack.enter_context(sidecar_pair(clients[name], servers[name], rbac))
            made.append(Path(kind, clients[name], servers[name].address, envoys))
        yield made


def only_client(namespace: str) -> str:
    return STRICT.replace("PRINCIPAL", f"cluster.local/ns/{namespace}/sa/client")


def in_turn(ways: Sequence[Path], load: Load, options: Options) -> Samples:
    """Each path once in every round; who begins changes, so that nobody always follows the same."""
    samples: Samples = {way.name: [] for way in ways}
    for way in ways:
        once(way, load, 1)
    for round in range(options.times(7)):
        first = round % len(ways)
        for way in (*ways[first:], *ways[:first]):
            samples[way.name].append(once(way, load, options.times(2, 1)))
    return samples


def once(way: Path, load: Load, seconds: float) -> Sample:
    """RuntimeError where requests failed, or did not pass the Envoys that they should have passed."""
    url = f"http://{way.address}:{load.port}{load.path}"
    before = cpu_seconds(way.envoys)
    measured = wrk.parse(
        namespace.run(way.client.pid, wrk.command(url, f"{way.host}:{HTTP}", load.connections, seconds))
    )
    spent = cpu_seconds(way.envoys) - before
    if measured.failed:
        raise RuntimeError(f"{way.name}, {load.name}: {measured.failed}")
    if way.envoys and not spent:
        raise RuntimeError(f"{way.name}, {load.name}: no request came through Envoy")
    if load.stream:
        mebibytes = measured.bytes_per_second / 2**20
        return Sample(mebibytes, measured.p50, spent * 1e3 / (measured.requests / 1024))
    return Sample(measured.requests_per_second, measured.p50, spent * 1e6 / measured.requests)


def table(load: Load, samples: Samples) -> Table:
    rate, cost = (
        ("MiB/s", "Envoys' CPU, ms/GiB") if load.stream else ("requests/s", "Envoys' CPU, µs/request")
    )
    head = (load.name, rate, "p50, µs", "added p50, µs", cost, "rate ÷ two sidecars", "CPU ÷ two sidecars")
    direct = median([sample.p50 for sample in samples[DIRECT]])
    rows = []
    for name, taken in samples.items():
        p50 = median([sample.p50 for sample in taken])
        proxied = name != DIRECT
        rows.append(
            (
                name,
                f"{median([sample.rate for sample in taken]):,.0f}",
                f"{p50:,.0f}",
                f"{p50 - direct:,.0f}" if proxied else "–",
                f"{median([sample.cost for sample in taken]):,.1f}" if proxied else "–",
                f"{ratio(samples, name, 'rate'):.2f}",
                f"{ratio(samples, name, 'cost'):.2f}" if proxied else "–",
            )
        )
    return Table(head, tuple(rows))


def ratio(samples: Samples, name: str, field: str) -> float:
    """Of one path to the two sidecars."""
    return paired_ratio(
        [getattr(sample, field) for sample in samples[name]],
        [getattr(sample, field) for sample in samples[SIDECARS]],
    )


def figures(results: dict[str, Samples]) -> tuple[Figure, ...]:
    made = []
    for load in LOADS:
        samples = results[load.name]
        unit = "× two sidecars'"
        made += [
            Figure(f"{load.name}: rate", ratio(samples, MESHLITE, "rate"), unit, "at least", 1.6),
            Figure(f"{load.name}: CPU", ratio(samples, MESHLITE, "cost"), unit, "at most", 0.5),
        ]
    return tuple(made)
