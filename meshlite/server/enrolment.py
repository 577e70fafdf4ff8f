"""How nodes get in and who gets which certificate: tokens, joining, signing, records of what was signed."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import NoReturn

from meshlite.model import wire
from meshlite.model.identity import Identity, node_identity
from meshlite.model.mesh import NodeRecord
from meshlite.model.names import canonical_namespace
from meshlite.server import secret
from meshlite.server.auth import check_node_name
from meshlite.server.authorities import AuthorityBook
from meshlite.server.ca import CertificateAuthority, Leaf
from meshlite.server.clock import Clock
from meshlite.server.events import Events
from meshlite.server.mirror import Mirror, Write, parse, readable
from meshlite.server.records import CERTIFICATES, NODES, TOKENS, StoredNode, StoredToken
from meshlite.server.refusal import Refusal
from meshlite.server.registry import Registry
from meshlite.server.store import Store


class Enrolment:
    """Decides who may have a certificate, has it signed, and records it. Keys of others never come here."""

    def __init__(
        self,
        mirror: Mirror,
        store: Store,
        registry: Registry,
        authorities: AuthorityBook,
        events: Events,
        clock: Clock,
    ) -> None:
        self._authorities = authorities
        self.signed = 0
        """Certificates since the start."""
        self._mirror = mirror
        self._store = store
        self._registry = registry
        self._events = events
        self._clock = clock

    @property
    def authority(self) -> CertificateAuthority:
        """The one that signs now."""
        return self._authorities.current

    async def make_token(self, request: wire.TokenRequest, author: str) -> wire.Token:
        """A new secret; only its hash is kept."""
        if request.node:
            check_node_name(request.node)
        made, now = secret.new(), self._clock.wall()
        name, expires = secret.digest(made), now + request.ttl_seconds
        namespaces = request.namespaces
        if namespaces is not None:
            namespaces = tuple(sorted({canonical_namespace(namespace) for namespace in namespaces}))
        stored = StoredToken(
            namespaces=namespaces,
            node=request.node,
            expires=expires,
            uses=request.uses,
            created=now,
            author=author,
            pin=self.authority.pin,
        )
        await self._mirror.commit([Write(TOKENS, name, stored, expected=0)])
        whom = f"node {request.node}" if request.node else "any node"
        self._events.add("token", whom, f"may join for {request.ttl_seconds:g} s, by {author}")
        return wire.Token(token=f"{made}.{stored.pin}", expires=expires, id=_id(name))

    async def tokens(self) -> tuple[wire.JoinToken, ...]:
        """Join tokens that can still be used, the newest first."""
        now = self._clock.wall()
        stored = readable(TOKENS, await self._store.scan(TOKENS.prefix))
        listed = [
            wire.JoinToken(id=_id(name), **token.model_dump(exclude={"pin"}))
            for name, token in stored
            if token.expires > now
        ]
        return tuple(sorted(listed, key=lambda token: (-token.created, token.id)))

    async def revoke_token(self, id: str, author: str) -> None:
        """Nobody joins with it any more; who has joined stays. Refusal (404) for an unknown one."""
        async with self._mirror.lock:
            names = [e.key.removeprefix(TOKENS.prefix) for e in await self._store.scan(TOKENS.prefix)]
            found = next((name for name in names if _id(name) == id), None)
            if found is None:
                raise Refusal(
                    HTTPStatus.NOT_FOUND,
                    f"there is no join token {id}",
                    "it may be used up, expired or revoked: meshlite token list",
                )
            await self._mirror.commit([Write(TOKENS, found, None)])
        self._events.add("token", id, f"revoked by {author}")

    async def join(self, request: wire.JoinRequest, peer: str) -> wire.Certificate:
        """A node's first certificate for a valid token. `peer`: the address it calls from."""
        name, now = check_node_name(request.node), self._clock.wall()
        async with self._mirror.lock:
            used, token = await self._spend(request, now)
            stored = self._mirror.get(NODES, name) or StoredNode(record=NodeRecord(name=name))
            known = (stored.joined and stored.shown) or NODES.key(name) in self._mirror.aside
            if known and token.node != name:
                hint = f"remove it first, or make a token for it: meshlite token create --node {name}"
                self._refuse(HTTPStatus.CONFLICT, name, f"a node {name} has joined already", hint)
            leaf = self._sign(request.csr, node_identity(self._registry.trust_domain, name), now)
            record = stored.record.model_copy(update={"address": request.address or peer})
            node = StoredNode(record=record, joined=now, namespaces=token.namespaces)
            identity = node_identity(self._registry.trust_domain, name)
            issued = _record(leaf, identity, name, signer := self.authority.signer)
            await self._mirror.commit([used, Write(NODES, name, node), issued])
            self._events.add("node", name, "joined")
            self._registry.publish()
        return self._certificate(leaf, identity, signer)

    async def renew(self, node: str, request: wire.RenewRequest) -> wire.Certificate:
        """The node's own certificate anew."""
        return await self._issue(request.csr, node_identity(self._registry.trust_domain, node), node)

    async def sign(self, node: str, request: wire.SignRequest) -> wire.Certificate:
        """A workload's certificate, for a node that may speak for it."""
        try:
            identity = Identity.parse(request.identity)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        if reason := self._objection(node, identity):
            self._refuse(HTTPStatus.FORBIDDEN, request.identity, reason, "report the workload first")
        return await self._issue(request.csr, request.identity, node)

    async def issued(self) -> tuple[wire.Issued, ...]:
        """Certificates that are still valid, newest first."""
        now = self._clock.wall()
        records = readable(CERTIFICATES, await self._store.scan(CERTIFICATES.prefix))
        valid = (record for _, record in records if record.not_after > now)
        return tuple(sorted(valid, key=lambda record: (-record.not_before, record.serial)))

    async def prune(self) -> None:
        """Forget tokens and certificates that have expired."""
        now = self._clock.wall()
        tokens = readable(TOKENS, await self._store.scan(TOKENS.prefix))
        leafs = readable(CERTIFICATES, await self._store.scan(CERTIFICATES.prefix))
        await self._mirror.commit(
            [Write(TOKENS, name, None) for name, token in tokens if token.expires <= now]
            + [Write(CERTIFICATES, name, None) for name, leaf in leafs if leaf.not_after <= now]
        )

    # --- parts ---

    async def _spend(self, request: wire.JoinRequest, now: float) -> tuple[Write[StoredToken], StoredToken]:
        """The token, and what to write so that it has one use less."""
        name = secret.digest(request.token)
        entry = await self._store.get(TOKENS.key(name))
        token = parse(TOKENS, entry) if entry else None
        if entry is None or token is None or token.expires <= now:
            hint = "ask for a new one: meshlite token create, on the server's host"
            self._refuse(
                HTTPStatus.UNAUTHORIZED, request.node, "the token is unknown, used up or expired", hint
            )
        if token.node not in ("", request.node):
            self._refuse(HTTPStatus.FORBIDDEN, request.node, f"the token is for node {token.node} only")
        left = token.model_copy(update={"uses": token.uses - 1}) if token.uses > 1 else None
        return Write(TOKENS, name, left, expected=entry.revision), token

    def _objection(self, node: str, identity: Identity) -> str:
        """Why `node` may not have a certificate for `identity`; empty if it may."""
        trust_domain = self._registry.trust_domain
        if identity.trust_domain != trust_domain:
            return f"the trust domain here is {trust_domain}, not {identity.trust_domain}"
        namespaces = self._registry.node(node).namespaces
        if namespaces is not None and identity.namespace in namespaces:
            return ""
        if any(w.identity(trust_domain) == identity for w in self._registry.workloads_of(node)):
            return ""
        return f"node {node} has not reported a workload with this identity"

    async def _issue(self, csr: str, identity: str, node: str) -> wire.Certificate:
        leaf, signer = self._sign(csr, identity, self._clock.wall()), self.authority.signer
        await self._mirror.commit([_record(leaf, identity, node, signer)])
        return self._certificate(leaf, identity, signer)

    def _sign(self, csr: str, identity: str, now: float) -> Leaf:
        try:
            leaf = self.authority.sign(csr, identity, now)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        self.signed += 1
        return leaf

    def _certificate(self, leaf: Leaf, identity: str, signer: str) -> wire.Certificate:
        return wire.Certificate(
            chain=leaf.chain,
            roots=self._authorities.trust.roots,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            identity=identity,
            signer=signer,
        )

    def _refuse(self, status: HTTPStatus, subject: str, reason: str, hint: str = "") -> NoReturn:
        """Who was turned away is worth an event."""
        self._events.add("certificate", subject, f"refused: {reason}", logging.WARNING)
        raise Refusal(status, reason, hint)


def _id(digest: str) -> str:
    """A token's name for people: enough of its hash to tell it from others."""
    return digest[:12]


def _record(leaf: Leaf, identity: str, node: str, signer: str) -> Write[wire.Issued]:
    issued = wire.Issued(
        serial=leaf.serial,
        identity=identity,
        node=node,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        signer=signer,
    )
    return Write(CERTIFICATES, leaf.serial, issued, expected=0)
