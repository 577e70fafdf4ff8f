"""What one request may refer to: hosts that it declares itself, in whatever order, if they are seen."""

from __future__ import annotations

from itertools import permutations

import pytest

from meshlite.model.mesh import HostAddress, MeshSettings, Resource, Service, Snapshot
from meshlite.model.wire import ApplyRequest, Document
from meshlite.server.admission import admission, admit
from tests.model.resources import document

ENTRY = "hosts: [api.example.com, '*.example.org']\nports: [{number: 443, name: tls, protocol: TLS}]\n"
ROUTE = "hosts: [api.example.com]\nhttp: [{route: [{destination: {host: HOST, subset: v1}}]}]"
RULE = "host: api.example.com\nsubsets: [{name: v1}]"


def refused(*documents: Document, stored: tuple[Document, ...] = ()) -> dict[str, str]:
    snapshot = Snapshot(resources=tuple(one.resource for one in stored))
    _, rejections = admit(ApplyRequest(documents=documents), snapshot)
    return {one.field: one.reason for one in rejections}


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_request_may_name_hosts_that_it_declares(order: tuple[int, ...]) -> None:
    documents = (
        document("ServiceEntry", ENTRY),
        document("VirtualService", ROUTE.replace("HOST", "api.example.com")),
        document("DestinationRule", RULE),
    )
    assert refused(*(documents[place] for place in order)) == {}


def test_hosts_may_have_been_declared_before() -> None:
    route = ROUTE.replace("HOST, subset: v1", "'*.example.org'")
    assert refused(document("VirtualService", route), stored=(document("ServiceEntry", ENTRY),)) == {}


def test_a_host_that_nobody_declares_is_unknown() -> None:
    route = document("VirtualService", ROUTE.replace("HOST", "other.example.com"))
    reason = refused(route, document("ServiceEntry", ENTRY))["spec.http[0].route[0].destination.host"]
    assert "nothing declares the host other.example.com" in reason


def test_a_host_that_is_not_exported_is_unknown_elsewhere() -> None:
    entry = document("ServiceEntry", ENTRY + "exportTo: ['.']", "other")
    route = document("VirtualService", ROUTE.replace("HOST, subset: v1", "api.example.com"))
    assert "spec.http[0].route[0].destination.host" in refused(route, entry)
    own = document("VirtualService", ROUTE.replace("HOST, subset: v1", "api.example.com"), "other")
    assert refused(own, entry) == {}


@pytest.mark.parametrize("gateway", ["istio-egressgateway", "istio-ingressgateway"])
def test_the_gateways_of_every_node_are_known(gateway: str) -> None:
    """Before any of them has a port, and before any workload is there."""
    host = f"{gateway}.istio-system.svc.cluster.local"
    route = document("VirtualService", ROUTE.replace("HOST, subset: v1", host))
    rule = document("DestinationRule", f"host: {host}\nsubsets: [{{name: v1}}]")
    assert refused(route) == {}
    assert refused(document("VirtualService", ROUTE.replace("HOST", host)), rule) == {}
    lost = document("VirtualService", ROUTE.replace("HOST, subset: v1", host.replace("istio-", "other-", 1)))
    assert "no service other-" in refused(lost)["spec.http[0].route[0].destination.host"]


def test_a_policy_for_a_gateway_that_nobody_serves_is_taken_with_a_word() -> None:
    target = "{kind: Gateway, group: gateway.networking.k8s.io, name: edge}"
    policy = document("AuthorizationPolicy", f"targetRefs: [{target}]\nrules: [{{}}]")
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
    gateway = document("Gateway", f"selector: {{istio: ingressgateway}}\nservers: [{server}]")
    gateway = gateway.model_copy(update={"resource": gateway.resource.model_copy(update={"name": "edge"})})

    def warnings(*documents: Document) -> str:
        admitted, _ = admit(ApplyRequest(documents=documents), Snapshot())
        return "".join(one for each in admitted for one in each.warnings)

    assert "there is no Gateway edge in namespace shop that anybody serves" in warnings(policy)
    assert warnings(policy, gateway) == ""


def test_a_patch_that_reaches_the_host_is_refused_unless_the_operator_trusts_users() -> None:
    path = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    log = {"name": "log", "typed_config": {"@type": path, "path": "/etc/cron.d/x"}}
    patch = {"operation": "MERGE", "value": {"access_log": [log]}}
    moved = {"operation": "MERGE", "value": {"address": {}}}
    spec = {"configPatches": [{"applyTo": "LISTENER", "patch": one} for one in (patch, moved)]}
    resource = Resource(
        api_version="networking.istio.io/v1alpha3", kind="EnvoyFilter", name="f", namespace="shop", spec=spec
    )
    request = ApplyRequest(documents=(Document(resource=resource, location="f.yaml:1"),))
    _, refused = admit(request, Snapshot())
    assert [one.field for one in refused] == ["spec.configPatches[0]", "spec.configPatches[1]"]
    assert "it writes to the file '/etc/cron.d/x' of the host" in refused[0].reason
    _, refused = admit(request, Snapshot(settings=MeshSettings(envoy_filter="trusted")))
    assert [one.field for one in refused] == ["spec.configPatches[1]"]


@pytest.mark.parametrize(
    ("host", "address", "owner"),
    [
        ("api.example.com", "240.240.0.1", "reviews.shop.svc.cluster.local"),
        ("api.example.com", "240.240.0.2/32", "db.example.com"),
        ("db.example.com", "240.240.0.2", ""),
        ("api.example.com", "10.0.0.1", ""),
    ],
)
def test_an_entry_does_not_take_the_address_of_another(host: str, address: str, owner: str) -> None:
    snapshot = Snapshot(
        services=(Service(name="reviews", namespace="shop", address="240.240.0.1"),),
        hosts=(HostAddress(host="db.example.com", namespace="shop", address="240.240.0.2"),),
    )
    spec = {"hosts": [host], "addresses": [address], "resolution": "STATIC"}
    spec |= {"ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    resource = Resource(
        api_version="networking.istio.io/v1", kind="ServiceEntry", name="s", namespace="shop", spec=spec
    )
    _, refused = admit(ApplyRequest(documents=(Document(resource=resource, location="f.yaml:1"),)), snapshot)
    assert [one.field for one in refused] == (["spec.addresses[0]"] if owner else [])
    assert owner in "".join(one.reason for one in refused)


def test_what_is_remembered_of_stored_resources_changes_no_verdict() -> None:
    """The same requests to one who remembers and to one who does not, while what is stored changes."""
    remembering = admission()
    route = document("VirtualService", ROUTE.replace("HOST", "api.example.com"))
    first = route.model_copy(update={"resource": route.resource.model_copy(update={"name": "first"})})
    entry, rule = document("ServiceEntry", ENTRY), document("DestinationRule", RULE)
    other = document("DestinationRule", RULE.replace("v1", "v2"))
    for stored in ((), (entry,), (entry, rule), (entry, rule, first), (entry, other, first), (entry, rule)):
        snapshot = Snapshot(resources=tuple(one.resource for one in stored))
        request = ApplyRequest(documents=(route,))
        for _ in range(2):
            assert remembering(request, snapshot) == admit(request, snapshot)
    snapshot = Snapshot(resources=(entry.resource, rule.resource, first.resource))
    (taken,), rejected = remembering(ApplyRequest(documents=(route,)), snapshot)
    assert not rejected
    assert any("IST0109" in warning for warning in taken.warnings)
