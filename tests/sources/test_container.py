"""What becomes of a container's record: names, ports, health, and why something cannot be captured."""

from __future__ import annotations

import pytest

from meshlite.model.workload import Found, NetworkNamespace
from meshlite.sources.container import Sight, parse
from meshlite.sources.sockets import Listening
from tests.sources.records import ID, record

NAMESPACE = NetworkNamespace(key="4026532001", path="/proc/4242/ns/net", pid=4242)
COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "reviews"}


def seen(
    raw: dict[str, object],
    *listening: Listening,
    settled: bool = True,
    draining: bool = False,
    host: bool = False,
    mixed: bool = False,
) -> Found:
    sockets = None if host else frozenset(listening)
    return parse(raw, "node-1", Sight("1a2b", NAMESPACE, sockets, settled, draining, mixed))


def ports(found: Found) -> list[tuple[int, str, str]]:
    return [(port.number, port.protocol, port.origin) for port in found.workload.ports]


def test_a_compose_service_is_named_as_compose_names_it() -> None:
    found = seen(record())
    workload = found.workload
    assert (workload.service, workload.namespace, workload.name) == ("reviews", "shop", "shop-reviews-1")
    assert workload.id == f"{ID[:12]}-1a2b"
    assert workload.aliases == ("reviews", "shop-reviews-1")
    assert workload.addresses == ("172.18.0.3",)
    assert (found.project, found.enable, found.namespace) == ("shop", None, NAMESPACE)
    assert workload.reason == ""


def test_labels_of_meshlite_override_what_compose_says() -> None:
    labels = COMPOSE | {
        "meshlite.service": "critique",
        "meshlite.namespace": "books",
        "meshlite.version": "v2",
        "meshlite.enable": "false",
        "meshlite.labels.team": "red",
        "tier": "back",
    }
    found = seen(record(labels=labels))
    assert (found.workload.service, found.workload.namespace) == ("critique", "books")
    assert found.workload.version == "v2"
    assert found.workload.labels == {"team": "red", "tier": "back"}
    assert (found.enable, found.project) == (False, "shop")


def test_kubernetes_labels_name_service_and_version_too() -> None:
    found = seen(record(labels=COMPOSE | {"app": "ratings", "version": "v3"}))
    assert (found.workload.service, found.workload.version) == ("ratings", "v3")


def test_a_container_outside_compose_goes_by_its_name() -> None:
    found = seen(record(name="My.App_1", labels={}, mode="bridge"))
    assert (found.workload.service, found.workload.namespace) == ("my-app_1", "default")


def test_what_is_no_name_for_a_hosts_file_is_no_alias() -> None:
    odd = ["x\n6.6.6.6 db", "two words", "localhost", ""]
    networks = {"a": {"IPAddress": "10.0.0.2", "Aliases": ["web", *odd]}}
    aliases = seen(record(networks=networks)).workload.aliases
    assert "web" in aliases
    assert not set(odd) & set(aliases)


def test_an_alias_that_looks_like_the_beginning_of_the_id_is_kept() -> None:
    networks = {"n": {"Aliases": ["0123", ID[:12]]}}
    assert "0123" in seen(record(networks=networks)).workload.aliases
    assert ID[:12] not in seen(record(networks=networks)).workload.aliases


def test_several_networks_give_several_addresses() -> None:
    networks = {
        "front": {"IPAddress": "172.18.0.3", "GlobalIPv6Address": "fd00::3", "Aliases": ["web"]},
        "back": {"IPAddress": "172.19.0.3", "Aliases": ["api"]},
    }
    workload = seen(record(networks=networks)).workload
    assert workload.addresses == ("172.19.0.3", "172.18.0.3", "fd00::3")
    assert {"web", "api"} <= set(workload.aliases)


def test_ports_come_from_the_label_then_knowledge_then_exposure_then_what_listens() -> None:
    raw = record(
        labels=COMPOSE | {"meshlite.ports": "http:9080, grpc-api:9090"},
        exposed=("9080/tcp", "5432/tcp", "8443/tcp", "53/udp"),
        published=("8081/tcp",),
    )
    found = seen(raw, Listening(7000, "0.0.0.0"), Listening(8443, "::"))
    assert ports(found) == [
        (5432, "tcp", "image"),
        (7000, "auto", "listening"),
        (8081, "auto", "exposed"),
        (8443, "auto", "exposed"),
        (9080, "http", "label"),
        (9090, "grpc", "label"),
    ]


def test_an_image_that_is_a_database_is_never_sniffed_on_any_port() -> None:
    found = seen(record(image="registry:5000/bitnami/mysql:8@sha256:00", exposed=("3307/tcp",)))
    assert ports(found) == [(3307, "mysql", "image")]


