"""Who somebody is, and what that lets him do."""

from __future__ import annotations

import pytest

from meshlite.server.auth import (
    STRANGER,
    Caller,
    Peer,
    Role,
    from_certificate,
    from_local,
    permit,
)
from meshlite.server.refusal import Refusal

DOMAINS = ("cluster.local", "former.mesh")
NODE = Caller("node web-1", frozenset({Role.ANYONE, Role.NODE}), "web-1")


@pytest.mark.parametrize(
    ("peer", "group", "admin"),
    [
        (Peer(0, frozenset({0})), None, True),
        (Peer(500, frozenset({500})), None, True),  # the server's own user
        (Peer(1000, frozenset({1000})), None, False),
        (Peer(1000, frozenset({1000, 42})), 42, True),
        (Peer(1000, frozenset({1000})), 42, False),
    ],
)
def test_the_local_socket_serves_root_the_owner_and_the_group(
    peer: Peer, group: int | None, admin: bool
) -> None:
    caller = from_local(peer, own_uid=500, group=group)
    assert (Role.ADMIN in caller.roles) == admin
    assert (caller == STRANGER) == (not admin)


def test_a_certificate_is_a_nodes_while_the_node_is_joined() -> None:
    uri = "spiffe://cluster.local/node/web-1"
    caller = from_certificate([uri], 1000.0, DOMAINS, lambda _: 1300.0)
    assert caller == NODE
    for joined in (None, 1302.0):
        with pytest.raises(Refusal) as refusal:
            from_certificate([uri], 1000.0, DOMAINS, lambda _, joined=joined: joined)
        assert refusal.value.status == 401


def test_a_certificate_of_an_alias_of_the_trust_domain_counts() -> None:
    uri = "spiffe://former.mesh/node/web-1"
    assert from_certificate([uri], 1000.0, DOMAINS, lambda _: 1000.0) == NODE


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://cluster.local/ns/shop/sa/reviews"],
        ["spiffe://elsewhere/node/web-1"],
        ["https://cluster.local/node/web-1"],
        ["spiffe://cluster.local/node/web-1", "spiffe://cluster.local/node/web-2"],
        ["spiffe://cluster.local/server"],
    ],
)
def test_other_certificates_are_nobodys(uris: list[str]) -> None:
    with pytest.raises(Refusal) as refusal:
        from_certificate(uris, 1000.0, DOMAINS, lambda _: 0.0)
    assert refusal.value.status == 401


def test_permission_is_by_role_and_own_node_by_path() -> None:
    permit(STRANGER, {Role.ANYONE})
    permit(NODE, {Role.NODE})
    permit(NODE, {Role.OWN_NODE, Role.ADMIN}, "web-1")
    viewer = Caller("token of ann", frozenset({Role.ANYONE, Role.VIEWER}))
    permit(viewer, {Role.VIEWER, Role.NODE})
    for caller, allowed, node, status, said in [
        (STRANGER, {Role.VIEWER}, "", 401, "who are you"),
        (NODE, {Role.OWN_NODE}, "web-2", 403, "only act for itself"),
        (NODE, {Role.ADMIN}, "", 403, "may not do this"),
        (viewer, {Role.OPERATOR}, "", 403, "token of ann may not"),
        (viewer, {Role.OWN_NODE, Role.ADMIN}, "", 403, "token of ann may not"),
    ]:
        with pytest.raises(Refusal, match=said) as refusal:
            permit(caller, allowed, node)
        assert refusal.value.status == status
