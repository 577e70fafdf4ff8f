"""Where a gateway takes connections from outside, and what becomes of each. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import NOTHING, Guard, Rules
from meshlite.translate.plan.listener import Entrance
from meshlite.translate.plan.patch import Patch

Clients = Literal["none", "optional", "required"]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How TLS is ended. `certificates` and `roots` are names of secrets; `roots` empty: clients show none.

    `names`, `keys`, `hashes`: which clients' certificates are taken, by their names, the hash of their key
    (base64) or of themselves (hex). `untrusted`: also those that nobody known has signed.
    """

    certificates: tuple[str, ...]
    roots: str = ""
    clients: Clients = "none"
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    untrusted: bool = False
    minimum: str = "TLSv1_2"
    maximum: str = ""
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayChain:
    """For TLS clients that ask for one of `server_names` (none: any) where `encrypted`, else for plain text.

    It follows the route table `table`, or passes bytes on to clusters by their `shares`.
    `targets`: what stands before connections to these.
    """

    name: str
    encrypted: bool = False
    server_names: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    tls: ServerTls | None = None
    table: str = ""
    shares: tuple[tuple[str, int], ...] = ()
    idle: timedelta | None = None
    hash_address: bool = False
    grpc_web: bool = False
    targets: tuple[Rules, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """One port of a gateway. `resources`: the Gateways that ask for it.

    `proxy_protocol`: connections begin with the PROXY protocol. `trusted_proxies`: how many entries of
    X-Forwarded-For, counted from the last, are of proxies of one's own. `guard`: what clients meet first,
    `extensions`: beside it.
    """

    entrance: Entrance
    chains: tuple[GatewayChain, ...]
    resources: tuple[str, ...]
    proxy_protocol: bool = False
    trusted_proxies: int = 0
    guard: Guard = NOTHING
    extensions: tuple[Extension, ...] = ()
    patches: tuple[Patch, ...] = ()
