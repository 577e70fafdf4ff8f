"""How long the agent computes: from a snapshot of the mesh to Envoy's configuration."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.figures import Figure, Options, Part, Table
from bench.samples import median
from meshlite.agent.memory import collector_at_rest
from meshlite.model.documents import read
from meshlite.model.mesh import Resource, Service, Snapshot
from meshlite.model.names import fqdn, virtual_address
from meshlite.model.wire import ApplyRequest, Document
from meshlite.model.workload import Port, Workload
from meshlite.server.admission import admission
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.translate import Translator
from meshlite.translate.translation import Translation

TITLE = "Translation of a snapshot"
ENDPOINTS, LOCAL, NAMESPACE = 3, 20, "bench"
ENDPOINTS_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
NOTES = (
    f"3 endpoints for each service, {LOCAL} workloads of this node, every service with a VirtualService and a"
    " DestinationRule with two subsets; cold: the first translation of a process; the others follow one.",
    "the processor's time, not the clock's: translating waits for nothing. `apply` is the server's part of"
    " one changed route: whether it may be stored, against all that is.",
)


def measure(options: Options) -> Part:
    samples: dict[str, dict[str, list[float]]] = {}
    for services in (100, 1000):
        kinds: dict[str, list[float]] = {}
        for _ in range(options.times(5 if services > 100 else 15)):
            for kind, took in once(services).items():
                kinds.setdefault(kind, []).append(took)
        samples[str(services)] = kinds
    head = (
        "services",
        "cold, ms",
        "one route changed, ms",
        "one endpoint gone, ms",
        "unchanged, ms",
        "apply, ms",
    )
    rows = tuple(
        (services, *(f"{median(kinds[kind]):.1f}" for kind in ("cold", "route", "endpoint", "same", "apply")))
        for services, kinds in samples.items()
    )
    return Part("translation", TITLE, figures(samples["1000"]), (Table(head, rows),), NOTES, dict(samples))


def figures(kinds: dict[str, list[float]]) -> tuple[Figure, ...]:
    """What was promised for 1,000 services."""
    promised = (
        ("cold", "cold", 1500),
        ("route", "one route changed", 50),
        ("endpoint", "one endpoint gone", 50),
    )
    translated = (
        Figure(f"1,000 services translated, {name}", median(kinds[kind]), "ms", "at most", target)
        for kind, name, target in promised
    )
    beside = Figure("resources beside EDS that one endpoint changes", max(kinds["beside"]), "", "at most", 0)
    return (*translated, beside)


def once(services: int) -> dict[str, float]:
    """Milliseconds of each kind of translation."""
    mesh = Mesh.of(services)
    translator, view = Translator(), mesh.view
    first = mesh.snapshot
    route = first.model_copy(update={"resources": (*first.resources[:-1], virtual_service(services - 1, 7))})
    endpoint = first.model_copy(update={"workloads": first.workloads[:-1]})
    took = {
        "cold": timed(translator, first, view),
        "route": timed(translator, route, view),
        "again": timed(translator, first, view),
        "endpoint": timed(translator, endpoint, view),
        "same": timed(translator, endpoint, view),
    }
    beside = changed_beside_eds(translator.translate(endpoint, view), translator.translate(first, view))
    return {**took, "beside": float(beside), "apply": judged(first, route.resources[-1])}


def changed_beside_eds(one: Translation, other: Translation) -> int:
    """How many of Envoy's resources differ, those of endpoints apart. RuntimeError where none of these do."""
    changed = {
        kind: sum(found.get(name) != more.get(name) for name in found.keys() | more.keys())
        for kind, found in one.resources.items()
        for more in (other.resources[kind],)
    }
    if not changed.pop(ENDPOINTS_TYPE):
        raise RuntimeError("an endpoint has gone, and no resource of EDS has changed")
    return sum(changed.values())


def judged(snapshot: Snapshot, changed: Resource) -> float:
    """Milliseconds in which the server judges one changed route, once it has judged another."""
    admit, request = admission(), ApplyRequest(documents=(Document(resource=changed),))
    admit(request, snapshot)
    began = time.process_time()
    _, rejected = admit(request, snapshot)
    if rejected:
        raise RuntimeError(f"our own route is refused: {rejected[0].reason}")
    return (time.process_time() - began) * 1000


def timed(translator: Translator, snapshot: Snapshot, view: NodeView) -> float:
    """As the agent does it: the garbage collector rests meanwhile."""
    began = time.process_time()
    with collector_at_rest():
        translator.translate(snapshot, view)
    return (time.process_time() - began) * 1000


@dataclass(frozen=True)
class Mesh:
    snapshot: Snapshot
    view: NodeView

    @classmethod
    def of(cls, services: int) -> Mesh:
        taken: set[str] = set()
        named = []
        for number in range(services):
            address = virtual_address(fqdn(f"service-{number}", NAMESPACE), "240.240.0.0/16", taken)
            taken.add(address)
            named.append(Service(name=f"service-{number}", namespace=NAMESPACE, address=address))
        workloads = tuple(workload(number, place) for place in range(ENDPOINTS) for number in range(services))
        resources = [rule(number) for number in range(services)]
        resources += [virtual_service(number, 1) for number in range(services)]
        snapshot = Snapshot(services=tuple(named), workloads=workloads, resources=tuple(resources))
        attachments = tuple(attachment(place, one) for place, one in enumerate(workloads[:LOCAL]))
        elsewhere = {one.id: one.addresses[0] for one in workloads if one.node != "node"}
        return cls(snapshot, NodeView(name="node", attachments=attachments, host_workloads=elsewhere))


def workload(number: int, place: int) -> Workload:
    return Workload(
        id=f"w{number}-{place}",
        node="node" if place == 0 and number < LOCAL else "other",
        name=f"service-{number}-{place}",
        service=f"service-{number}",
        namespace=NAMESPACE,
        version=f"v{place % 2 + 1}",
        labels={"version": f"v{place % 2 + 1}"},
        ports=(Port(number=9080, protocol="http", origin="label"),),
        addresses=(f"10.{number // 250}.{number % 250}.{place + 1}",),
    )


def attachment(place: int, one: Workload) -> Attachment:
    link = f"169.254.1.{place + 1}"
    return Attachment(f"a{place}", f"/run/meshlite/netns/{one.id}", link, one.id, (one.id,), one.addresses)


def virtual_service(number: int, weight: int) -> Resource:
    return _resource(f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: service-{number}}}
spec:
  hosts: [service-{number}]
  http:
  - match: [{{headers: {{end-user: {{exact: jason}}}}}}]
    route: [{{destination: {{host: service-{number}, subset: v2}}}}]
  - route:
    - {{destination: {{host: service-{number}, subset: v1}}, weight: {100 - weight}}}
    - {{destination: {{host: service-{number}, subset: v2}}, weight: {weight}}}
""")


def rule(number: int) -> Resource:
    return _resource(f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: service-{number}}}
spec:
  host: service-{number}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
""")


def _resource(text: str) -> Resource:
    return read(text, namespace=NAMESPACE).documents[0].resource
