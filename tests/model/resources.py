"""Short ways to say a resource in tests, and to ask what is wrong with it."""

from __future__ import annotations

from textwrap import dedent, indent

from meshlite.model.documents import read
from meshlite.model.validate import validate
from meshlite.model.wire import Document

API = {
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "ServiceEntry": "networking.istio.io/v1",
    "WorkloadEntry": "networking.istio.io/v1",
    "WorkloadGroup": "networking.istio.io/v1",
    "Gateway": "networking.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "RequestAuthentication": "security.istio.io/v1",
    "Telemetry": "telemetry.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
    "ProxyConfig": "networking.istio.io/v1beta1",
    "WasmPlugin": "extensions.istio.io/v1alpha1",
    "TrafficExtension": "extensions.istio.io/v1alpha1",
    "GatewayClass": "gateway.networking.k8s.io/v1",
    "ListenerSet": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "TLSRoute": "gateway.networking.k8s.io/v1",
    "TCPRoute": "gateway.networking.k8s.io/v1",
    "ReferenceGrant": "gateway.networking.k8s.io/v1",
    "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
}


def document(kind: str, spec: str, namespace: str = "shop") -> Document:
    """The resource `kind` with `spec`, its YAML."""
    head = f"apiVersion: {API[kind]}\nkind: {kind}\nmetadata: {{name: it, namespace: {namespace}}}\nspec:\n"
    reading = read(head + indent(dedent(spec).strip("\n"), "  ") + "\n", "it.yaml")
    assert not reading.rejections, reading.rejections
    return reading.documents[0]


def refused(kind: str, spec: str, namespace: str = "shop") -> dict[str, str]:
    """Field -> reason of everything that keeps the resource from being applied."""
    return {found.field: found.reason for found in validate(document(kind, spec, namespace)).rejections}


def warned(kind: str, spec: str, namespace: str = "shop") -> tuple[str, ...]:
    verdict = validate(document(kind, spec, namespace))
    assert not verdict.rejections, verdict.rejections
    return verdict.warnings
