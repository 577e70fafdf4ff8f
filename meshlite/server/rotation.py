"""How the mesh gets another root without a failed call: who is in the way of the next step, and taking it.

A step that somebody depends on is refused: so a rotation may be interrupted anywhere, and gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshlite.model import wire
from meshlite.server.authorities import AuthorityBook, Former
from meshlite.server.ca import CertificateAuthority
from meshlite.server.events import Events
from meshlite.server.imported import imported
from meshlite.server.mirror import Mirror, readable
from meshlite.server.records import ACCESS, TOKENS
from meshlite.server.refusal import Refusal
from meshlite.server.registry import Registry
from meshlite.server.store import Store

_NEXT: dict[str, wire.RotationStep] = {"steady": "announce", "announced": "sign", "signing": "drop"}
_DONE = {
    "announce": "announced as the next to sign; all are to trust it",
    "sign": "signs from now on; all certificates are renewed",
    "drop": "is the only root that is trusted",
    "cancel": "goes on signing; the announced one is taken back",
}


class Rotation:
    """Watches what nodes say of themselves, in their status, and what tokens carry."""

    def __init__(
        self, book: AuthorityBook, registry: Registry, mirror: Mirror, store: Store, events: Events
    ) -> None:
        self.book = book
        self._registry, self._mirror, self._store, self._events = registry, mirror, store, events

    async def view(self) -> wire.Authorities:
        """How it stands."""
        book, step = self.book, _NEXT[self.book.phase]
        return wire.Authorities(
            phase=book.phase,
            signing=_certificate(book.current),
            coming=_certificate(book.coming) if book.coming else None,
            former=tuple(_former(one) for one in book.former),
            next=step,
            waiting=await self._waiting(step, ()),
        )

    async def take(self, request: wire.RotationRequest, author: str) -> wire.Authorities:
        """One step. Refusal (409) for one that is not the next, or that somebody is in the way of."""
        async with self._mirror.lock:
            step, book = request.step, self.book
            allowed = {_NEXT[book.phase], *(["cancel"] if book.coming else [])}
            if step not in allowed:
                why = f"the next step is {_NEXT[book.phase]}, not {step}"
                raise Refusal(HTTPStatus.CONFLICT, why, "meshlite ca show tells how it stands")
            if waiting := await self._waiting(step, request.without):
                first = waiting[0]
                raise Refusal(
                    HTTPStatus.CONFLICT,
                    f"{len(waiting)} still need things as they are; {first.kind} {first.name}: {first.why}",
                    "meshlite ca show lists them",
                    [one.model_dump() for one in waiting],
                )
            {"announce": book.announce, "sign": book.sign, "drop": book.drop, "cancel": book.cancel}[step]()
            self._tell(step, author)
        return await self.view()

    async def bring(self, request: wire.ImportRequest, author: str) -> wire.Authorities:
        """An authority of somebody's own, announced. Refusal (400) with what is wrong with it."""
        async with self._mirror.lock:
            book = self.book
            if book.phase != "steady":
                why = f"a rotation is under way, its next step is {_NEXT[book.phase]}"
                raise Refusal(HTTPStatus.CONFLICT, why, "meshlite ca rotate ends it; or --cancel")
            try:
                made = imported(
                    request.certificate, request.key, request.chain, book.lifetime, book.clock.wall()
                )
            except ValueError as error:
                raise Refusal(HTTPStatus.BAD_REQUEST, str(error), "nothing was changed") from error
            if made.signer == book.current.signer:
                raise Refusal(HTTPStatus.CONFLICT, "this is the authority that signs already")
            book.announce(made)
            self._tell("announce", author)
        return await self.view()

    async def prune(self) -> None:
        """Forget former roots that no token names any more."""
        if self.book.former:
            pins = {pin for _, _, pin in await self._pins()}
            if "" not in pins:
                self.book.forget(pins)

    # --- parts ---

    def _tell(self, step: wire.RotationStep, author: str) -> None:
        authority = self.book.coming or self.book.current
        self._registry.publish()
        self._events.add("certificate", _subject(authority.certificate), f"{_DONE[step]}, by {author}")

    async def _waiting(self, step: wire.RotationStep, without: tuple[str, ...]) -> tuple[wire.Dependent, ...]:
        if step in ("announce", "cancel"):
            return ()
        nodes = tuple(self._nodes(step, without))
        return nodes + (await self._unbridged() if step == "sign" else ())

    def _nodes(self, step: wire.RotationStep, without: tuple[str, ...]) -> Iterator[wire.Dependent]:
        for node in self._registry.nodes():
            why = self._needs(node, step) if node.joined and node.record.name not in without else ""
            if why:
                yield wire.Dependent(kind="node", name=node.record.name, why=why)

    def _needs(self, node: wire.Node, step: wire.RotationStep) -> str:
        """Why the step would leave this node behind; empty if not."""
        if not node.alive:
            return "is silent: start its agent, or go on without it (--without); it joins anew later"
        told = node.status.root.get("trust") if node.status else None
        if not isinstance(told, dict):
            return "has not told yet whom it trusts"
        if step == "sign" and self.book.coming and self.book.coming.pin not in told.get("roots", ()):
            return "does not trust the next root yet"
        if step == "drop" and set(told.get("signers", ())) - {self.book.current.signer}:
            return "still uses certificates that the former authority signed"
        return ""

    async def _unbridged(self) -> tuple[wire.Dependent, ...]:
        """Tokens whose root cannot vouch for the next one: their holders would not know the server again."""
        old, new = self.book.current, self.book.coming
        if new is None or old.root == new.root or old.vouch(new.root) is not None:
            return ()
        why = f"carries the hash of {_subject(old.root)}, whose path length keeps it from vouching: revoke it"
        return tuple(
            wire.Dependent(kind=kind, name=name, why=why)
            for kind, name, pin in await self._pins()
            if pin in ("", old.pin)
        )

    async def _pins(self) -> list[tuple[wire.DependentKind, str, str]]:
        """Tokens that can still be used: kind, name, and the hash of the root that they carry."""
        now = self.book.clock.wall()
        found: list[tuple[wire.DependentKind, str, str]] = [
            ("access", name, stored.pin)
            for name, stored in self._mirror.all(ACCESS).items()
            if stored.access.expires > now
        ]
        for digest, token in readable(TOKENS, await self._store.scan(TOKENS.prefix)):
            if token.expires > now:
                found.append(("token", digest[:12], token.pin))
        return found