def test_loopback_and_ephemeral_sockets_are_no_ports() -> None:
    found = seen(
        record(), Listening(6000, "127.0.0.1"), Listening(6001, "::ffff:127.0.0.1"), Listening(45000, "::")
    )
    assert ports(found) == []


def test_a_bad_port_label_is_told_and_the_good_part_holds() -> None:
    found = seen(record(labels=COMPOSE | {"meshlite.ports": "htp:80,http:8080,http:99999"}))
    assert ports(found) == [(8080, "http", "label")]
    assert "'htp:80'" in found.workload.reason
    assert "'http:99999'" in found.workload.reason


def test_an_app_on_one_address_only_is_noted() -> None:
    found = seen(record(exposed=("80/tcp", "81/tcp")), Listening(80, "172.18.0.3"), Listening(81, "0.0.0.0"))
    assert found.bound == {80: "172.18.0.3"}
    both = seen(record(exposed=("80/tcp",)), Listening(80, "172.18.0.3"), Listening(80, "::"))
    assert both.bound == {}
    v6only = seen(record(exposed=("80/tcp",)), Listening(80, "172.18.0.3"), Listening(80, "::", v6only=True))
    assert v6only.bound == {80: "172.18.0.3"}


@pytest.mark.parametrize(
    ("state", "health"),
    [
        ({}, "healthy"),
        ({"Health": {"Status": "starting"}}, "starting"),
        ({"Health": {"Status": "healthy"}}, "healthy"),
        ({"Health": {"Status": "unhealthy"}}, "unhealthy"),
        ({"Health": {"Status": "none"}}, "healthy"),
        ({"Paused": True}, "draining"),
        ({"Paused": True, "Health": {"Status": "healthy"}}, "draining"),
    ],
)
def test_health_is_the_engines_word(state: dict[str, object], health: str) -> None:
    assert seen(record(**state)).workload.health == health


def test_a_container_that_ends_is_draining_whatever_its_check_says() -> None:
    assert seen(record(Health={"Status": "healthy"}), draining=True).workload.health == "draining"


def test_without_a_check_the_first_open_port_makes_it_healthy() -> None:
    raw = record(exposed=("80/tcp", "443/tcp"))
    assert seen(raw, settled=False).workload.health == "starting"
    assert seen(raw, Listening(9999, "0.0.0.0"), settled=False).workload.health == "healthy", (
        "9999 is a port of it"
    )
    assert seen(raw, Listening(80, "127.0.0.1"), settled=False).workload.health == "starting"
    assert seen(raw, Listening(80, "0.0.0.0"), settled=False).workload.health == "healthy"
    assert seen(raw, settled=True).workload.health == "healthy", "it had its time"
    assert seen(record(), settled=False).workload.health == "healthy", "it serves nothing"


def test_a_one_off_container_calls_as_its_service_and_is_called_by_nobody() -> None:
    labels = COMPOSE | {"com.docker.compose.oneoff": "True"}
    networks = {"shop_default": {"IPAddress": "172.18.0.9", "Aliases": [ID[:12]]}}
    raw = record(name="shop-reviews-run-1", labels=labels, networks=networks, exposed=("9080/tcp",))
    workload = seen(raw).workload
    assert (workload.service, workload.namespace) == ("reviews", "shop")
    assert (workload.ports, workload.aliases) == ((), ())


def test_a_one_off_container_with_the_services_aliases_wants_to_be_called() -> None:
    labels = COMPOSE | {"com.docker.compose.oneoff": "True"}
    assert ports(seen(record(labels=labels, exposed=("9080/tcp",)))) == [(9080, "auto", "exposed")]


def test_the_hosts_network_cannot_be_captured_and_says_so() -> None:
    found = seen(record(mode="host", networks={"host": {}}, exposed=("80/tcp",)), host=True)
    assert found.namespace is None
    assert "network_mode: host" in found.workload.reason
    assert found.workload.addresses == ("127.0.0.1",)
    assert found.hosts_file == ""
    assert ports(found) == [(80, "auto", "exposed")]


def test_no_network_cannot_be_captured_and_says_so() -> None:
    found = seen(record(mode="none", networks={"none": {}}))
    assert found.namespace is None
    assert "network_mode: none" in found.workload.reason


def test_in_a_joined_namespace_it_has_the_ports_that_are_told_to_be_its_own() -> None:
    raw = record(mode="container:ffff", networks={}, exposed=("9100/tcp",))
    found = seen(raw, Listening(9200, "0.0.0.0"))
    assert ports(found) == [(9100, "auto", "exposed"), (9200, "auto", "listening")]
    assert (found.namespace, found.workload.reason) == (NAMESPACE, "")


