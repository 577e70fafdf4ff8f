"""What translate must know of its node, beside the snapshot: how each local workload is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Attachment:
    """One captured network namespace and the workloads in it (several only where containers share one).

    `path` is unique to each start; `link` the address of the namespace's end of its private link, empty while
    there is none; `owner` the workload whose identity the namespace's connections carry; `ipv6`: its loopback
    has ::1.
    """

    key: str
    path: str
    link: str
    owner: str
    workloads: tuple[str, ...]
    own_addresses: tuple[str, ...] = ()
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """A WebAssembly module that a filter needs. `sha256` in hex, of the image if it is in one; empty for any.

    `fresh`: what makes it worth looking for it again, although one from this URL is kept. `secret`: the
    credential (namespace/name) with the login to an image's registry.
    """

    url: str
    sha256: str = ""
    fresh: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class ModuleState:
    """Where the node has a module, or why it has none."""

    path: str = ""
    error: str = ""


@dataclass(frozen=True)
class NodeView:
    """The node's own side of a translation. Ports and mark repeat the settings; `dns` stays with Docker."""

    name: str
    attachments: tuple[Attachment, ...] = ()
    outbound_port: int = 15001
    inbound_port: int = 15006
    mark: int = 0x6D6C
    virtual_network: str = "240.240.0.0/16"
    virtual_network6: str = ""
    """Where services have IPv6 addresses too; empty where no workload of the node has any IPv6."""
    locality: str = ""
    host_workloads: dict[str, str] = field(default_factory=dict)
    """Workloads of the host's own namespace: id -> address to dial (loopback)."""
    modules: Mapping[Module, ModuleState] = field(default_factory=dict)
    """Those that were looked for; one that is not here yet is not there."""
    ipv6: bool = False
    """The host itself has IPv6, so a gateway can be opened on `::`."""
    tunnel: int = 15008
    """The port that other nodes call."""
    same_host: Literal["direct", "mtls"] = "direct"
    """Calls within the node: in one pass, or through the tunnel."""

    def with_host_workloads(self, found: dict[str, str]) -> NodeView:
        return replace(self, host_workloads=found)
