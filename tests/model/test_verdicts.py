"""Istio's verdicts, case by case, from the files in `verdicts/`: a new case is two lines there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshlite.model.located import Located, load
from meshlite.model.mesh import Resource
from meshlite.model.validate import validate
from meshlite.model.wire import Document
from tests.model.resources import API

KINDS = {
    "virtual_service": "VirtualService",
    "destination_rule": "DestinationRule",
    "gateway": "Gateway",
    "peer_authentication": "PeerAuthentication",
    "service_entry": "ServiceEntry",
    "workload_entry": "WorkloadEntry",
    "workload_group": "WorkloadGroup",
    "authorization_policy": "AuthorizationPolicy",
    "request_authentication": "RequestAuthentication",
    "telemetry": "Telemetry",
    "sidecar": "Sidecar",
    "envoy_filter": "EnvoyFilter",
    "proxy_config": "ProxyConfig",
    "wasm_plugin": "WasmPlugin",
    "traffic_extension": "TrafficExtension",
    "http_route": "HTTPRoute",
    "grpc_route": "GRPCRoute",
    "tls_route": "TLSRoute",
    "tcp_route": "TCPRoute",
    "reference_grant": "ReferenceGrant",
    "backend_tls_policy": "BackendTLSPolicy",
    "listener_set": "ListenerSet",
    "gateway_class": "GatewayClass",
}


@dataclass(frozen=True)
class Case:
    kind: str
    line: int
    spec: Any
    prefix: str
    refused: dict[str, str]
    warned: dict[str, str]

    def __str__(self) -> str:
        return f"{self.kind}:{self.line}"


def cases() -> list[Case]:
    found = []
    for path in sorted((Path(__file__).parent / "verdicts").glob("*.yaml")):
        [document] = load(path.read_text())
        assert isinstance(document, Located)
        assert isinstance(document.value, list)
        for place, case in enumerate(document.value):
            spec, prefix = case.get("spec"), ""
            if "http" in case:
                spec, prefix = {"hosts": ["a"], "http": [case["http"]]}, "spec.http[0]"
            elif "policy" in case:
                spec, prefix = {"host": "a", "trafficPolicy": case["policy"]}, "spec.trafficPolicy"
            elif "server" in case:
                spec, prefix = {"servers": [case["server"]]}, "spec.servers[0]"
            elif "jwt" in case:
                spec, prefix = {"jwtRules": [case["jwt"]]}, "spec.jwtRules[0]"
            elif "rule" in case:
                spec, prefix = {"rules": [case["rule"]]}, "spec.rules[0]"
            elif "listener" in case:
                listener = {"name": "a", "port": 80, "protocol": "HTTP", **case["listener"]}
                spec, prefix = {"parentRef": {"name": "g"}, "listeners": [listener]}, "spec.listeners[0]"
            line = document.lines[place,]
            verdicts = case.get("refused", {}), case.get("warned", {})
            found.append(Case(KINDS[path.stem], line, spec, prefix, *verdicts))
    return found


def judge(case: Case) -> tuple[dict[str, str], tuple[str, ...]]:
    resource = Resource(
        api_version=API[case.kind], kind=case.kind, name="it", namespace="shop", spec=case.spec
    )
    verdict = validate(Document(resource=resource, location="it.yaml:1"))
    fields = {}
    for found in verdict.rejections:
        fields[found.field.removeprefix(case.prefix).removeprefix(".") or "itself"] = found.reason
    return fields, verdict.warnings


@pytest.mark.parametrize("case", [case for case in cases() if case.refused], ids=str)
def test_what_is_refused(case: Case) -> None:
    fields, _ = judge(case)
    for field, words in case.refused.items():
        assert words in fields.get(field, ""), fields


@pytest.mark.parametrize("case", [case for case in cases() if case.warned], ids=str)
def test_what_is_only_warned_of(case: Case) -> None:
    fields, warnings = judge(case)
    assert fields == {}
    [warning] = warnings
    for field, words in case.warned.items():
        assert field in warning
        assert words in warning
