"""What a node knows first-hand wins over what the server last said, and needs no server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshlite.agent import overlay
from meshlite.agent.capture import Attached
from meshlite.config import Settings
from meshlite.model import names
from meshlite.model.mesh import HostAddress, NodeRecord, Service, Snapshot
from meshlite.model.names import virtual_address6
from meshlite.model.workload import Found, NetworkNamespace, Workload
from tests.model.external import declared, entry

SETTINGS = Settings(node="node-1")


def found(name: str, **fields: object) -> Found:
    own = {"project": "shop", "enable": None, "namespace": None, "joined": False} | fields
    space = own["namespace"] or f"inode-{name}"
    return Found(
        workload=workload(name),
        namespace=NetworkNamespace(key=str(space), path=f"/proc/{name}/ns/net", joined=bool(own["joined"])),
        project=str(own["project"]),
        enable=own["enable"],  # type: ignore[arg-type]
    )


def workload(name: str, node: str = "node-1", **fields: object) -> Workload:
    service = name.partition("-")[0]
    given = {"aliases": (name,), "addresses": ("172.18.0.2",)} | fields
    return Workload(id=name, node=node, name=name, service=service, namespace="shop", **given)  # type: ignore[arg-type]


def attached(name: str, namespace: str = "") -> Attached:
    inode = namespace or f"inode-{name}"
    return Attached(name, inode, 1, f"/run/netns/{name}", "169.254.7.7", "ml-1", ipv6=True)


@pytest.mark.parametrize(
    ("record", "enable", "member"),
    [
        (NodeRecord(name="node-1", projects=("shop",)), None, True),
        (NodeRecord(name="node-1", projects=("other",)), None, False),
        (NodeRecord(name="node-1", everything=True), None, True),
        (NodeRecord(name="node-1", everything=True), False, False),
        (NodeRecord(name="node-1"), True, True),
        (None, None, False),
        (None, True, True),
    ],
)
def test_membership_is_the_containers_word_else_its_projects(
    record: NodeRecord | None, enable: bool | None, member: bool
) -> None:
    assert bool(overlay.members((found("reviews-1", enable=enable),), record)) is member


def test_a_container_without_a_project_is_in_no_project() -> None:
    record = NodeRecord(name="node-1", projects=("",))
    assert not overlay.members((found("reviews-1", project=""),), record)


def test_own_workloads_replace_what_the_server_says_of_this_node_and_others_stay() -> None:
    snapshot = Snapshot(
        version="v1", workloads=(workload("reviews-old"), workload("reviews-9", node="node-2"))
    )
    seen = overlay.effective(snapshot, SETTINGS, (workload("reviews-new"),))
    assert [w.id for w in seen.workloads] == ["reviews-9", "reviews-new"]


def test_a_new_service_gets_an_address_at_once_and_known_ones_keep_theirs() -> None:
    known = Service(name="ratings", namespace="shop", address="240.240.0.9")
    snapshot = Snapshot(version="v1", services=(known,))
    seen = overlay.effective(snapshot, SETTINGS, (workload("reviews-1"), workload("ratings-1")))
    addresses = {service.name: service.address for service in seen.services}
    assert addresses["ratings"] == "240.240.0.9"
    expected = names.virtual_address("reviews.shop.svc.cluster.local", SETTINGS.virtual_network, ())
    assert addresses["reviews"] == expected


def test_a_namespace_is_shown_with_all_who_live_in_it_and_the_owners_identity() -> None:
    both = (found("app-1"), found("side-1", namespace="inode-app-1", joined=True))
    view = overlay.view(SETTINGS, both, {"app-1": attached("app-1")})
    (attachment,) = view.attachments
    assert attachment.owner == "app-1"
    assert attachment.workloads == ("app-1", "side-1")
    assert attachment.ipv6


def test_when_the_owner_has_ended_the_one_that_joined_it_goes_on() -> None:
    left = (found("side-1", namespace="inode-app-1", joined=True),)
    view = overlay.view(SETTINGS, left, {"app-1": attached("app-1")})
    assert view.attachments[0].owner == "side-1"
    assert view.attachments[0].key == "app-1"


def test_a_namespace_that_nobody_of_the_mesh_lives_in_is_not_shown() -> None:
    assert overlay.view(SETTINGS, (), {"app-1": attached("app-1")}).attachments == ()


def test_a_link_is_dialed_once_it_is_made() -> None:
    for linked, address in ((False, ""), (True, "169.254.7.7")):
        held = replace(attached("app-1"), linked=linked)
        (item,) = overlay.view(SETTINGS, (found("app-1"),), {"app-1": held}).attachments
        assert item.link == address


def test_a_workload_of_the_hosts_namespace_is_dialed_at_its_own_address() -> None:
    item = Found(workload=workload("web-1", addresses=("127.0.0.1",)), namespace=None)
    assert overlay.view(SETTINGS, (item,), {}).host_workloads == {"web-1": "127.0.0.1"}


def test_hosts_lines_have_short_names_for_the_own_namespace_only() -> None:
    snapshot = overlay.effective(Snapshot(version="v1"), SETTINGS, (workload("reviews-1"),))
    address = snapshot.services[0].address
    own = overlay.hosts(snapshot, (), "shop")[address]
    assert own[:3] == ("reviews", "reviews-1", "reviews.shop")
    assert "reviews.shop.svc.cluster.local" in own
    assert overlay.hosts(snapshot, (), "other")[address][0] == "reviews.shop"


def test_a_services_name_is_never_taken_by_a_neighbours_alias() -> None:
    own = (workload("web-1", aliases=("db", "www")), workload("db-1", aliases=()))
    snapshot = overlay.effective(Snapshot(version="v1"), SETTINGS, own)
    entries = overlay.hosts(snapshot, (), "shop")
    by_service = {service.name: entries[service.address] for service in snapshot.services}
    assert by_service["web"][:2] == ("web", "www")
    assert "db" in by_service["db"]
    assert "db" not in by_service["web"]


def test_a_name_that_not_every_replica_has_is_not_the_services() -> None:
    both = ("reviews", "stars")
    own = (
        workload("reviews-1", aliases=(*both, "reviews-v1")),
        workload("reviews-2", aliases=(*both, "reviews-v2")),
        workload("reviews-3", aliases=()),
    )
    snapshot = overlay.effective(Snapshot(version="v1"), SETTINGS, own)
    (names,) = overlay.hosts(snapshot, (), "shop").values()
    assert names[:3] == ("reviews", "stars", "reviews.shop")


def test_who_has_ipv6_finds_ipv6_addresses_too() -> None:
    snapshot = overlay.effective(Snapshot(version="v1"), SETTINGS, (workload("reviews-1"),))
    address = snapshot.services[0].address
    both = overlay.hosts(snapshot, (), "shop", "fd6d:6c00::/96")
    assert set(both) == {address, virtual_address6(address, "fd6d:6c00::/96")}
    assert len(set(both.values())) == 1
    dual = found("app-1").model_copy(update={"interfaces": ("172.18.0.2/16", "fd00:1::2/64")})
    assert overlay.view(SETTINGS, (dual,), {}).virtual_network6 == "fd6d:6c00::/96"
    assert overlay.view(SETTINGS, (found("app-1"),), {}).virtual_network6 == ""


API = "hosts: [api.example.com]\nports: [{number: 443, name: tls, protocol: TLS}]\nresolution: STATIC"


def names_of(spec: str, namespace: str = "shop", address: str = "240.240.3.3") -> dict[str, tuple[str, ...]]:
    """What is in the hosts file of a workload of `namespace` because shop declares a host."""
    externals, _ = declared(entry(spec))
    hosts = tuple(
        HostAddress(host=e.host, namespace="shop", address=address) for e in externals if e.allocated
    )
    return dict(overlay.hosts(Snapshot(version="v1", hosts=hosts), externals, namespace))


def test_a_declared_host_is_found_by_its_virtual_address_where_it_is_seen() -> None:
    assert names_of(API, "other") == {"240.240.3.3": ("api.example.com",)}
    assert names_of(API + "\nexportTo: ['.']") == {"240.240.3.3": ("api.example.com",)}
    assert names_of(API + "\nexportTo: ['.']", "other") == {}


def test_a_declared_host_is_found_by_the_addresses_it_has() -> None:
    found = names_of(API + "\naddresses: [192.0.2.1, '2001:db8::1', 198.51.100.0/24]")
    assert found == {"192.0.2.1": ("api.example.com",), "2001:db8::1": ("api.example.com",)}


@pytest.mark.parametrize(
    "spec",
    [
        API.replace("api.example", "'*.example").replace("com]", "com']"),
        API.replace("TLS", "UDP"),
        API.replace("api.example.com", "localhost"),
        API.replace("STATIC", "NONE"),
        "hosts: [api.example.com]\nresolution: STATIC",
    ],
)
def test_a_host_that_the_mesh_cannot_carry_by_address_keeps_its_own(spec: str) -> None:
    assert names_of(spec) == {}


def test_a_services_name_comes_before_a_declared_one_and_a_hidden_service_has_none() -> None:
    externals, _ = declared(entry(API.replace("api.example.com", "reviews, reviews.shop.svc.cluster.local")))
    hosts = tuple(HostAddress(host=e.host, namespace="shop", address="240.240.3.3") for e in externals)
    seen = overlay.effective(
        Snapshot(version="v1", hosts=hosts), SETTINGS, (workload("reviews-1", export_to=(".",)),)
    )
    address = seen.services[0].address
    own = overlay.hosts(seen, externals, "shop")
    assert {name for name in own[address] if name.startswith("reviews.shop")}
    assert "reviews" in own[address]
    assert "240.240.3.3" not in own
    other = overlay.hosts(seen, externals, "other")
    assert set(other) == {"240.240.3.3"}
    assert other["240.240.3.3"][0] == "reviews"
