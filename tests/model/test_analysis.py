"""What each analyzer finds in a few lines of YAML; Istio's own cases are in tests/conformance."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlite.model.analysis import codes
from meshlite.model.analysis.analyze import analyze
from meshlite.model.analysis.kubernetes import world
from meshlite.model.analysis.scene import Scene
from meshlite.model.analysis.stage import of_files, of_mesh
from meshlite.model.documents import read
from meshlite.model.mesh import Resource, Service, Snapshot
from meshlite.model.workload import Port, Workload

GROUPS = {
    "PeerAuthentication": "security.istio.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "WasmPlugin": "extensions.istio.io/v1alpha1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
}
WORLD = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {selector: {app: a}, ports: [{port: 80}, {port: 81, targetPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: shop, annotations: {networking.istio.io/exportTo: .}}
spec: {selector: {app: b}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: shop}
spec: {template: {metadata: {labels: {app: a, version: v1}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: b-1, namespace: shop, labels: {app: b}}
"""


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/rules.md").read_text()
    for code in vars(codes).values():
        if isinstance(code, codes.Code):
            assert f"| {code.code} | {code.name} | {code.level} |" in page


def written(*resources: tuple[str, str, str]) -> str:
    """(kind, namespace/name, spec in flow style) as YAML, one document on a line."""
    lines = []
    for kind, title, spec in resources:
        space, _, name = title.partition("/")
        api = GROUPS.get(kind, "networking.istio.io/v1")
        metadata = f"{{name: {name}, namespace: {space}}}"
        lines.append(f"---\n{{apiVersion: {api}, kind: {kind}, metadata: {metadata}, spec: {spec}}}")
    return "\n".join(lines)


def scene(*resources: tuple[str, str, str], beside: str = WORLD) -> Scene:
    text = written(*resources)
    return of_files(read(text, "it.yaml").documents, world([text, beside], "default", 0.0))


def found(*resources: tuple[str, str, str], beside: str = WORLD) -> set[tuple[str, str, str]]:
    """(code, namespace/name, field) of all but what this version merely lacks."""
    return {
        (one.code, one.resource.partition("/")[2], one.field)
        for one in analyze(scene(*resources, beside=beside))
        if one.code not in ("MESH0001", "MESH0002")
    }


def service(title: str, http: str, more: str = "") -> tuple[str, str, str]:
    return "VirtualService", title, f"{{hosts: [a], {more} http: [{http}]}}"


def to(host: str, more: str = "port: {number: 80}") -> str:
    return f"{{route: [{{destination: {{host: {host}, {more}}}}}]}}"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (to("a"), None),
        (to("a.shop"), None),
        (to("x"), ("IST0101", "spec.http[0].route[0].destination.host")),
        (to("a", "port: {number: 82}"), ("IST0101", "spec.http[0].route[0].destination.port")),
        (to("a", ""), ("IST0112", "spec.http[0].route[0].destination")),
        (to("b", ""), None),
        (to("b.shop.svc.cluster.local"), None),
        (
            to("a", "port: {number: 80}, subset: v1"),
            ("IST0101", "spec.http[0].route[0].destination.subset"),
        ),
        (to("a")[:-1] + ", mirror: {host: x}}", ("IST0101", "spec.http[0].mirror.host")),
    ],
)
def test_destinations(rule: str, expected: tuple[str, str] | None) -> None:
    wanted = {(expected[0], "shop/it", expected[1])} if expected else set()
    assert found(service("shop/it", rule)) == wanted


def test_what_istio_has_given_up() -> None:
    rule = to("a")[:-1] + ", fault: {delay: {fixedDelay: 1s, percent: 5}}}"
    assert ("IST0002", "shop/it", "spec.http[0].fault.delay.percent") in found(service("shop/it", rule))


def test_a_service_that_is_not_exported_is_not_found_elsewhere() -> None:
    code = ("IST0101", "other/it", "spec.http[0].route[0].destination.host")
    assert code in found(("VirtualService", "other/it", f"{{hosts: [b.shop], http: [{to('b.shop')}]}}"))


