"""Nodes, leases, services and the snapshot that comes of them; with a clock that goes on when told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlite.model import documents
from meshlite.model.mesh import Snapshot
from meshlite.model.wire import ApplyRequest, Document, JoinRequest, Projects, TokenRequest
from meshlite.server.call import Parts
from meshlite.server.records import RESOURCES
from meshlite.server.refusal import Refusal
from meshlite.server.registry import Registry
from meshlite.server.store import Change, Entry, Store, Unavailable
from meshlite.server.store.memory import MemoryStore
from meshlite.server.store.sqlite import open_sqlite
from tests.model.external import entry
from tests.server.conftest import FakeTime, make_csr, parts_over, report, workload

LINGER = 600.0


@pytest.fixture
async def registry(parts: Parts) -> Registry:
    await parts.registry.set_projects("web-1", Projects(projects=("shop",)))
    await parts.registry.set_projects("web-2", Projects())
    return parts.registry


def services(snapshot: Snapshot) -> list[str]:
    return [service.name for service in snapshot.services]


def names(snapshot: Snapshot) -> list[str]:
    return [workload.name for workload in snapshot.workloads]


async def test_a_report_is_in_the_snapshot_with_services_and_addresses(registry: Registry) -> None:
    lease = await registry.report("web-1", report(workload("reviews"), workload("ratings")))
    snapshot = registry.snapshots.value
    assert lease.snapshot == snapshot.version
    assert names(snapshot) == ["ratings", "reviews"]
    assert set(snapshot.services_by_fqdn) == {
        "ratings.shop.svc.cluster.local",
        "reviews.shop.svc.cluster.local",
    }
    addresses = {service.address for service in snapshot.services}
    assert len(addresses) == 2
    assert all(address.startswith("240.240.") for address in addresses)


async def test_an_equal_report_changes_no_version(registry: Registry) -> None:
    both = (workload("reviews"), workload("ratings"))
    first = await registry.report("web-1", report(*both))
    again = await registry.report("web-1", report(*reversed(both)))
    assert again.snapshot == first.snapshot


async def test_a_report_is_the_full_set(registry: Registry) -> None:
    await registry.report("web-1", report(workload("reviews"), workload("ratings")))
    await registry.report("web-2", report(workload("details", node="web-2")))
    await registry.report("web-1", report(workload("ratings")))
    assert names(registry.snapshots.value) == ["details", "ratings"]


async def test_a_silent_node_is_withdrawn_after_its_lease_and_comes_back(
    registry: Registry, time: FakeTime
) -> None:
    await registry.report("web-1", report(workload("reviews")))
    await registry.report("web-2", report(workload("ratings", node="web-2")))
    before = registry.snapshots.value.version
    time.passes(9.9)
    await registry.report("web-2", report(workload("ratings", node="web-2")))
    await registry.expire()
    assert registry.snapshots.value.version == before
    time.passes(0.2)
    await registry.expire()
    assert names(registry.snapshots.value) == ["ratings"]
    assert [(node.record.name, node.alive) for node in registry.nodes()] == [
        ("web-1", False),
        ("web-2", True),
    ]
    lease = await registry.report("web-1", report(workload("reviews")))
    assert lease.snapshot == before


async def test_time_in_which_the_server_was_stopped_is_not_held_against_nodes(
    registry: Registry, time: FakeTime
) -> None:
    await registry.report("web-1", report(workload("reviews")))
    time.passes(60)
    registry.forgive(60)
    await registry.expire()
    assert names(registry.snapshots.value) == ["reviews"]


async def test_a_restart_publishes_the_same_snapshot_and_gives_a_full_lease(
    tmp_path: Path, time: FakeTime
) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    registry = (await parts_over(store, tmp_path, time)).registry
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    await registry.report(
        "web-1", report(workload("reviews", labels={"b": "1", "a": "2"}), workload("ratings"))
    )
    time.passes(9)
    before = registry.snapshots.value
    await store.close()
    store = await open_sqlite(tmp_path / "state.db")
    registry = (await parts_over(store, tmp_path, time)).registry
    assert registry.snapshots.value == before
    time.passes(9)
    await registry.expire()
    assert registry.snapshots.value == before
    time.passes(2)
    await registry.expire()
    assert names(registry.snapshots.value) == []
    gone = registry.snapshots.value
    await store.close()
    store = await open_sqlite(tmp_path / "state.db")
    assert (await parts_over(store, tmp_path, time)).registry.snapshots.value == gone
    await store.close()


async def test_a_service_of_a_meshed_project_outlives_a_restart_of_its_replicas_and_goes_when_they_do(
    registry: Registry, time: FakeTime
) -> None:
    await registry.report("web-1", report(workload("reviews")))
    service = registry.snapshots.value.services[0]
    await registry.report("web-1", report())
    await registry.expire()
    time.passes(LINGER - 1)
    await registry.expire()
    assert registry.snapshots.value.services == (service,)
    await registry.report("web-1", report(workload("reviews")))
    await registry.expire()
    time.passes(LINGER)
    await registry.report("web-1", report())
    await registry.expire()
    assert registry.snapshots.value.services == (service,), "it was there meanwhile"
    time.passes(LINGER)
    await registry.report("web-1", report())
    await registry.expire()
    assert registry.snapshots.value.services == ()
    await registry.report("web-1", report(workload("reviews")))
    assert registry.snapshots.value.services == (service,), "its address is its own"


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("kind: DestinationRule, spec: {host: reviews}", True),
        ("kind: DestinationRule, spec: {host: '*.shop.svc.cluster.local'}", False),
        ("kind: VirtualService, spec: {hosts: [x], http: [{route: [{destination: {host: reviews}}]}]}", True),
        ("kind: Sidecar, spec: {egress: [{hosts: ['./reviews.shop.svc.cluster.local']}]}", False),
    ],
)
async def test_a_service_that_a_resource_names_is_waited_for(
    parts: Parts, time: FakeTime, text: str, stays: bool
) -> None:
    registry = parts.registry
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    await registry.report("web-1", report(workload("reviews")))
    yaml = f"{{apiVersion: networking.istio.io/v1, metadata: {{name: r}}, {text}}}"
    request = ApplyRequest(
        documents=documents.read(yaml, namespace="shop").documents, allow_missing_hosts=True
    )
    assert (await parts.resources.apply(request, "me", guarded=False)).rejected == ()
    await registry.report("web-1", report())
    await registry.expire()
    time.passes(2 * LINGER)
    await registry.report("web-1", report())
    await registry.expire()
    assert bool(registry.snapshots.value.services) is stays


async def test_a_service_of_no_project_lingers_and_has_its_old_address_when_it_comes_back(
    registry: Registry, time: FakeTime
) -> None:
    await registry.report("web-1", report(workload("reviews", namespace="other")))
    service = registry.snapshots.value.services[0]
    await registry.report("web-1", report())
    await registry.expire()
    time.passes(LINGER - 1)
    await registry.expire()
    assert registry.snapshots.value.services == (service,)
    time.passes(2)
    await registry.expire()
    assert registry.snapshots.value.services == ()
    await registry.report("web-1", report(workload("reviews", namespace="other")))
    assert registry.snapshots.value.services == (service,)


async def test_services_of_a_project_that_has_left_go_with_their_last_workload(registry: Registry) -> None:
    await registry.set_projects("web-1", Projects(projects=("shop", "other")))
    await registry.report("web-1", report(workload("reviews"), workload("cart", namespace="other")))
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    assert services(registry.snapshots.value) == ["cart", "reviews"], "it still runs"
    await registry.report("web-1", report(workload("reviews")))
    await registry.expire()
    assert services(registry.snapshots.value) == ["reviews"]
    await registry.report("web-1", report())
    await registry.set_projects("web-1", Projects(projects=()))
    assert services(registry.snapshots.value) == [], "the last one goes at once"


async def test_a_restarting_service_does_not_use_up_its_lingering(registry: Registry, time: FakeTime) -> None:
    for _ in range(3):
        await registry.report("web-1", report(workload("reviews", namespace="other")))
        await registry.expire()
        await registry.report("web-1", report())
        await registry.expire()
        time.passes(LINGER / 2)
        await registry.expire()
        assert len(registry.snapshots.value.services) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (workload("bad", node="web-9"), "runs on web-9"),
        (workload("bad", namespace="a.b"), "namespace 'a.b'"),
        (workload("bad", namespace=""), "namespace ''"),
        (workload("bad", service="../x"), "service '../x'"),
        (workload("bad", service_account="a/b"), "service account 'a/b'"),
        (workload("good"), "twice"),
        (workload("other", node="web-1"), "on another node"),
    ],
)
async def test_a_bad_workload_is_left_out_and_the_rest_counts(
    registry: Registry, bad: object, reason: str
) -> None:
    await registry.report("web-2", report(workload("other", node="web-2")))
    lease = await registry.report("web-1", report(workload("good"), bad))  # type: ignore[arg-type]
    assert names(registry.snapshots.value) == ["good", "other"]
    assert len(lease.refused) == 1
    assert reason in lease.refused[0].reason


async def test_istios_root_namespace_is_ours(registry: Registry) -> None:
    await registry.report("web-1", report(workload("gateway", namespace="istio-system")))
    assert registry.snapshots.value.workloads[0].namespace == "meshlite-system"


async def test_a_full_network_leaves_out_what_has_no_address(tmp_path: Path, time: FakeTime) -> None:
    registry = (await parts_over(MemoryStore(), tmp_path, time, virtual_network="240.0.0.0/22")).registry
    await registry.set_projects("web-1", Projects())
    lease = await registry.report("web-1", report(*(workload(f"s{number}") for number in range(1023))))
    assert len(registry.snapshots.value.workloads) == 1022
    assert [problem.reason for problem in lease.refused] == ["no free virtual address left in 240.0.0.0/22"]


async def test_a_removed_node_is_forgotten(registry: Registry) -> None:
    await registry.report("web-1", report(workload("reviews")))
    await registry.remove("web-1")
    assert names(registry.snapshots.value) == []
    assert [node.record.name for node in registry.nodes()] == ["web-2"]
    with pytest.raises(Refusal, match="no node web-1"):
        await registry.report("web-1", report())


class BrokenStore(MemoryStore):
    """A store whose disk can be full."""

    full = False

    async def commit(self, changes: object) -> int:
        if self.full:
            raise Unavailable("the disk is full")
        return await super().commit(changes)  # type: ignore[arg-type]


async def test_a_full_disk_keeps_the_last_good_state(tmp_path: Path, time: FakeTime) -> None:
    store = BrokenStore()
    registry = (await parts_over(store, tmp_path, time)).registry
    await registry.set_projects("web-1", Projects())
    await registry.set_projects("web-2", Projects())
    await registry.report("web-1", report(workload("reviews")))
    await registry.report("web-2", report(workload("ratings", node="web-2")))
    good = registry.snapshots.value
    store.full = True
    time.passes(9)
    with pytest.raises(Unavailable):
        await registry.report("web-1", report(workload("reviews"), workload("more")))
    assert registry.snapshots.value == good
    time.passes(9)
    await registry.expire()
    assert names(registry.snapshots.value) == ["reviews"], "it spoke, so its lease holds; web-2 was silent"
    store.full = False
    await registry.expire()
    assert await store.get("workloads/web-2") is None


async def test_another_writer_is_noticed_and_his_state_taken_over(tmp_path: Path, time: FakeTime) -> None:
    store: Store = MemoryStore()
    one, two = [(await parts_over(store, tmp_path, time)).registry for _ in range(2)]
    await one.set_projects("web-1", Projects(projects=("shop",)))
    with pytest.raises(Exception, match="by somebody else"):
        await two.set_projects("web-1", Projects(everything=True))
    record = await two.set_projects("web-1", Projects(everything=True))
    assert record.everything
    assert isinstance(await store.get("nodes/web-1"), Entry)


@pytest.mark.parametrize("table", ["nodes", "workloads", "services", "resources", "access"])
async def test_a_record_that_cannot_be_read_is_set_aside_and_said_and_the_rest_counts(
    table: str, tmp_path: Path, time: FakeTime
) -> None:
    store = MemoryStore()
    registry = await again(store, tmp_path, time)
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    await registry.report("web-1", report(workload("reviews")))
    before = registry.snapshots.value
    await store.commit([Change(f"{table}/odd", b'{"colour": "red"')])
    made = await parts_over(store, tmp_path, time)
    assert made.registry.snapshots.value == before
    (problem,) = made.condition.problems
    assert problem.resource == f"{table}/odd"
    assert "cannot be read" in problem.reason
    assert f"{table}/odd" in [event.subject for event in made.events.latest(100)]


async def test_a_resource_that_cannot_be_read_is_replaced_or_deleted_like_any_other(
    tmp_path: Path, time: FakeTime
) -> None:
    store = await declaring("a.example.com", "b.example.com", "c.example.com")
    keys = [entry.key.removeprefix(RESOURCES.prefix) for entry in await store.scan(RESOURCES.prefix)]
    odd = [Change(RESOURCES.key(key), b"odd") for key in keys[:2]]
    await store.commit([*odd, Change("counters/sequence", b"odd")])
    parts = await parts_over(store, tmp_path, time)
    assert [resource.key for resource in parts.resources.select()] == keys[2:]
    await parts.resources.delete(keys[0], "me")
    spec = "hosts: [b.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC"
    request = ApplyRequest(documents=(Document(resource=entry(spec, name="b.example.com")),))
    answer = await parts.resources.apply(request, "me", guarded=False)
    assert [one.key for one in answer.applied] == [keys[1]]
    assert parts.condition.problems == ()
    assert {resource.key for resource in parts.resources.select()} == {*keys[1:]}
    assert len({resource.sequence for resource in parts.resources.select()}) == 2


async def test_a_name_whose_record_cannot_be_read_is_not_there_for_everybody(
    tmp_path: Path, time: FakeTime
) -> None:
    store = MemoryStore()
    await store.commit([Change("nodes/web-1", b"odd")])
    parts = await parts_over(store, tmp_path, time)
    for token, refused in ((TokenRequest(), True), (TokenRequest(node="web-1"), False)):
        secret = (await parts.enrolment.make_token(token, "me")).token.rpartition(".")[0]
        request = JoinRequest(node="web-1", token=secret, csr=make_csr())
        if refused:
            with pytest.raises(Refusal, match="has joined already"):
                await parts.enrolment.join(request, "")
        else:
            await parts.enrolment.join(request, "")
    assert parts.condition.problems == ()


async def test_a_service_keeps_its_ports_while_no_workload_is_there(registry: Registry) -> None:
    await registry.report("web-1", report(workload("reviews")))
    await registry.report("web-2", report(workload("reviews-2", node="web-2", service="reviews", ports=())))
    await registry.report("web-1", report())
    await registry.report("web-2", report())
    assert [port.number for port in registry.snapshots.value.services[0].ports] == [9080]


async def declaring(*hosts: str) -> Store:
    """A store with a ServiceEntry for each host."""
    spec = "hosts: [{}]\nports: [{{number: 80, name: http, protocol: HTTP}}]\nresolution: STATIC"
    entries = [entry(spec.format(host), name=host) for host in hosts]
    store = MemoryStore()
    await store.commit([Change(RESOURCES.key(one.key), one.model_dump_json().encode(), 0) for one in entries])
    return store


async def test_declared_hosts_get_addresses_that_stay(tmp_path: Path, time: FakeTime) -> None:
    parts = await parts_over(await declaring("a.example.com", "b.example.com"), tmp_path, time)
    hosts = {one.host: one.address for one in parts.registry.snapshots.value.hosts}
    assert len({*hosts.values()}) == 2
    await parts.registry.set_projects("web-1", Projects(projects=("shop",)))
    await parts.registry.report("web-1", report(workload("reviews")))
    snapshot = parts.registry.snapshots.value
    assert {one.host: one.address for one in snapshot.hosts} == hosts
    assert snapshot.services[0].address not in hosts.values()


async def test_an_address_that_a_host_holds_is_not_given_to_a_service(tmp_path: Path, time: FakeTime) -> None:
    """In a network of 1022 addresses a host has one, so only 1021 services find a place."""
    store = await declaring("a.example.com")
    parts = await parts_over(store, tmp_path, time, virtual_network="240.240.0.0/22")
    await parts.registry.set_projects("web-1", Projects(projects=("shop",)))
    lease = await parts.registry.report("web-1", report(*(workload(f"s{number}") for number in range(1022))))
    assert [one.reason for one in lease.refused] == ["no free virtual address left in 240.240.0.0/22"]
    snapshot = parts.registry.snapshots.value
    assert snapshot.hosts[0].address not in {service.address for service in snapshot.services}


async def test_where_a_service_is_seen_holds_while_its_only_replica_is_away(registry: Registry) -> None:
    await registry.report("web-1", report(workload("reviews", export_to=(".",))))
    await registry.report("web-1", report())
    assert registry.snapshots.value.services[0].export_to == (".",)
    await registry.report("web-1", report(workload("reviews")))
    assert registry.snapshots.value.services[0].export_to == ()


async def again(store: Store, folder: Path, time: FakeTime) -> Registry:
    return (await parts_over(store, folder, time)).registry


async def test_a_restart_does_not_begin_the_time_anew_after_which_a_service_is_forgotten(
    tmp_path: Path, time: FakeTime
) -> None:
    store = MemoryStore()
    registry = await again(store, tmp_path, time)
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    await registry.report("web-1", report(workload("reviews"), workload("ratings")))
    await registry.report("web-1", report(workload("ratings")))
    await registry.expire()
    time.passes(LINGER - 1)
    registry = await again(store, tmp_path, time)
    await registry.report("web-1", report(workload("ratings")))
    await registry.expire()
    assert services(registry.snapshots.value) == ["ratings", "reviews"]
    time.passes(2)
    await registry.report("web-1", report(workload("ratings")))
    await registry.expire()
    assert services(registry.snapshots.value) == ["ratings"]


async def test_services_of_a_node_that_never_comes_back_are_gone_with_the_next_start(
    tmp_path: Path, time: FakeTime
) -> None:
    """Also one that a resource names: no living node meshes its project."""
    store = MemoryStore()
    made = await parts_over(store, tmp_path, time)
    registry = made.registry
    await registry.set_projects("web-1", Projects(projects=("shop",)))
    await registry.set_projects("web-2", Projects(projects=("other",)))
    await registry.report("web-1", report(workload("reviews")))
    await registry.report("web-2", report(workload("cart", node="web-2", namespace="other")))
    rule = (
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule,"
        " metadata: {name: r}, spec: {host: reviews}}"
    )
    request = ApplyRequest(documents=documents.read(rule, namespace="shop").documents)
    assert (await made.resources.apply(request, "me", guarded=False)).rejected == ()
    time.passes(11)
    await registry.expire()
    time.passes(3600)
    registry = await again(store, tmp_path, time)
    await registry.report("web-2", report(workload("cart", node="web-2", namespace="other")))
    await registry.expire()
    assert services(registry.snapshots.value) == ["cart"]
    await registry.report("web-1", report(workload("reviews")))
    await registry.expire()
    assert services(registry.snapshots.value) == ["cart", "reviews"]
    await registry.report("web-1", report())
    await registry.expire()
    assert services(registry.snapshots.value) == ["cart", "reviews"], "it is back, and meshes the project"


async def test_a_node_that_is_silent_for_a_day_is_listed_no_more_and_comes_back_as_it_was(
    registry: Registry, time: FakeTime
) -> None:
    def listed() -> list[str]:
        assert {node.name for node in registry.snapshots.value.nodes} == {
            node.record.name for node in registry.nodes()
        }
        return [node.record.name for node in registry.nodes()]

    await registry.report("web-1", report(workload("reviews")))
    await registry.report("web-2", report())
    time.passes(11)
    await registry.report("web-2", report())
    await registry.expire()
    time.passes(86_399)
    await registry.report("web-2", report())
    await registry.expire()
    assert listed() == ["web-1", "web-2"]
    time.passes(2)
    await registry.report("web-2", report())
    await registry.expire()
    assert listed() == ["web-2"]
    await registry.report("web-1", report(workload("reviews")))
    assert listed() == ["web-1", "web-2"]
    assert registry.node("web-1").record.projects == ("shop",)
    assert names(registry.snapshots.value) == ["reviews"]
