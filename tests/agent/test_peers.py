"""Which replica UDP and ICMP to a name reach, and how often that may change."""

from __future__ import annotations

from meshlite.agent.damped import LONGEST_SECONDS, QUIET_SECONDS, Damped
from meshlite.agent.peers import Peers, peers
from meshlite.model.mesh import Service
from meshlite.model.workload import Found, NetworkNamespace, Port, Workload

NETWORK6 = "fd6d:6c00::/96"
DNS = Service(name="dns", namespace="shop", address="240.240.0.7")


def found(name: str, *interfaces: str, space: str = "", **fields: object) -> Found:
    given = {"ports": (Port(number=53, protocol="udp"),)} | fields
    service = name.partition("-")[0]
    workload = Workload(id=name, node="n", name=name, service=service, namespace="shop", **given)  # type: ignore[arg-type]
    namespace = NetworkNamespace(key=space or name, path="/x")
    return Found(workload=workload, namespace=namespace, interfaces=interfaces)


def seen(*items: Found) -> Peers:
    return peers((DNS,), items, items, NETWORK6)


def test_a_replica_in_a_shared_network_in_each_form_of_address() -> None:
    client = found("client", "172.18.0.2/16", "fd00:1::2/64")
    one = seen(client, found("dns-1", "172.18.0.3/16", "fd00:1::3/64"))
    assert one.of("client") == {"240.240.0.7": "172.18.0.3", "fd6d:6c00::f0f0:7": "fd00:1::3"}
    assert seen(client, found("dns-1", "172.18.0.3/16")).of("client") == {"240.240.0.7": "172.18.0.3"}


def test_of_several_networks_the_shared_one_counts_and_none_is_none() -> None:
    client = found("client", "172.19.0.2/16")
    assert seen(client, found("dns-1", "172.18.0.3/16", "172.19.0.3/16")).of("client") == {
        "240.240.0.7": "172.19.0.3"
    }
    assert seen(client, found("dns-1", "172.18.0.3/16")).of("client") == {}


def test_healthy_ones_come_first_and_who_nobody_calls_is_nobodys() -> None:
    client, sick = found("client", "172.18.0.2/16"), found("dns-1", "172.18.0.3/16", health="unhealthy")
    assert seen(client, sick).of("client") == {"240.240.0.7": "172.18.0.3"}
    assert seen(client, sick, found("dns-2", "172.18.0.4/16")).of("client") == {"240.240.0.7": "172.18.0.4"}
    assert seen(client, found("dns-run-1", "172.18.0.5/16", ports=())).of("client") == {}


def test_callers_are_spread_over_replicas_and_keep_theirs_while_others_go() -> None:
    clients = [found(f"client-{n}", f"172.18.1.{n}/16") for n in range(1, 41)]
    replicas = [found(f"dns-{n}", f"172.18.0.{n}/16") for n in range(1, 4)]
    before = {c.workload.id: seen(*clients, *replicas).of(c.workload.id)["240.240.0.7"] for c in clients}
    assert len(set(before.values())) == 3
    after = {c.workload.id: seen(*clients, *replicas[:2]).of(c.workload.id)["240.240.0.7"] for c in clients}
    assert all(after[c] == before[c] for c in before if before[c] != "172.18.0.3")


def test_what_shares_a_namespace_is_reached_by_its_owners_address() -> None:
    owner, side = found("owner", "172.18.0.9/16"), found("dns-1", space="owner")
    assert seen(found("client", "172.18.0.2/16"), owner, side).of("client") == {"240.240.0.7": "172.18.0.9"}


def test_changes_are_taken_once_they_rest_and_at_the_latest_after_a_while() -> None:
    value = Damped("a")
    assert value.follow("a", 10.0) == "a"
    assert (value.follow("b", 10.0), value.due) == ("a", 10.0 + QUIET_SECONDS)
    assert value.follow("b", 10.0 + QUIET_SECONDS) == "b"
    assert value.due == 0.0
    now, turns = 20.0, 0
    while value.follow(f"c{turns}", now) == "b":
        now, turns = now + QUIET_SECONDS / 2, turns + 1
    assert LONGEST_SECONDS <= now - 20.0 < LONGEST_SECONDS + QUIET_SECONDS


def test_a_change_that_is_taken_back_leaves_nothing_to_do() -> None:
    value = Damped("a")
    value.follow("b", 1.0)
    assert (value.follow("a", 1.1), value.due) == ("a", 0.0)
