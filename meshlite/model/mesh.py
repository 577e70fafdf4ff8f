"""The mesh at one version: what agents receive and translate. Frozen, with look-ups for every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

from pydantic import Field

from meshlite.model.names import GATEWAY_API as GATEWAY_API
from meshlite.model.names import fqdn
from meshlite.model.names import kind_key as kind_key
from meshlite.model.networking.sidecar import OutboundMode
from meshlite.model.provider import ExtensionProvider
from meshlite.model.workload import Frozen, Port, Workload


class Service(Frozen):
    """A name that callers use, with its stable address. Its endpoints come from its workloads.

    `ports` and `export_to` are what its workloads said last. They hold while none is there: the restart of an
    only replica changes endpoints and nothing else.
    """

    name: str
    namespace: str
    address: str
    ports: tuple[Port, ...] = ()
    export_to: tuple[str, ...] = Field(default=(), description="namespaces that see it; empty: all")

    @property
    def fqdn(self) -> str:
        return fqdn(self.name, self.namespace)


class KeySet(Frozen):
    """The public keys of an issuer of tokens, as its URL last gave them: a JSON Web Key Set."""

    uri: str
    keys: str


PathNormalization = Literal["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]
"""What is made plain in a request's path before anything looks at it; Istio's words, BASE by default.

Source: https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization
"""


class MeshSettings(Frozen):
    """What the mesh's configuration says of policies, everywhere alike."""

    trust_domain_aliases: tuple[str, ...] = ()
    path_normalization: PathNormalization = "BASE"
    extension_providers: tuple[ExtensionProvider, ...] = ()
    envoy_filter: Literal["confined", "trusted"] = Field(
        default="confined", description="whether EnvoyFilter and Lua may reach files and programs of the host"
    )


class Trust(Frozen):
    """Whom nodes believe. `roots`: PEM; `signer`: what signs now, SHA-256 of its certificate's DER in hex."""

    roots: str = ""
    signer: str = ""


class NodeRecord(Frozen):
    """A host with an agent. `projects`: the Compose projects it puts into the mesh; `everything`: all.

    `address`: where other nodes reach it; `tunnel`: the port for their calls, 0 while it has said none.
    """

    name: str
    address: str = ""
    tunnel: int = 0
    projects: tuple[str, ...] = ()
    everything: bool = False


class Resource(Frozen):
    """A stored resource, as the user wrote it (spec untouched), with what the store adds.

    `sequence` is the order of first application, over the whole mesh: Istio's "oldest wins" without clocks.
    `generation` counts changes of this resource. `spec` was valid when it was stored; translate parses it
    into the typed model. `status` is made for readers, for kinds that have one; it is never stored.
    """

    api_version: str
    kind: str
    name: str
    namespace: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: dict[str, object] = {}
    status: dict[str, object] = {}
    generation: int = 1
    sequence: int = 0

    @property
    def api_group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def kind_key(self) -> str:
        """The kind; with its group where Istio has a kind of that name, too: `Gateway`."""
        return kind_key(self.api_group, self.kind) if self.kind == "Gateway" else self.kind

    @property
    def key(self) -> str:
        return f"{self.kind_key}/{self.namespace}/{self.name}"


class HostAddress(Frozen):
    """The virtual address of a host that a ServiceEntry of `namespace` declares."""

    host: str
    namespace: str
    address: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.host}"


class Problem(Frozen):
    """What is wrong with one resource, said to a person. It stays with that resource; the rest goes on."""

    resource: str = Field(description="Resource.key, or another name the user knows, e.g. a container's")
    reason: str


class Snapshot(Frozen):
    """The whole mesh state. `version` is a hash of the content: equal versions mean equal state."""

    version: str = ""
    trust_domain: str = "cluster.local"
    outbound_traffic_policy: OutboundMode = "ALLOW_ANY"
    nodes: tuple[NodeRecord, ...] = ()
    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    resources: tuple[Resource, ...] = ()
    hosts: tuple[HostAddress, ...] = ()
    settings: MeshSettings = MeshSettings()
    key_sets: tuple[KeySet, ...] = ()
    trust: Trust = Trust()

    @cached_property
    def services_by_fqdn(self) -> Mapping[str, Service]:
        return {service.fqdn: service for service in self.services}

    @cached_property
    def workloads_by_service(self) -> Mapping[str, tuple[Workload, ...]]:
        grouped: dict[str, list[Workload]] = {}
        for workload in self.workloads:
            grouped.setdefault(workload.service_fqdn, []).append(workload)
        return {name: tuple(group) for name, group in grouped.items()}

    def resources_of(self, kind: str) -> Iterable[Resource]:
        """All resources of a kind, first applied first."""
        return sorted((r for r in self.resources if r.kind == kind), key=lambda r: r.sequence)

    def node(self, name: str) -> NodeRecord | None:
        return next((node for node in self.nodes if node.name == name), None)
