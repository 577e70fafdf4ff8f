"""What ServiceEntries declare together, and the addresses their hosts get."""

from __future__ import annotations

import pytest

from meshlite.model import documents, external
from meshlite.model.external import port_protocol
from meshlite.model.mesh import HostAddress
from meshlite.model.validate import validate
from tests.model.external import declared, entry

WEB = "hosts: [api.example.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC"
NETWORK = "240.240.0.0/16"


def test_every_host_of_an_entry_is_declared_by_itself() -> None:
    hosts = "hosts: [A.example.com., '*.example.org']\nresolution: DYNAMIC_DNS"
    (one, other), complaints = declared(entry(hosts))
    assert (one.host, one.wildcard) == ("a.example.com", False)
    assert (other.host, other.wildcard) == ("*.example.org", True)
    assert [host.host for host in external.allocate((one, other), NETWORK, (), ())] == ["a.example.com"]
    assert not complaints


def test_entries_of_a_namespace_that_agree_add_to_each_other() -> None:
    first = entry(WEB + "\nendpoints: [{address: 192.0.2.1}]", name="a")
    later = entry(
        WEB.replace("80", "81").replace("name: http", "name: more") + "\nendpoints: [{address: 192.0.2.2}]",
        name="b",
    )
    (one,), complaints = declared(first, later)
    assert not complaints
    assert sorted(one.ports) == [80, 81]
    assert [part.endpoints[0].address for part in one.parts if part.port(81)] == ["192.0.2.2"]
    assert one.keys == ("ServiceEntry/shop/a", "ServiceEntry/shop/b")


@pytest.mark.parametrize(
    ("later", "word"),
    [
        (WEB.replace("STATIC", "DNS"), "another resolution"),
        (WEB + "\nlocation: MESH_INTERNAL", "another location"),
        (WEB + "\naddresses: [192.0.2.9]", "another addresses"),
        (WEB + "\nexportTo: ['.']", "another exportTo"),
        (WEB.replace("HTTP", "TCP"), "another protocol on port http"),
    ],
)
def test_of_entries_that_do_not_agree_the_first_applied_counts(later: str, word: str) -> None:
    (one,), ((key, reason),) = declared(entry(WEB, name="a"), entry(later, name="b"))
    assert one.keys == ("ServiceEntry/shop/a",)
    assert key == "ServiceEntry/shop/b"
    assert "host api.example.com is declared by ServiceEntry/shop/a" in reason
    assert word in reason


def test_namespaces_declare_one_host_each_for_itself() -> None:
    both, complaints = declared(entry(WEB), entry(WEB.replace("STATIC", "DNS"), "other"))
    assert [one.key for one in both] == ["shop/api.example.com", "other/api.example.com"]
    assert not complaints


def test_the_order_is_that_of_application() -> None:
    late, early = entry(WEB, name="a", sequence=2), entry(WEB.replace("STATIC", "DNS"), name="b", sequence=1)
    (one,) = external.read((late, early))
    assert one.resolution == "DNS"


def test_what_cannot_be_read_declares_nothing() -> None:
    bad = entry(WEB).model_copy(update={"spec": {"hosts": 5}})
    assert external.read((bad,)) == ()


def test_hosts_get_addresses_that_stay_and_are_nobody_elses() -> None:
    both, _ = declared(entry(WEB), entry(WEB, "other"))
    first = external.allocate(both, NETWORK, (), ())
    assert len({one.address for one in first}) == 2
    assert [one.key for one in first] == ["other/api.example.com", "shop/api.example.com"]
    assert external.allocate(both, NETWORK, (), ()) == first
    taken = external.allocate(both, NETWORK, [first[0].address], first)
    assert taken[0].address != first[0].address
    assert taken[1] == first[1]
    kept = HostAddress(host="api.example.com", namespace="shop", address="240.240.9.9")
    assert kept in external.allocate(both, NETWORK, (), (kept,))


@pytest.mark.parametrize(
    ("spec", "labels"),
    [
        (WEB.replace("STATIC", "NONE"), {}),
        (WEB + "\naddresses: [192.0.2.9]", {}),
        (WEB, {external.AUTO_ADDRESS: "False"}),
    ],
)
def test_hosts_that_need_no_address_get_none(spec: str, labels: dict[str, str]) -> None:
    found, _ = declared(entry(spec).model_copy(update={"labels": labels}))
    assert external.allocate(found, NETWORK, (), ()) == ()


def test_a_full_network_leaves_hosts_without_address() -> None:
    both, _ = declared(entry(WEB), entry(WEB, "other"))
    assert len(external.allocate(both, "240.240.0.0/30", ["240.240.0.1"], ())) == 1


def test_ranges_of_one_address_are_that_address() -> None:
    (one,), _ = declared(
        entry(WEB + "\naddresses: [192.0.2.1/32, 192.0.2.1, 192.0.2.9/24, '2001:db8::/128']")
    )
    assert one.addresses == ("192.0.2.1", "192.0.2.0/24", "2001:db8::")


@pytest.mark.parametrize(
    ("written", "protocol"),
    [
        ("HTTP", "http"),
        ("gRPC-Web", "grpc-web"),
        ("HTTP_PROXY", "http"),
        ("", "auto"),
        ("auto", None),
        ("x", None),
    ],
)
def test_protocols(written: str, protocol: str | None) -> None:
    assert port_protocol(written) == protocol


@pytest.mark.parametrize(
    ("address", "resolution", "word"),
    [
        ("127.0.0.1", "STATIC", "the caller's own"),
        ("::1", "STATIC", "the caller's own"),
        ("0.0.0.0", "STATIC", "the caller's own"),
        ("0.0.0.0/0", "NONE", "every connection"),
        ("::/0", "NONE", "every connection"),
        ("169.254.169.254", "STATIC", "link-local"),
        ("fe80::/10", "NONE", "link-local"),
        ("224.0.0.1", "STATIC", "many receivers"),
        ("10.0.0.0/8", "NONE", ""),
    ],
)
def test_addresses_that_do_not_mean_what_they_seem_to_are_warned_of(
    address: str, resolution: str, word: str
) -> None:
    """Istio takes them, so they are taken."""
    ports = "[{number: 80, name: http, protocol: HTTP}]"
    spec = f"{{hosts: [a.example.com], addresses: ['{address}'], resolution: {resolution}, ports: {ports}}}"
    head = "apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: x}"
    (document,) = documents.read(f"{{{head}, spec: {spec}}}").documents
    warnings, rejected = validate(document)
    assert list(rejected) == []
    assert bool(word) is bool(warnings)
    assert word in "".join(warnings)
