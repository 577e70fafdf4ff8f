"""Which people may call from elsewhere, with which role: bearer tokens made, revoked and known again."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus

from meshlite.model import wire
from meshlite.server import secret
from meshlite.server.auth import Caller, person
from meshlite.server.clock import Clock
from meshlite.server.events import Events
from meshlite.server.mirror import Mirror, Write
from meshlite.server.records import ACCESS, StoredAccess
from meshlite.server.refusal import Refusal


class AccessBook:
    """One access for each name. Secrets are kept as hashes only. `pin`: hash of the root that signs now."""

    def __init__(self, mirror: Mirror, events: Events, clock: Clock, pin: Callable[[], str]) -> None:
        self._mirror = mirror
        self._events = events
        self._clock = clock
        self._pin = pin

    async def create(self, request: wire.AccessRequest, author: str) -> wire.AccessToken:
        """A new secret. Refusal (409) where the name has access already."""
        now, made = self._clock.wall(), secret.new()
        access = wire.Access(
            name=request.name,
            role=request.role,
            expires=now + request.ttl_seconds,
            created=now,
            author=author,
        )
        async with self._mirror.lock:
            stored = self._mirror.get(ACCESS, request.name)
            if stored is not None and stored.access.expires > now:
                reason = f"{request.name} has access already, as {stored.access.role}"
                raise Refusal(HTTPStatus.CONFLICT, reason, "revoke it first, or choose another name")
            record = StoredAccess(access=access, digest=secret.digest(made), pin=(pin := self._pin()))
            await self._mirror.commit([Write(ACCESS, request.name, record)])
        self._events.add("access", request.name, f"may call as {request.role}, by {author}")
        return wire.AccessToken(token=f"{made}.{pin}", access=access)

    async def revoke(self, name: str, author: str) -> None:
        """From now on the token is nobody's. Refusal (404) for a name without access."""
        async with self._mirror.lock:
            if self._mirror.get(ACCESS, name) is None:
                raise Refusal(HTTPStatus.NOT_FOUND, f"nobody named {name} has access")
            await self._mirror.commit([Write(ACCESS, name, None)])
        self._events.add("access", name, f"revoked by {author}")

    def all(self) -> tuple[wire.Access, ...]:
        """Those that have not expired, by name."""
        now, stored = self._clock.wall(), self._mirror.all(ACCESS)
        return tuple(stored[name].access for name in sorted(stored) if stored[name].access.expires > now)

    def caller(self, token: str) -> Caller:
        """Whose token it is. Refusal (401) for one that is nobody's, without a word on why."""
        digest, now = secret.digest(token), self._clock.wall()
        for stored in self._mirror.all(ACCESS).values():
            if hmac.compare_digest(stored.digest, digest) and stored.access.expires > now:
                return person(stored.access.name, stored.access.role)
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "the bearer token is unknown, revoked or expired",
            "ask an admin of the mesh for a new one: meshlite access create NAME --role ROLE",
        )

    async def prune(self) -> None:
        """Forget those that have expired."""
        async with self._mirror.lock:
            now, stored = self._clock.wall(), self._mirror.all(ACCESS)
            gone = [name for name, each in stored.items() if each.access.expires <= now]
            await self._mirror.commit([Write(ACCESS, name, None) for name in gone])
