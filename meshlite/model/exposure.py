"""Ways in and out in short, turned into the Gateways and VirtualServices that they stand for. Pure.

Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/ingress-control/ and
https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from meshlite.model.mesh import Resource
from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.shorthand import OWNED, Change, NotOurs, Target, subset_name, written

EGRESS = "istio-egressgateway.istio-system.svc.cluster.local"

Leaving = Literal["https", "http", "originate"]
"""What an application speaks to an outside host: TLS, plain HTTP, or HTTP of which the gateway makes TLS."""


@dataclass(frozen=True)
class Exposure:
    """A service at the node's ingress gateway. `credential`: of its certificate; empty: plain text.

    `service_port` 0: its only one. `redirect`: port 80 answers with a redirect to https. `tcp`: bytes are
    passed on as they are.
    """

    target: Target
    hosts: tuple[str, ...] = ("*",)
    port: int = 80
    service_port: int = 0
    credential: str = ""
    path: str = ""
    redirect: bool = False
    tcp: bool = False

    @property
    def name(self) -> str:
        return f"{subset_name(self.target.name)[:50]}-exposed".lower()

    def resources(self) -> tuple[Resource, ...]:
        gateway: dict[str, object] = {
            "selector": {"istio": "ingressgateway"},
            "servers": list(self._servers()),
        }
        routes = {"tcp" if self.tcp else "http": [self._rule()]}
        service: dict[str, object] = {"hosts": list(self.hosts), "gateways": [self.name], **routes}
        return (
            written("Gateway", self.name, self.target.namespace, gateway),
            written("VirtualService", self.name, self.target.namespace, service),
        )

    def _servers(self) -> Iterator[dict[str, Any]]:
        hosts, protocol = list(self.hosts), "TCP" if self.tcp else "HTTP"
        if self.credential:
            protocol = "TLS" if self.tcp else "HTTPS"
        server: dict[str, Any] = {
            "port": {"number": self.port, "name": protocol.lower(), "protocol": protocol},
            "hosts": hosts,
        }
        if self.credential:
            server["tls"] = {"mode": "SIMPLE", "credentialName": self.credential}
        if self.redirect:
            plain = {"number": 80, "name": "redirect", "protocol": "HTTP"}
            yield {"port": plain, "hosts": hosts, "tls": {"httpsRedirect": True}}
        yield server

    def _rule(self) -> dict[str, Any]:
        destination: dict[str, Any] = {"host": self.target.name}
        if self.service_port:
            destination["port"] = {"number": self.service_port}
        rule: dict[str, Any] = {"route": [{"destination": destination}]}
        return {"match": [{"uri": {"prefix": self.path}}], **rule} if self.path else rule


@dataclass(frozen=True)
class Egress:
    """An outside host that is called through the node's egress gateway."""

    host: str
    speaks: Leaving = "https"
    port: int = 0

    @property
    def name(self) -> str:
        return f"{subset_name(self.host)[:55]}-egress".lower()

    @property
    def number(self) -> int:
        """The port that applications dial."""
        return self.port or (443 if self.speaks == "https" else 80)

    def resources(self) -> tuple[Resource, ...]:
        """Those of Istio's tasks for egress gateways; they are for the whole mesh."""
        made = [
            ("ServiceEntry", self._entry()),
            ("Gateway", self._gateway()),
            ("VirtualService", self._routes()),
        ]
        if self.speaks == "originate":
            tls = {"mode": "SIMPLE", "sni": self.host, "subjectAltNames": [self.host]}
            policy: dict[str, object] = {"portLevelSettings": [{"port": {"number": 443}, "tls": tls}]}
            made.append(("DestinationRule", {"host": self.host, "trafficPolicy": policy}))
        return tuple(written(kind, self.name, ROOT_NAMESPACE, spec) for kind, spec in made)

    @property
    def _protocol(self) -> str:
        return "TLS" if self.speaks == "https" else "HTTP"

    def _entry(self) -> dict[str, object]:
        ports = [{"number": self.number, "name": self._protocol.lower(), "protocol": self._protocol}]
        if self.speaks == "originate":
            ports.append({"number": 443, "name": "https", "protocol": "HTTPS"})
        return {"hosts": [self.host], "ports": ports, "resolution": "DNS", "location": "MESH_EXTERNAL"}

    def _gateway(self) -> dict[str, object]:
        port = {"number": self.number, "name": self._protocol.lower(), "protocol": self._protocol}
        server: dict[str, object] = {"port": port, "hosts": [self.host]}
        if self.speaks == "https":
            server["tls"] = {"mode": "PASSTHROUGH"}
        return {"selector": {"istio": "egressgateway"}, "servers": [server]}

    def _routes(self) -> dict[str, object]:
        last = 443 if self.speaks == "originate" else self.number
        rules = [
            self._rule("mesh", EGRESS, self.number),
            self._rule(self.name, self.host, last),
        ]
        kind = "tls" if self.speaks == "https" else "http"
        return {"hosts": [self.host], "gateways": ["mesh", self.name], kind: rules}

    def _rule(self, gateway: str, host: str, port: int) -> dict[str, object]:
        match: dict[str, object] = {"gateways": [gateway], "port": self.number}
        if self.speaks == "https":
            match["sniHosts"] = [self.host]
        return {
            "match": [match],
            "route": [{"destination": {"host": host, "port": {"number": port}}}],
        }


def change(name: str, namespace: str, wanted: tuple[Resource, ...], resources: Iterable[Resource]) -> Change:
    """Apply these resources of the name, and delete what else shorthands have written under it.

    Raises NotOurs for what somebody else wrote.
    """
    keys = {resource.key for resource in wanted}
    delete = []
    for resource in resources:
        ours = OWNED in resource.annotations
        if resource.key in keys and not ours:
            raise NotOurs(resource.key)
        if resource.key not in keys and ours and (resource.name, resource.namespace) == (name, namespace):
            delete.append(resource.key)
    return Change(wanted, tuple(sorted(delete, reverse=True)))
