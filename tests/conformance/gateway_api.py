"""Istio's cases of Gateway API, run and put into a form in which meaning can be compared.

Names do not count, nor what is a default; hosts, servers, rules in order, and conditions do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from meshlite.model.documents import read
from meshlite.model.kinds import Kind, named
from meshlite.model.mesh import GATEWAY_API, Resource, Service
from meshlite.model.message import Message
from meshlite.model.workload import Port
from meshlite.translate.gateway_api.backends import NOWHERE
from meshlite.translate.gateway_api.convert import Conversion, convert
from meshlite.translate.gateway_api.world import Known, World
from meshlite.translate.plan.resources import Applied, Read
from tests.conformance import corpus

FOLDER = corpus.ROOT / "7-gateway-api/istio/pilot/pkg/config/kube/gateway/testdata"

SERVICES = """
istio-ingressgateway.meshlite-system istiod.meshlite-system echo.meshlite-system httpbin.meshlite-system
httpbin.default httpbin-second.default httpbin-wildcard.default foo-svc.default httpbin-other.default
example.default echo.default httpbin-zero.default httpbin-mirror.default httpbin-foo.default
httpbin-alt.default httpbin-bad.default echo-1.default echo-2.default echo-port.default not-found.default
svc4.default httpbin-apple.apple httpbin-banana.banana httpbin.cert my-svc.service
a-example.allowed-1 b-example.allowed-1
svc1.allowed-1 svc2.allowed-1 a-example.allowed-2 svc2.allowed-2 svc3.allowed-2
httpbin.group-namespace1 httpbin.group-namespace2
"""
"""Services that Istio's test has beside the files."""

CREDENTIALS = """
meshlite-system/my-cert-http meshlite-system/my-cert-http-cacert meshlite-system/my-cert-http2
meshlite-system/my-cert ns2/ns2-cert ns3/ns3-cert ns4/ns4-cert cert/cert bookinfo/bookinfo-secret
bookinfo/another-secret default/auth-cert-cacert
"""
"""Usable certificates that Istio's test has; malformed ones are as good as missing."""

_PORTS = tuple(
    Port(number=number, name=name, protocol="http", origin="label")
    for number, name in ((80, "http"), (34000, "tcp"), (34001, "tcp-other"))
)

_NAMES = (
    ("domain.suffix", "cluster.local"),
    ("istio-system", "meshlite-system"),
    ("kubernetes-gateway://meshlite-system/", "kubernetes://"),
    ("kubernetes-gateway://", "kubernetes://"),
    ("configmap://meshlite-system/", "kubernetes://"),
    ("configmap://", "kubernetes://"),
    ("my-cert-http-cacert", "my-cert-http"),
)
"""Credentials have one name here, whatever they are kept in, and for their roots, too."""

Meaning = dict[str, Any]


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml")) if FOLDER.is_dir() else []


def converted(path: Path) -> Conversion:
    text = path.read_text()
    documents = [document.resource for document in read(text, path.name).documents]
    services = [
        Service(name=name, namespace=namespace, address="1.2.3.4", ports=_PORTS)
        for name, _, namespace in (word.partition(".") for word in SERVICES.split())
    ]
    services += _services(text)
    namespaces = {resource.namespace for resource in documents}
    known = Known(
        {service.fqdn: service for service in services},
        {name: {"istio.io/test-name-part": name.partition("-")[0]} for name in namespaces},
        ("1.2.3.4",),
        frozenset(CREDENTIALS.split()),
    )
    return convert(World(Read(_typed(documents)), known))


def _typed(documents: list[Resource]) -> dict[str, Applied[Message]]:
    """Without rules of validation: some of Istio's cases are ones that no API server would let in."""
    found: dict[str, Applied[Message]] = {}
    for resource in sorted(documents, key=lambda one: (one.namespace, one.name)):
        kind = named(resource.api_version, resource.kind)
        wanted = isinstance(kind, Kind) and (kind.group == GATEWAY_API or kind.name == "ServiceEntry")
        if wanted and isinstance(kind, Kind) and kind.spec is not None:
            with suppress(ValidationError):
                found[resource.key] = Applied(resource, kind.spec.model_validate(resource.spec))
    return found


def _services(text: str) -> Iterator[Service]:
    """Services of the file itself, which Istio's test has as well."""
    for data in yaml.safe_load_all(text):
        if data and data["kind"] == "Service":
            metadata, ports = data["metadata"], data["spec"]["ports"]
            yield Service(
                name=metadata["name"],
                namespace=metadata.get("namespace", "default"),
                address="1.2.3.4",
                ports=tuple(
                    Port(number=port["port"], name=port.get("name", ""), protocol="tcp", origin="label")
                    for port in ports
                ),
            )


def expected(path: Path, suffix: str) -> list[dict[str, Any]]:
    """Documents of a golden file, with the names that things have here."""
    text = path.with_suffix(suffix).read_text()
    for theirs, ours in _NAMES:
        text = text.replace(theirs, ours)
    return [data for data in yaml.safe_load_all(text) if data]


