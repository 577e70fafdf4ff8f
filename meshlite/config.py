"""Settings, read once at the front door and passed on as one frozen object; every default port and path."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

DEFAULT_FILE = Path("/etc/meshlite/meshlite.yaml")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ports(_Settings):
    """TCP ports. `outbound` and `inbound` are opened inside every captured namespace."""

    server: int = 7443
    dashboard: int = 7080
    tunnel: int = 15008
    outbound: int = 15001
    inbound: int = 15006
    agent: int = 15020


class Paths(_Settings):
    """`state` survives a reboot; `run` does not and holds sockets, mounts and pid files.

    `credentials`: certificates for gateways, in folders `<namespace>/<name>`.
    """

    state: Path = Path("/var/lib/meshlite")
    run: Path = Path("/run/meshlite")
    credentials: Path = Path("/etc/meshlite/credentials")
    daemon_json: Path = Path("/etc/docker/daemon.json")
    docker_socket: Path = Path("/var/run/docker.sock")

    @property
    def admin_socket(self) -> Path:
        """Where the server serves the CLI."""
        return self.run / "admin.sock"

    @property
    def hook_socket(self) -> Path:
        """Where the agent answers the container runtime's hook."""
        return self.run / "hook.sock"

    @property
    def xds_socket(self) -> Path:
        return self.run / "proxy" / "xds.sock"

    @property
    def proxy_admin_socket(self) -> Path:
        return self.run / "proxy" / "admin.sock"

    @property
    def namespaces(self) -> Path:
        """Folder of the agent's own bind mounts of network namespaces."""
        return self.run / "netns"

    @property
    def modules(self) -> Path:
        """WebAssembly modules as the node proxy reads them; its user must get there."""
        return self.run / "modules"

    @property
    def database(self) -> Path:
        return self.state / "server" / "meshlite.db"

    @property
    def agent_state(self) -> Path:
        return self.state / "agent"


class Settings(_Settings):
    """Everything a process of meshlite may be told from outside."""

    node: str = Field(default_factory=socket.gethostname, description="this host's name in the mesh")
    locality: str = Field(
        default="",
        pattern=r"^$|^[^/*]+(/[^/*]+){0,2}$",
        description="where this host is: region/zone/subzone",
    )
    trust_domain: str = "cluster.local"
    outbound_traffic_policy: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = Field(
        default="ALLOW_ANY", description="calls to what the mesh does not know: passed through, or refused"
    )
    server: str = Field(default="", description="URL of the central server; empty: the one on this host")
    server_address: str = Field(default="127.0.0.1", description="address the server's API listens on")
    ports: Ports = Ports()
    paths: Paths = Paths()
    hook: bool = Field(default=True, description="capture by the container runtime's hook, else by events")
    fail_closed: bool = Field(default=False, description="a container that cannot be captured must not start")
    proxy_uid: int = Field(default=15001, description="user id of the node proxy")
    proxy_mark: int = Field(default=0x6D6C, description="SO_MARK of all connections the node proxy opens")
    proxy_concurrency: int = Field(default=0, description="worker threads; 0: one for each core, at most 4")
    virtual_network: str = Field(default="240.240.0.0/16", description="addresses of services")
    virtual_network6: str = Field(
        default="fd6d:6c00::/96",
        pattern="^[0-9a-fA-F:]+/96$",
        description="their IPv6 forms: a /96 that ends in the IPv4 address",
    )
    link_network: str = Field(default="169.254.0.0/16", description="addresses of private links")
    trust_domain_aliases: tuple[str, ...] = Field(
        default=(), description="other trust domains that policies mean by this mesh's own"
    )
    path_normalization: Literal["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = Field(
        default="BASE", description="what is made plain in paths before policies and routes look at them"
    )
    extension_providers: tuple[dict[str, object], ...] = Field(
        default=(), description="services that policies with action CUSTOM ask, in Istio's words"
    )
    lease_seconds: float = Field(default=10.0, gt=0, description="a silent node is gone after this time")
    service_linger_seconds: float = Field(
        default=600.0, ge=0, description="a service without containers is forgotten after this time"
    )
    audit_entries: int = Field(default=10_000, ge=100, le=1_000_000, description="kept by the audit log")
    certificate_hours: float = Field(default=24.0, gt=0, description="lifetime of workload certificates")


def load(file: Path | None, environ: Mapping[str, str], **flags: object) -> Settings:
    """Settings from `file` (YAML), then `MESHLITE_<NAME>`, then flags that are not None.

    The default file may be absent. Raises ValueError with the file, the key and the reason in one sentence.
    """
    path = file or Path(environ.get("MESHLITE_CONFIG", DEFAULT_FILE))
    values: dict[str, object] = {}
    if path.exists():
        try:
            values = yaml.safe_load(path.read_text()) or {}
        except (yaml.YAMLError, OSError) as error:
            raise ValueError(f"{path}: cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path}: expected keys and values, found {type(values).__name__}")
    elif file is not None:
        raise ValueError(f"{path}: no such file")
    for name in Settings.model_fields:
        if (value := environ.get(f"MESHLITE_{name.upper()}")) is not None:
            values[name] = value
    paths = dict(values.get("paths") or {})  # type: ignore[call-overload]
    for key in ("state", "run"):
        if (value := environ.get(f"MESHLITE_{key.upper()}_DIR")) is not None:
            paths[key] = value
    values |= {"paths": paths} if paths else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}") from error


def from_process(file: Path | None = None, **flags: object) -> Settings:
    """`load` with this process's environment."""
    return load(file, os.environ, **flags)
