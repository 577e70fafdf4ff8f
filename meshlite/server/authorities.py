"""The mesh's authorities over time: the one that signs, the one to come, and those that signed before.

A root is changed in three steps, each on the disk before it takes effect: the next root is announced, so that
all trust both; it signs; the former one is trusted no more. `trust.json` names the files that count; what it
does not name is swept at the start, so a crash between two writes leaves the state before or after.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from pydantic import ValidationError

from meshlite.model.mesh import Trust
from meshlite.model.workload import Frozen
from meshlite.server import ca
from meshlite.server.ca import CertificateAuthority, pem
from meshlite.server.clock import Clock

Phase = Literal["steady", "announced", "signing"]
STATE = "trust.json"


class Former(Frozen):
    """A root that signed before (PEM). `trusted`: certificates that it signed count still.

    `bridge` (PEM): the root after it, signed by it, for whoever knows only this one: tokens carry its hash.
    """

    root: str
    pin: str
    signer: str
    bridge: str = ""
    trusted: bool = True


class _Files(Frozen):
    """Names of a key and of its chain (PEM: what signs first, the root last)."""

    key: str
    chain: str


class _State(Frozen):
    current: _Files = _Files(key="root-key.pem", chain="root.pem")
    coming: _Files | None = None
    former: tuple[Former, ...] = ()


@dataclass
class AuthorityBook:
    """Made by `open_book`. `changed` is called after each step, when it holds."""

    folder: Path
    trust_domain: str
    lifetime: float
    clock: Clock
    current: CertificateAuthority
    coming: CertificateAuthority | None
    _state: _State
    changed: list[Callable[[], None]] = field(default_factory=list)

    @property
    def phase(self) -> Phase:
        if self.coming is not None:
            return "announced"
        return "signing" if any(one.trusted for one in self._state.former) else "steady"

    @property
    def former(self) -> tuple[Former, ...]:
        """The last one first."""
        return self._state.former

    @property
    def trust(self) -> Trust:
        """What every node is to know."""
        roots = [self.current.roots, *([self.coming.roots] if self.coming else [])]
        roots += [one.root for one in self.former if one.trusted]
        return Trust(roots="".join(dict.fromkeys(roots)), signer=self.current.signer)

    @property
    def remembered(self) -> str:
        """Roots (PEM) that nothing is trusted by any more, except that tokens carry their hashes."""
        return "".join(dict.fromkeys(one.root for one in self.former if one.root not in self.trust.roots))

    @property
    def bridges(self) -> str:
        """What the server shows after its own chain, so that a former root is enough to know it by."""
        return "".join(one.bridge for one in self.former)

    def announce(self, coming: CertificateAuthority | None = None) -> None:
        """From now on all are to trust `coming` too: a new root unless given. It signs nothing yet."""
        made = coming or ca.create(self.trust_domain, self.lifetime, self.clock.wall())
        files = _Files(key=f"ca-{made.signer[:16]}-key.pem", chain=f"ca-{made.signer[:16]}.pem")
        ca.write(self.folder / files.key, ca.key_pem(made.key), 0o600)
        chain = "".join(pem(one) for one in (*made.between, made.root))
        ca.write(self.folder / files.chain, chain.encode(), 0o644)
        self._become(self._state.model_copy(update={"coming": files}), self.current, made)

    def cancel(self) -> None:
        """Take the announcement back."""
        self._become(self._state.model_copy(update={"coming": None}), self.current, None)

    def sign(self) -> None:
        """What was announced signs from now on. What signed before is trusted still; its key is removed."""
        assert self.coming is not None
        assert self._state.coming is not None
        old, new = self.current, self.coming
        bridge = old.vouch(new.root) if old.root != new.root else None
        former = Former(root=old.roots, pin=old.pin, signer=old.signer, bridge=pem_of(bridge), trusted=True)
        state = _State(current=self._state.coming, former=(former, *self.former))
        self._become(state, new, None)

    def drop(self) -> None:
        """Former roots are trusted no more."""
        former = tuple(one.model_copy(update={"trusted": False}) for one in self.former)
        self._become(self._state.model_copy(update={"former": former}), self.current, None)

    def forget(self, pins: Collection[str]) -> None:
        """Keep former roots only as far as `pins`, those that tokens carry, need them."""
        kept = list(self.former)
        while kept and not kept[-1].trusted and kept[-1].pin not in pins:
            kept.pop()
        if len(kept) < len(self.former):
            state = self._state.model_copy(update={"former": tuple(kept)})
            self._become(state, self.current, self.coming)

    def _become(
        self, state: _State, current: CertificateAuthority, coming: CertificateAuthority | None
    ) -> None:
        ca.write(self.folder / STATE, state.model_dump_json(indent=1).encode(), 0o600)
        self._state, self.current, self.coming = state, current, coming
        _sweep(self.folder, state)
        for told in self.changed:
            told()


def open_book(folder: Path, trust_domain: str, lifetime: float, clock: Clock) -> AuthorityBook:
    """As the last step left it; a first root is made where there is none. Raises ValueError, OSError."""
    if not (folder / STATE).exists():
        first = ca.load_or_create(folder, trust_domain, lifetime, clock.wall())
        return AuthorityBook(folder, trust_domain, lifetime, clock, first, None, _State())
    try:
        state = _State.model_validate_json((folder / STATE).read_bytes())
    except ValidationError as error:
        raise ValueError(f"{folder / STATE}: cannot be read: restore it from a backup") from error
    current = _load(folder, state.current, lifetime)
    coming = _load(folder, state.coming, lifetime) if state.coming else None
    _sweep(folder, state)
    return AuthorityBook(folder, trust_domain, lifetime, clock, current, coming, state)


def pem_of(certificate: x509.Certificate | None) -> str:
    return pem(certificate) if certificate else ""


def _load(folder: Path, files: _Files, lifetime: float) -> CertificateAuthority:
    for name in (files.key, files.chain):
        if not (folder / name).exists():
            raise ValueError(f"{folder / name} is gone: restore the folder from a backup")
    key = ca.load_key(folder / files.key)
    try:
        *between, root = x509.load_pem_x509_certificates((folder / files.chain).read_bytes())
    except ValueError as error:
        raise ValueError(f"{folder / files.chain}: not PEM certificates: restore it from a backup") from error
    authority = CertificateAuthority(key, root, lifetime, tuple(between))
    if authority.certificate.public_key() != key.public_key():
        raise ValueError(
            f"{folder / files.chain}: does not belong to {files.key}: restore both from one backup"
        )
    return authority


def _sweep(folder: Path, state: _State) -> None:
    """Keys and chains of authorities that the state does not name any more."""
    named = {name for one in (state.current, state.coming) if one for name in (one.key, one.chain)}
    for file in (
        folder / "root-key.pem",
        folder / "root.pem",
        *folder.glob("ca-*.pem"),
        *folder.glob("*.new"),
    ):
        if file.name not in named:
            file.unlink(missing_ok=True)
