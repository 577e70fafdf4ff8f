"""Who calls, and what they may do. Pure: what the socket says of the peer comes in as values.

A caller is whoever the kernel vouches for on the local socket, a node with its certificate, or a person with
a bearer token and the role that it was made for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from meshlite.model.identity import node_identity
from meshlite.server.ca import BACKDATED
from meshlite.server.refusal import Refusal

GROUP = "meshlite"
"""The local group whose members may do what root may."""


class Role(StrEnum):
    """What a caller may be to the server. A route names those that it serves."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    NODE = "node"
    OWN_NODE = "own node"  # a node, on a path that names itself


_LADDER = (Role.ANYONE, Role.VIEWER, Role.OPERATOR, Role.ADMIN)
"""Each may do what those before it may."""


@dataclass(frozen=True)
class Caller:
    """`name` is for logs and history; `node` is set for nodes only."""

    name: str
    roles: frozenset[Role]
    node: str = ""


STRANGER = Caller("a stranger", frozenset({Role.ANYONE}))


@dataclass(frozen=True)
class Peer:
    """The process at the other end of the local socket (SO_PEERCRED, SO_PEERGROUPS; see unix(7))."""

    uid: int
    groups: frozenset[int]


def from_local(peer: Peer, own_uid: int, group: int | None) -> Caller:
    """Root, the server's own user and members of the group are admin; others nobody."""
    if peer.uid not in (0, own_uid) and group not in peer.groups:
        return STRANGER
    return Caller(f"uid {peer.uid} on the local socket", frozenset(_LADDER))


def person(name: str, role: str) -> Caller:
    """Somebody with a bearer token for this role."""
    return Caller(name, frozenset(_LADDER[: _LADDER.index(Role(role)) + 1]))


def bearer(header: str) -> str:
    """The token of an Authorization header (RFC 6750, section 2.1). Refusal (401) for another scheme."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(HTTPStatus.UNAUTHORIZED, "the Authorization header has no bearer token")
    return token.strip()


def from_certificate(
    uris: Collection[str],
    not_before: float,
    trust_domains: Collection[str],
    joined: Callable[[str], float | None],
) -> Caller:
    """A node, from the names in its verified certificate and its start of validity.

    `trust_domains`: the mesh's own, and those that mean the same. `joined` tells when a node joined last: a
    removed node has no say any more, nor has a certificate that is older than that.
    """
    match = re.fullmatch(r"spiffe://([^/]+)/node/(.+)", next(iter(uris))) if len(uris) == 1 else None
    if match is None or match[1] not in trust_domains:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "the client certificate is not that of a node of this mesh",
            "use the node's own certificate, not that of a workload",
        )
    node = match[2]
    since = joined(node)
    # Certificates carry whole seconds.
    if since is None or not_before + BACKDATED + 1 < since:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            f"node {node} was removed, or joined anew since this certificate was made",
            "join again with a new token",
        )
    return Caller(f"node {node}", frozenset({Role.ANYONE, Role.NODE}), node)


def permit(caller: Caller, allowed: Collection[Role], node: str = "") -> None:
    """Raise Refusal unless the caller has one of the roles. `node`: the one that the path names."""
    roles = caller.roles | ({Role.OWN_NODE} if caller.node and caller.node == node else set())
    if roles & set(allowed):
        return
    if caller == STRANGER:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "who are you? This needs a bearer token, a node's certificate or the local socket",
            f"from elsewhere use a token (meshlite access create); on the server's host, as root or in group "
            f"{GROUP}, the local socket; a node joins first",
        )
    wanted = " or ".join(sorted(allowed))
    if Role.OWN_NODE in allowed and caller.node:
        raise Refusal(HTTPStatus.FORBIDDEN, f"{caller.name} may only act for itself, not for node {node}")
    raise Refusal(HTTPStatus.FORBIDDEN, f"{caller.name} may not do this", f"it takes: {wanted}")


def check_node_name(name: str) -> str:
    """The name itself; Refusal (400) for one that cannot be a host's."""
    try:
        node_identity("any", name)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    return name
