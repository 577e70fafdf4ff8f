"""Workloads as sources find them and agents report them: what runs, who it is, where it is reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from meshlite.model import rate_limit as limits
from meshlite.model.identity import Identity
from meshlite.model.locality import PATTERN
from meshlite.model.names import fqdn

Health = Literal["starting", "healthy", "unhealthy", "draining"]
"""`healthy` gets traffic; `starting` (health check not yet passed), `unhealthy` and `draining` do not."""

Protocol = Literal[
    "http", "http2", "grpc", "grpc-web", "tcp", "tls", "https", "mongo", "mysql", "redis", "udp", "auto"
]
"""Istio's protocol names; `auto`: find out by looking at the first bytes."""

PortOrigin = Literal["label", "resource", "image", "exposed", "listening"]
"""Where a port's protocol was learnt, most trusted first; `describe` shows it."""


class Frozen(BaseModel):
    """Base of all wire and state records: immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Port(Frozen):
    number: int = Field(ge=1, le=65535)
    protocol: Protocol = "auto"
    name: str = ""
    origin: PortOrigin = "exposed"


class Workload(Frozen):
    """One running instance. `id` is unique in the mesh and new with every start."""

    id: str
    node: str
    name: str
    service: str
    namespace: str
    service_account: str = ""
    version: str = ""
    labels: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    addresses: tuple[str, ...] = Field(default=(), description="its own addresses, for recognition only")
    aliases: tuple[str, ...] = Field(default=(), description="other names that its namespace calls it")
    locality: str = Field(default="", pattern=PATTERN, description="region/zone/subzone; empty: not known")
    export_to: tuple[str, ...] = Field(default=(), description="namespaces that see its service; empty: all")
    rate_limit: str = Field(
        default="", pattern=limits.PATTERN, description="HTTP requests it takes, e.g. 100/s; empty: all"
    )
    health: Health = "healthy"
    source: str = "docker"
    captured: bool = Field(default=False, description="its traffic passes the node proxy")
    reason: str = Field(default="", description="why it is not captured, or only in part; empty: all well")

    @property
    def service_fqdn(self) -> str:
        return fqdn(self.service, self.namespace)

    @property
    def ready(self) -> bool:
        """It gets calls: it is well, has a port, and can be reached; what a resource declares counts so."""
        reached = bool(self.ports) and (self.captured or bool(self.addresses))
        return self.health == "healthy" and (reached or self.source == "resource")

    def identity(self, trust_domain: str) -> Identity:
        return Identity(trust_domain, self.namespace, self.service_account or self.service)


def shared_aliases(replicas: Iterable[Workload]) -> frozenset[str]:
    """Names that mean the service as a whole: those that each of its replicas has.

    What only some carry (a container's name, an alias of one version) means these alone, as it does without a
    mesh. What nobody calls (`compose run`) has no say.
    """
    said = [frozenset(one.aliases) for one in replicas if one.aliases or one.ports]
    return frozenset.intersection(*said) if said else frozenset()


class NetworkNamespace(Frozen):
    """How a node gets into a workload's network namespace; never leaves the node.

    `key` is the namespace's inode as text: containers that share one (`network_mode: service:x`) agree.
    """

    key: str
    path: str = Field(description="a file to open or bind-mount, e.g. /proc/<pid>/ns/net")
    pid: int = 0
    joined: bool = Field(default=False, description="another container's; that one's identity counts")
    ipv6: bool = Field(default=False, description="its loopback has ::1, so a listener can be opened there")


class Found(Frozen):
    """What a source yields for each workload: the record for the mesh and the node's own handles on it."""

    workload: Workload
    namespace: NetworkNamespace | None = Field(default=None, description="None: cannot be captured here")
    hosts_file: str = Field(default="", description="the file that is its /etc/hosts, seen from the host")
    project: str = Field(default="", description="the Compose project it belongs to")
    enable: bool | None = Field(default=None, description="its own word on membership; None: as its project")
    doubt: str = Field(default="", description="why its word on membership is not understood")
    interfaces: tuple[str, ...] = Field(
        default=(), description="own addresses with the length of their prefix"
    )
    bound: dict[int, str] = Field(default={}, description="ports it listens on at one own address only")