def test_what_is_not_here_may_be_elsewhere() -> None:
    text = written(service("shop/it", to("x", "subset: v1")))
    documents = read(text, "it.yaml").documents
    nothing = world([text], "default", 0.0)
    assert nothing.empty
    assert analyze(of_files(documents, nothing)) == ()
    told = analyze(of_files(documents, nothing, complete=True))
    assert [one.code for one in told] == ["IST0101", "IST0101"]
    assert told[0].where == "it.yaml:2"


def test_a_rule_of_the_host_that_lacks_the_subset_is_told_without_knowing_the_mesh() -> None:
    rule = ("DestinationRule", "shop/r", "{host: a, subsets: [{name: v1, labels: {version: v1}}]}")
    assert found(service("shop/it", to("a", "subset: v2")), rule, beside="") == {
        ("IST0101", "shop/it", "spec.http[0].route[0].destination.subset")
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{host: a, subsets: [{name: v1, labels: {version: v1}}]}", None),
        ("{host: a, subsets: [{name: v2, labels: {version: v2}}]}", ("IST0173", "spec.subsets[0]")),
        ("{host: b, subsets: [{name: v1, labels: {version: v1}}]}", ("IST0173", "spec.subsets[0]")),
        ("{host: x}", ("IST0174", "spec.host")),
        ("{host: a, trafficPolicy: {tls: {mode: SIMPLE}}}", ("IST0128", "spec.trafficPolicy.tls")),
        ("{host: a, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca.pem}}}", None),
    ],
)
def test_destination_rules(spec: str, expected: tuple[str, str] | None) -> None:
    wanted = {(expected[0], "shop/r", expected[1])} if expected else set()
    assert found(("DestinationRule", "shop/r", spec)) == wanted


def test_subsets_of_a_service_entry_are_held_against_its_endpoints() -> None:
    entry = (
        "ServiceEntry",
        "shop/e",
        "{hosts: [db.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC,"
        " endpoints: [{address: 192.0.2.1, labels: {version: v1}}]}",
    )
    subsets = "[{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"
    rule = ("DestinationRule", "shop/r", f"{{host: db.example.com, subsets: {subsets}}}")
    assert found(entry, rule) == {("IST0173", "shop/r", "spec.subsets[1]")}


def matching(*matches: str) -> str:
    return f"{{match: [{', '.join(matches)}], {to('a')[1:]}"