def test_in_a_joined_namespace_where_nothing_is_told_only_declared_ports_are_its_own() -> None:
    heard = (Listening(80, "0.0.0.0"), Listening(9100, "0.0.0.0"))
    declared = seen(record(mode="container:ffff", networks={}, exposed=("9100/tcp",)), *heard, mixed=True)
    assert (ports(declared), declared.workload.reason) == ([(9100, "auto", "exposed")], "")
    silent = seen(record(mode="container:ffff", networks={}), *heard, mixed=True)
    assert ports(silent) == []
    assert "meshlite.ports" in silent.workload.reason


def test_what_has_no_port_or_no_network_is_never_ready_for_calls() -> None:
    assert seen(record(exposed=("80/tcp",))).workload.ready
    assert not seen(record()).workload.ready, "it only calls others"
    assert not seen(record(mode="none", networks={"none": {}}, exposed=("80/tcp",))).workload.ready
    assert not seen(record(exposed=("80/tcp",)), settled=False).workload.ready, "nothing is open yet"
    joined = seen(record(mode="container:ffff", networks={}, exposed=("80/tcp",))).workload
    assert not joined.ready
    assert joined.model_copy(update={"captured": True}).ready, "it is reached in the namespace it joined"


@pytest.mark.parametrize(
    ("label", "value", "word"),
    [
        ("meshlite.ports", "abc", "label meshlite.ports: 'abc': expected <protocol>:<port>"),
        ("meshlite.enable", "ture", "label meshlite.enable: 'ture' is neither true nor false"),
        (
            "meshlite.service",
            "My Web",
            "label meshlite.service: 'My Web' is no host name; it is 'my-web' here",
        ),
        ("meshlite.namespace", "\x1b[2J", r"label meshlite.namespace: '\x1b[2J' is no host name"),
        ("meshlite.prots", "80", "label 'meshlite.prots' says nothing to the mesh (did you mean ports?)"),
        ("meshlite.labels.", "x", "label 'meshlite.labels.' says nothing to the mesh"),
        ("meshlite.labels.team", "red", ""),
        ("meshlite.service", "", ""),
        ("meshlite.enable", "", ""),
    ],
)
def test_labels_that_make_no_sense_are_told(label: str, value: str, word: str) -> None:
    assert seen(record(labels=COMPOSE | {label: value})).workload.reason.startswith(word)
    assert bool(seen(record(labels=COMPOSE | {label: value})).workload.reason) is bool(word)


def test_a_word_on_membership_that_is_not_understood_is_told_of_containers_outside_too() -> None:
    found = seen(record(labels=COMPOSE | {"meshlite.enable": "ture"}))
    assert found.enable is None
    assert "'ture'" in found.doubt
    assert seen(record(labels=COMPOSE | {"meshlite.enable": "no"})).doubt == ""


def test_a_hosts_file_of_the_users_own_is_not_touched() -> None:
    found = seen(record(mounts=("/data", "/etc/hosts")))
    assert found.hosts_file == ""
    assert "/etc/hosts" in found.workload.reason


def test_a_record_with_nulls_everywhere_is_survived() -> None:
    raw = {"Id": ID, "Name": None, "Config": None, "HostConfig": None, "NetworkSettings": None, "State": None}
    assert seen(raw).workload.service == "none"


@pytest.mark.parametrize(
    ("labels", "place", "complaint"),
    [
        ({}, "", ""),
        ({"meshlite.locality": "eu/eu-1/rack-a"}, "eu/eu-1/rack-a", ""),
        ({"istio-locality": "eu.eu-1"}, "eu/eu-1", ""),
        ({"meshlite.locality": "eu//rack-a"}, "", "its locality 'eu//rack-a' is not region/zone/subzone"),
    ],
)
def test_it_says_where_it_runs(labels: dict[str, str], place: str, complaint: str) -> None:
    found = seen(record(labels=COMPOSE | labels))
    assert (found.workload.locality, found.workload.reason) == (place, complaint)


@pytest.mark.parametrize("written", ["100/s", "30/m", "1000/h", "", "0/s", "100", "100/d", "-1/s", "1/s\n"])
def test_a_limit_of_requests_is_a_number_for_a_time(written: str) -> None:
    found = seen(record(labels=COMPOSE | {"meshlite.rate-limit": written}))
    good = written in ("100/s", "30/m", "1000/h", "")
    assert found.workload.rate_limit == (written if good else "")
    assert ("is no limit like 100/s" in found.workload.reason) != good


@pytest.mark.parametrize("label", ["meshlite.export-to", "networking.istio.io/exportTo"])
def test_a_label_says_where_the_service_is_seen(label: str) -> None:
    assert seen(record(labels=COMPOSE | {label: ". , billing"})).workload.export_to == (".", "billing")
    assert seen(record(labels=COMPOSE)).workload.export_to == ()


def test_a_service_with_a_senseless_label_is_seen_at_home_only() -> None:
    found = seen(record(labels=COMPOSE | {"meshlite.export-to": "*, b c"})).workload
    assert found.export_to == (".",)
    assert "label meshlite.export-to: " in found.reason