def documents(made: Conversion) -> list[dict[str, Any]]:
    return [
        {"kind": one.kind, "metadata": {"name": one.name, "namespace": one.namespace}, "spec": one.spec}
        for one in made.resources
    ]


def meaning(data: list[dict[str, Any]]) -> Meaning:
    """By what it is about: servers of listeners, rules of each gateway and host, policies of each host."""
    found: Meaning = {}
    for document in data:
        spec, metadata = document["spec"], document["metadata"]
        if document["kind"] == "Gateway":
            [server] = spec["servers"]
            found[f"Gateway {metadata['namespace']}/{metadata['name']}"] = _server(server)
        elif document["kind"] == "VirtualService":
            for protocol in ("http", "tls", "tcp"):
                for rule in spec.get(protocol, ()):
                    for port, bare in _by_port(rule):
                        place = f"{spec['gateways'][0]} {spec['hosts'][0]} {protocol} {port}".rstrip()
                        owner = f"{metadata['namespace']} " if spec["gateways"] == ["mesh"] else ""
                        found.setdefault(f"VirtualService {owner}{place}", []).append(_rule(bare))
        else:
            policy = _unnamed(spec["trafficPolicy"])
            found[f"DestinationRule {metadata['namespace']} {spec['host']}"] = policy
    return found


def _unnamed(policy: dict[str, Any]) -> dict[str, Any]:
    """Without the demand that a certificate be the server name's own: the API's word, not done by Istio."""
    tls = dict(policy.get("tls", {}))
    if tls and tls.get("subjectAltNames") == [tls.get("sni")]:
        del tls["subjectAltNames"]
    bare = policy | ({"tls": tls} if tls else {})
    if "portLevelSettings" in bare:
        bare["portLevelSettings"] = [_unnamed(row) for row in bare["portLevelSettings"]]
    return bare


def _server(server: dict[str, Any]) -> dict[str, Any]:
    if "tls" in server:
        server = {**server, "tls": {"mode": "PASSTHROUGH", **server["tls"]}}
    return server


def _by_port(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A rule for one port of a service apart from those for all."""
    matches = rule.get("match") or []
    if not (matches and "port" in matches[0]):
        yield "", rule
        return
    bare = [{key: value for key, value in match.items() if key != "port"} for match in matches]
    rest = {key: value for key, value in rule.items() if key != "match"}
    yield str(matches[0]["port"]), {**rest, "match": bare} if any(bare) else rest


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    rule = json.loads(json.dumps(rule))
    for row in rule.get("route", ()):
        row["destination"] = row["destination"] or {"host": NOWHERE}
    if rule.get("redirect", {}).get("derivePort") == "FROM_PROTOCOL_DEFAULT":
        del rule["redirect"]["derivePort"]
    for mirror in rule.get("mirrors", ()):
        if mirror.get("percentage") == {"value": 0}:
            mirror["percentage"] = {}
    return dict(rule)


def statuses(data: list[dict[str, Any]]) -> Meaning:
    """Every condition of every object, by where it stands: (status, reason). Counts of routes, kinds."""
    found: Meaning = {}
    for document in data:
        metadata = document["metadata"]
        name = f"{document['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        status = document.get("status") or {}
        found |= _conditions(name, status)
        for listener in status.get("listeners") or ():
            place = f"{name} listener {listener['name']}"
            found |= _conditions(place, listener)
            found[f"{place} attachedRoutes"] = listener["attachedRoutes"]
            found[f"{place} supportedKinds"] = [kind["kind"] for kind in listener["supportedKinds"]]
        for parent in status.get("parents") or ():
            found |= _conditions(f"{name} parent {_reference(parent['parentRef'])}", parent)
        for ancestor in status.get("ancestors") or ():
            found |= _conditions(f"{name} ancestor {_reference(ancestor['ancestorRef'])}", ancestor)
        if "attachedListenerSets" in status:
            found[f"{name} attachedListenerSets"] = status["attachedListenerSets"]
    return found


def status_documents(made: Conversion) -> list[dict[str, Any]]:
    found = []
    for key, status in made.statuses.items():
        kind, namespace, name = key.split("/")
        kind = kind.partition(".")[0]
        space = "" if kind == "GatewayClass" else namespace
        found.append({"kind": kind, "metadata": {"name": name, "namespace": space}, "status": status})
    return found


def _conditions(place: str, holder: Mapping[str, Any]) -> Meaning:
    return {
        f"{place} {row['type']}": (row["status"], row["reason"]) for row in holder.get("conditions") or ()
    }


def _reference(reference: Mapping[str, Any]) -> str:
    parts = (reference.get("kind", "Gateway"), reference.get("namespace", ""), reference["name"])
    more = (reference.get("sectionName", ""), reference.get("port", ""))
    return "/".join(str(part).replace("istio-system", "meshlite-system") for part in (*parts, *more))


def differences(wanted: Meaning, given: Meaning) -> Iterator[str]:
    for place in sorted({*wanted, *given}):
        if wanted.get(place) != given.get(place):
            yield f"{place}: {_short(wanted, place)} -> {_short(given, place)}"


def _short(side: Meaning, place: str) -> str:
    return json.dumps(side[place], sort_keys=True) if place in side else "-"