EXACT = "{uri: {exact: /x}}"
SHORT, LONG = "{uri: {prefix: /x}}", "{uri: {prefix: /x/more}}"
BY_HEADER = "{uri: {prefix: /x}, headers: {h: {exact: v}}}"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((to("a"), to("a")), {("IST0130", "spec.http[1]")}),
        ((matching(EXACT), to("a")), set()),
        ((matching(EXACT, "{name: again, uri: {exact: /x}}"),), {("IST0131", "spec.http[0].match[1]")}),
        (
            (matching(EXACT), matching(EXACT)),
            {("IST0131", "spec.http[1].match[0]"), ("IST0130", "spec.http[1]")},
        ),
        ((matching(SHORT), matching(LONG)), {("IST0131", "spec.http[1].match[0]")}),
        ((matching(LONG), matching(SHORT)), set()),
        ((matching(BY_HEADER), matching(LONG)), set()),
    ],
)
def test_rules_that_never_match(rules: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    told = found(service("shop/it", ", ".join(rules)))
    assert told == {(code, "shop/it", field) for code, field in expected}


def test_several_virtual_services_for_a_host_name_the_winner() -> None:
    first, later = service("shop/first", to("a")), service("shop/later", to("a"))
    told = {one.resource: one.message for one in analyze(scene(first, later)) if one.code == "IST0109"}
    assert "this one was applied first" in told["VirtualService/shop/first"]
    assert "shop/first was applied first" in told["VirtualService/shop/later"]


def test_of_policies_for_the_same_workloads_the_first_counts() -> None:
    policies = [("PeerAuthentication", f"shop/{name}", "{mtls: {mode: STRICT}}") for name in ("one", "two")]
    assert found(*policies) == {("MESH0003", "shop/two", "metadata.name")}
    narrow = ("PeerAuthentication", "shop/narrow", "{selector: {matchLabels: {app: a}}}")
    assert found(policies[0], narrow) == set()


def test_of_rules_for_a_host_the_first_one_says_what_both_say() -> None:
    subset = "subsets: [{name: v1, labels: {version: v1}}]"
    policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
    one = ("DestinationRule", "shop/one", f"{{host: a, {policy}, {subset}}}")
    two = ("DestinationRule", "shop/two", f"{{host: a.shop, {policy}, {subset}}}")
    assert found(one, two) == {
        ("MESH0003", "shop/two", "spec.trafficPolicy"),
        ("MESH0003", "shop/two", "spec.subsets[0]"),
    }


def gateway(
    title: str, port: int = 80, tls: str = "", labels: str = "istio: ingressgateway"
) -> tuple[str, str, str]:
    protocol = "HTTPS" if tls else "HTTP"
    server = f"{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: [x.com]{tls}}}"
    return "Gateway", title, f"{{selector: {{{labels}}}, servers: [{server}]}}"


def test_gateways_are_those_that_every_node_has() -> None:
    assert found(gateway("shop/g")) == set()
    assert found(gateway("shop/g", labels="istio: x")) == {("IST0101", "shop/g", "spec.selector")}
    assert found(gateway("shop/g", 9, labels="app: a")) == {
        ("IST0162", "shop/g", "spec.servers[0].port.number")
    }
    assert found(gateway("shop/g", 8081, labels="app: a")) == set()


def test_gateways_with_one_certificate_or_one_host() -> None:
    tls = ", tls: {mode: SIMPLE, credentialName: c}"
    told = found(gateway("shop/g", 443, tls), gateway("shop/h", 444, tls))
    assert {code for code, _, _ in told} == {"IST0138"}
    assert {title for _, title, _ in told} == {"shop/g", "shop/h"}
    told = found(gateway("shop/g"), gateway("shop/h"))
    assert {code for code, _, _ in told} == {"IST0145"}


def test_gateways_of_virtual_services() -> None:
    at = ("spec.gateways[0]",)
    good = ("VirtualService", "shop/it", f"{{hosts: [x.com], gateways: [g], http: [{to('a')}]}}")
    assert found(gateway("shop/g"), good) == set()
    other = ("VirtualService", "shop/it", f"{{hosts: [y.com], gateways: [shop/g], http: [{to('a')}]}}")
    assert found(gateway("shop/g"), other) == {("IST0132", "shop/it", *at)}
    assert ("IST0101", "shop/it", *at) in found(good)


def test_routing_by_claims_needs_somebody_who_reads_tokens() -> None:
    rule = f"{{match: [{{headers: {{'@request.auth.claims.g': {{exact: a}}}}}}], {to('a')[1:]}"
    routed = ("VirtualService", "shop/it", f"{{hosts: [x.com], gateways: [g], http: [{rule}]}}")
    field = 'spec.http[0].match[0].headers["@request.auth.claims.g"]'
    assert found(gateway("shop/g"), routed) == {("IST0149", "shop/it", field)}
    reader = ("RequestAuthentication", "istio-system/r", "{jwtRules: [{issuer: a}]}")
    assert found(gateway("shop/g"), routed, reader) == set()


def test_sidecars() -> None:
    egress = "egress: [{hosts: ['*/*']}]"
    for_a = [
        ("Sidecar", f"shop/{n}", f"{{workloadSelector: {{labels: {{app: a}}}}, {egress}}}") for n in "pq"
    ]
    assert found(for_a[0]) == set()
    assert {(code, title) for code, title, _ in found(*for_a)} == {
        ("IST0110", "shop/p"),
        ("IST0110", "shop/q"),
    }
    everybody = [("Sidecar", f"shop/{n}", f"{{{egress}}}") for n in "pq"]
    assert {code for code, _, _ in found(*everybody)} == {"IST0111"}
    nobody = ("Sidecar", "shop/p", f"{{workloadSelector: {{labels: {{app: z}}}}, {egress}}}")
    assert found(nobody) == {("IST0101", "shop/p", "spec.workloadSelector")}


@pytest.mark.parametrize(
    ("kind", "name", "there"),
    [
        ("Gateway", "g", True),
        ("Gateway", "gone", False),
        ("Gateway", "nobodys", False),
        ("Service", "a", True),
        ("Service", "z", False),
    ],
)
def test_what_a_policy_is_attached_to_must_be_there_and_served(kind: str, name: str, there: bool) -> None:
    target = f"{{kind: {kind}, name: {name}, group: {'gateway.networking.k8s.io' * (kind == 'Gateway')!r}}}"
    policies = (
        ("AuthorizationPolicy", "shop/p", f"{{targetRefs: [{target}], rules: [{{}}]}}"),
        ("EnvoyFilter", "shop/f", f"{{targetRefs: [{target}]}}"),
        ("WasmPlugin", "shop/w", f"{{targetRef: {target}, url: 'file:///a'}}"),
    )
    told = found(gateway("shop/g"), gateway("shop/nobodys", labels="istio: x"), *policies)
    expected = {
        ("IST0101", "shop/p", "spec.targetRefs[0].name"),
        ("IST0101", "shop/f", "spec.targetRefs[0].name"),
        ("IST0101", "shop/w", "spec.targetRef.name"),
    }
    assert expected & told == (set() if there else expected)


@pytest.mark.parametrize(
    ("apply_to", "operation", "more", "code"),
    [
        ("HTTP_FILTER", "INSERT_BEFORE", "", "IST0151"),
        ("HTTP_FILTER", "INSERT_BEFORE", ", priority: 5", ""),
        ("HTTP_FILTER", "INSERT_FIRST", "", ""),
        ("CLUSTER", "REPLACE", "", "IST0152"),
        ("HTTP_ROUTE", "ADD", "", "IST0153"),
        ("ROUTE_CONFIGURATION", "REMOVE", "", "IST0154"),
    ],
)
def test_patches(apply_to: str, operation: str, more: str, code: str) -> None:
    patch = f"{{applyTo: {apply_to}, patch: {{operation: {operation}, value: {{name: a}}}}}}"
    told = found(("EnvoyFilter", "shop/f", f"{{configPatches: [{patch}]{more}}}"))
    assert code in {found for found, _, _ in told} or not code
    assert {found for found, _, _ in told} <= {code, "IST0106", "IST0133"} - {""}


def test_a_running_mesh_is_analysed_with_its_workloads() -> None:
    workload = Workload(
        id="1", node="n", name="a-1", service="a", namespace="shop", version="v1", locality="eu/one"
    )
    resources = [
        Resource(
            api_version="networking.istio.io/v1",
            kind="DestinationRule",
            name=name,
            namespace="shop",
            sequence=sequence,
            spec={"host": "a", "subsets": [{"name": subset, "labels": labels}]},
        )
        for sequence, name, subset, labels in (
            (2, "later", "v1", {"version": "v2"}),
            (1, "first", "v1", {"version": "v1"}),
            (3, "near", "eu", {"topology.kubernetes.io/region": "eu"}),
        )
    ]
    snapshot = Snapshot(
        services=(Service(name="a", namespace="shop", address="240.0.0.1", ports=(Port(number=80),)),),
        workloads=(workload,),
        resources=tuple(resources),
    )
    told = [(one.code, one.resource, one.field) for one in analyze(of_mesh(snapshot))]
    later = "DestinationRule/shop/later"
    assert told == [("IST0173", later, "spec.subsets[0]"), ("MESH0003", later, "spec.subsets[0]")]
    [document] = read(written(("DestinationRule", "shop/later", "{host: a}")), "new.yaml").documents
    assert analyze(of_mesh(snapshot, (document,))) == ()