def chains(book: AuthorityBook) -> dict[str, tuple[str, ...]]:
    """Names of what is above a leaf, by its signer, the root last; of a former signer the root only."""
    known: dict[str, tuple[str, ...]] = {one.signer: (_subject(_read(one.root)),) for one in book.former}
    for authority in (book.current, *([book.coming] if book.coming else [])):
        known[authority.signer] = tuple(_subject(c) for c in (*authority.between, authority.root))
    return known


def expiries(book: AuthorityBook) -> Iterator[tuple[str, str, float]]:
    """State, name and end (seconds since 1970) of each authority that counts, or is to."""
    for state, authority in (("signing", book.current), ("announced", book.coming)):
        if authority is not None:
            yield state, _subject(authority.certificate), authority.ends
    for one in book.former:
        if one.trusted:
            root = _read(one.root)
            yield "former", _subject(root), root.not_valid_after_utc.timestamp()


def _certificate(authority: CertificateAuthority) -> wire.CaCertificate:
    own, key = authority.certificate, authority.key
    kind = f"ECDSA {key.curve.name}" if isinstance(key, ec.EllipticCurvePrivateKey) else f"RSA {key.key_size}"
    return wire.CaCertificate(
        subject=_subject(own),
        sha256=authority.signer,
        root=authority.pin,
        key=kind,
        not_before=own.not_valid_before_utc.timestamp(),
        not_after=authority.ends,
        path=tuple(_subject(one) for one in (*authority.between[1:], authority.root))
        if authority.between
        else (),
    )


def _former(one: Former) -> wire.FormerRoot:
    root = _read(one.root)
    return wire.FormerRoot(
        subject=_subject(root),
        sha256=one.pin,
        not_after=root.not_valid_after_utc.timestamp(),
        trusted=one.trusted,
    )


def _read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
