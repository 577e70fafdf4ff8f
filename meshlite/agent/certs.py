"""Certificates of this node's workloads: keys stay in memory, renewal at half of a certificate's life."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from meshlite.agent import keys
from meshlite.agent.keys import Key
from meshlite.model.mesh import Trust
from meshlite.model.wire import Certificate
from meshlite.translate.envoy import schema
from meshlite.translate.plan.secret import calling
from meshlite.translate.translation import Encoded
from meshlite.watch import Watch

log = logging.getLogger(__name__)

ROOTS = "ROOTCA"
"""The name of the trust bundle among the secrets, as Istio calls it; the others are named by SPIFFE id."""

RETRY_SECONDS = (1.0, 60.0)
AT_ONCE = 8
SPREAD_SECONDS = 5.0
"""Within which all certificates are renewed when another authority signs."""

Sign = Callable[[str, str], Awaitable[Certificate]]


def refresh_at(got: float, not_after: float, jitter: float) -> float:
    """When to renew, in seconds since 1970: between 45 and 55 % of the way from `got` to the end.

    Not from its own beginning, which is before it was made: clocks differ. `jitter`: 0 to 1.
    """
    return got + (not_after - got) * (0.45 + 0.1 * jitter)


@dataclass(frozen=True)
class Handed:
    """What the proxy has: hashes of the roots, and of who signed the certificates (see model.mesh.Trust)."""

    roots: frozenset[str] = frozenset()
    signers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Held:
    """One identity's key and certificate, if any yet; when to ask for the next; why it failed last."""

    key: Key | None = None
    certificate: Certificate | None = None
    due: float = 0.0
    failures: int = 0
    error: str = ""

    @property
    def serial(self) -> str:
        return keys.serial(self.certificate.chain) if self.certificate else ""

    @property
    def signer(self) -> str:
        return self.certificate.signer if self.certificate else ""


@dataclass
class Certificates:
    """Holds a valid certificate for each wanted identity. `held` changes with every new one, and with roots.

    `trust`: the roots that peers are checked by, and who should have signed what is held.
    """

    sign: Sign
    make: Callable[[int], Awaitable[list[Key]]] = keys.make
    held: Watch[Mapping[str, Held]] = field(default_factory=lambda: Watch[Mapping[str, Held]]({}))
    trust: Trust = field(default_factory=Trust)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def want(self, identities: frozenset[str]) -> None:
        """These identities and no others; keys of the others are forgotten."""
        current = self.held.value
        if identities != current.keys():
            self.held.set({identity: current.get(identity, Held()) for identity in sorted(identities)})
            self._changed.set()

    def follow(self, trust: Trust) -> bool:
        """Hand out these roots, and soon replace what another signer has signed; whether it is news."""
        if trust == self.trust:
            return False
        self.trust = trust
        self.held.set({identity: self._timed(held) for identity, held in self.held.value.items()})
        self._changed.set()
        return True

    def _timed(self, held: Held) -> Held:
        """With a sooner renewal where somebody else signed it."""
        if held.certificate is None or held.signer == self.trust.signer or not self.trust.signer:
            return held
        return replace(held, due=min(held.due, time.time() + random.uniform(0.0, SPREAD_SECONDS)))

    async def run(self) -> None:
        """Get and renew; ends only when cancelled."""
        while True:
            self._changed.clear()
            now = time.time()
            due = [identity for identity, held in self.held.value.items() if held.due <= now][:AT_ONCE]
            await self._renew_all(due)
            next_due = min((held.due for held in self.held.value.values()), default=now + 3600)
            try:
                async with asyncio.timeout(max(0.0, min(next_due - time.time(), 3600.0))):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _renew_all(self, identities: list[str]) -> None:
        if not identities:
            return
        try:
            made = await self.make(len(identities))
        except OSError as error:
            for identity in identities:
                self._failed(identity, str(error))
            return
        async with asyncio.TaskGroup() as tasks:
            for identity, key in zip(identities, made, strict=True):
                tasks.create_task(self._renew(identity, key))

    async def _renew(self, identity: str, key: Key) -> None:
        """One try. Whatever fails, the certificate that is there stays until it has a successor."""
        try:
            certificate = await self.sign(identity, key.csr)
        except (ConnectionError, TimeoutError) as error:
            self._failed(identity, str(error) or "the server does not answer")
            return
        due = refresh_at(time.time(), certificate.not_after, random.random())
        self._set(identity, self._timed(Held(key, certificate, due)))

    def _failed(self, identity: str, why: str) -> None:
        held = self.held.value.get(identity, Held())
        shortest, longest = RETRY_SECONDS
        pause = min(shortest * 2**held.failures, longest) * random.uniform(0.5, 1.0)
        if held.failures == 0:
            log.warning("no new certificate yet: %s", why, extra={"fields": {"identity": identity}})
        self._set(identity, replace(held, due=time.time() + pause, failures=held.failures + 1, error=why))

    def _set(self, identity: str, held: Held) -> None:
        if identity in self.held.value:
            self.held.set({**self.held.value, identity: held})


def secrets(held: Mapping[str, Held], roots: str = "") -> dict[str, Encoded]:
    """The SDS resources of what is held: one per identity, and the roots (PEM; empty: the newest's)."""
    content: dict[str, dict[str, object]] = {
        identity: {
            "tls_certificate": {
                "certificate_chain": {"inline_string": item.certificate.chain},
                "private_key": {"inline_string": item.key.pem},
            }
        }
        for identity, item in held.items()
        if item.certificate is not None and item.key is not None
    }
    made = {identity: _secret(identity, fields) for identity, fields in content.items()}
    # Envoy does not ask again for what it has asked for already, so who calls needs a name of its own.
    made |= {calling(identity): _secret(calling(identity), content[identity]) for identity in content}
    if roots := roots or _newest(held):
        made[ROOTS] = _secret(ROOTS, {"validation_context": {"trusted_ca": {"inline_string": roots}}})
    return made


def _newest(held: Mapping[str, Held]) -> str:
    """The roots that came with the newest certificate: of a server whose snapshots have none."""
    certificates = (item.certificate for item in held.values() if item.certificate is not None)
    newest = max(certificates, key=lambda certificate: certificate.not_before, default=None)
    return newest.roots if newest else ""


def _secret(name: str, content: dict[str, object]) -> Encoded:
    return Encoded.of(schema.encode(schema.SECRET, {"name": name, **content}))
