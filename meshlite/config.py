"""Settings, read once at the front door and passed on as one frozen object; every default port and path."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from meshlite.places import DEFAULT_FILE, NODE_NAME, RUN, STATE, Folders, kept_node


def _network(written: str) -> str:
    try:
        network = ipaddress.IPv4Network(written)
    except ValueError as error:
        raise PydanticCustomError("network", "is no IPv4 network: {why}", {"why": str(error)}) from error
    if network.prefixlen > 22 or network.is_loopback or network.is_multicast:
        raise PydanticCustomError("network", "must be an IPv4 network of at least 1024 addresses")
    return written


def _network6(written: str) -> str:
    try:
        ipaddress.IPv6Network(written)
    except ValueError as error:
        raise PydanticCustomError("network", "is no IPv6 network: {why}", {"why": str(error)}) from error
    return written


def _absolute(written: Path) -> Path:
    if not written.is_absolute():
        raise PydanticCustomError("path", "must be an absolute path")
    return written


PortNumber = Annotated[int, Field(ge=1, le=65535)]
TrustDomain = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$")]
Network = Annotated[str, AfterValidator(_network)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ports(_Settings):
    """TCP ports. `outbound` and `inbound` are opened inside every captured namespace."""

    server: PortNumber = 7443
    dashboard: PortNumber = 7080
    tunnel: PortNumber = 15008
    outbound: PortNumber = 15001
    inbound: PortNumber = 15006
    agent: PortNumber = 15020

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        used = Counter(dict(self).values())
        if twice := [name for name, port in self if used[port] > 1]:
            reason = "each needs a port of its own: {names}"
            raise PydanticCustomError("twice", reason, {"names": ", ".join(twice)})
        return self


class Paths(_Settings):
    """`state` survives a reboot; `run` does not and holds sockets, mounts and pid files.

    `credentials`: certificates for gateways, in folders `<namespace>/<name>`.
    """

    state: AbsolutePath = STATE
    run: AbsolutePath = RUN
    credentials: AbsolutePath = Path("/etc/meshlite/credentials")
    daemon_json: AbsolutePath = Path("/etc/docker/daemon.json")
    docker_socket: AbsolutePath = Path("/var/run/docker.sock")

    @property
    def admin_socket(self) -> Path:
        """Where the server serves the CLI."""
        return Folders(self.state, self.run).admin_socket

    @property
    def agent_socket(self) -> Path:
        """Where the agent answers the CLI."""
        return Folders(self.state, self.run).agent_socket

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

    node: str = Field(
        default_factory=socket.gethostname,
        pattern=NODE_NAME,
        description="this host's name in the mesh",
    )
    locality: str = Field(
        default="",
        pattern=r"^$|^[^/*]+(/[^/*]+){0,2}$",
        description="where this host is: region/zone/subzone",
    )
    address: str = Field(
        default="", description="where other hosts reach this one; empty: found out from its routes"
    )
    same_host: Literal["direct", "mtls"] = Field(
        default="direct",
        description="calls within a host: in one pass, or through its tunnel",
    )
    workloads: Path | None = Field(
        default=None, description="a folder of YAML files that say what runs here, in place of containers"
    )
    trust_domain: TrustDomain = "cluster.local"
    outbound_traffic_policy: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = Field(
        default="ALLOW_ANY", description="calls to what the mesh does not know: passed through, or refused"
    )
    server: str = Field(
        default="",
        pattern=r"^$|^https://[^\s/]+/?$",
        description="URL of the central server, https://<host>:<port>; empty: the one on this host",
    )
    server_address: str = Field(
        default="127.0.0.1", pattern=r"^[A-Za-z0-9.:_-]+$", description="address the server's API listens on"
    )
    ports: Ports = Ports()
    paths: Paths = Paths()
    hook: bool = Field(default=True, description="capture by the container runtime's hook, else by events")
    fail_closed: bool = Field(default=False, description="a container that cannot be captured must not start")
    proxy_uid: int = Field(default=15001, ge=1, lt=2**32 - 1, description="user id of the node proxy")
    proxy_mark: int = Field(
        default=0x6D6C, ge=1, lt=2**32, description="SO_MARK of all connections the node proxy opens"
    )
    proxy_concurrency: int = Field(
        default=0, ge=0, le=1024, description="worker threads; 0: one for each core, at most 4"
    )
    virtual_network: Network = Field(default="240.240.0.0/16", description="addresses of services")
    virtual_network6: Annotated[str, AfterValidator(_network6)] = Field(
        default="fd6d:6c00::/96",
        pattern="^[0-9a-fA-F:]+/96$",
        description="their IPv6 forms: a /96 that ends in the IPv4 address",
    )
    link_network: Network = Field(default="169.254.0.0/16", description="addresses of private links")
    trust_domain_aliases: tuple[TrustDomain, ...] = Field(
        default=(),
        description="other trust domains that count as this mesh's own: in policies, as certificates",
    )
    path_normalization: Literal["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = Field(
        default="BASE", description="what is made plain in paths before policies and routes look at them"
    )
    extension_providers: tuple[dict[str, object], ...] = Field(
        default=(), description="services that policies with action CUSTOM ask, in Istio's words"
    )
    envoy_filter: Literal["confined", "trusted"] = Field(
        default="confined", description="whether EnvoyFilter and Lua may reach files and programs of the host"
    )
    lease_seconds: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="a silent node is gone after this time"
    )
    service_linger_seconds: float = Field(
        default=600.0,
        ge=0,
        allow_inf_nan=False,
        description="a service without containers is forgotten after this time",
    )
    audit_entries: int = Field(default=10_000, ge=100, le=1_000_000, description="kept by the audit log")
    certificate_hours: float = Field(
        default=24.0, gt=0, le=87_600, allow_inf_nan=False, description="lifetime of workload certificates"
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        virtual, links = ipaddress.IPv4Network(self.virtual_network), ipaddress.IPv4Network(self.link_network)
        if virtual.overlaps(links):
            reason = (
                "virtual_network {one} and link_network {other} overlap: services and links need their own"
            )
            raise PydanticCustomError("overlap", reason, {"one": str(virtual), "other": str(links)})
        return self


def load(file: Path | None, environ: Mapping[str, str], **flags: object) -> Settings:
    """Settings from `file` (YAML), then `MESHLITE_<NAME>`, then flags that are not None.

    The default file may be absent. Raises ValueError with a line for each fault: file or variable, key,
    reason.
    """
    path = file or Path(environ.get("MESHLITE_CONFIG", DEFAULT_FILE))
    values = _written(path, wanted=file is not None)
    origins = {}
    for name in Settings.model_fields:
        if (value := environ.get(variable := f"MESHLITE_{name.upper()}")) is not None:
            values[name], origins[name] = value, variable
    paths = values.get("paths")
    folders = dict(paths) if isinstance(paths, dict) else {}
    for key in ("state", "run"):
        if (value := environ.get(variable := f"MESHLITE_{key.upper()}_DIR")) is not None:
            folders[key], origins[f"paths.{key}"] = value, variable
    if folders and (paths is None or isinstance(paths, dict)):
        values["paths"] = folders
    values |= {name: value for name, value in flags.items() if value is not None}
    state = folders.get("state", STATE)
    if "node" not in values and isinstance(state, str | Path) and (kept := kept_node(Path(state))):
        values["node"] = kept
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(_faults(error, path, origins))) from error


def _written(path: Path, wanted: bool) -> dict[str, object]:
    """What the file says; nothing where it is absent and not `wanted`."""
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        if wanted:
            raise ValueError(f"{path}: no such file") from error
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected keys and values, found {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def _faults(error: ValidationError, path: Path, origins: Mapping[str, str]) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        source = f"{origins[where]}: " if where in origins else f"{path}: {where}: " if where else f"{path}: "
        yield source + _reason(fault["type"], fault["msg"], where, fault["input"])


def _reason(kind: str, message: str, where: str, written: object) -> str:
    if kind == "extra_forbidden":
        group, _, key = where.rpartition(".")
        groups: dict[str, type[_Settings]] = {"ports": Ports, "paths": Paths}
        known = groups.get(group, Settings).model_fields
        near = get_close_matches(key, known, n=1)
        return f"there is no such setting{f' (did you mean {near[0]}?)' if near else ''}"
    if isinstance(written, str | int | float):
        shown = repr(written)
        return f"{message}, not {shown if len(shown) <= 80 else shown[:77] + '...'}"
    return message


def from_process(file: Path | None = None, **flags: object) -> Settings:
    """`load` with this process's environment."""
    return load(file, os.environ, **flags)
