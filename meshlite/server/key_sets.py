"""Fetches the public keys of issuers of tokens, for everybody and ahead of every request.

What was fetched last is kept while an issuer is away, over restarts of the server, too.
Source: https://www.rfc-editor.org/rfc/rfc7517 and https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import aiohttp

from meshlite.model import jwks
from meshlite.model.mesh import KeySet, Resource
from meshlite.model.security import RequestAuthentication
from meshlite.model.security.request_authentication import DISCOVERY
from meshlite.model.validate import read
from meshlite.server.clock import Clock
from meshlite.server.events import Events
from meshlite.server.mirror import Mirror, Write
from meshlite.server.records import KEY_SETS, RESOURCES
from meshlite.server.store import Conflict, Unavailable

REFRESH = 20 * 60.0
"""Seconds after which keys are fetched again; Istio's."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
TIMEOUT = 5.0
LARGEST = 2**20


@dataclass
class _Source:
    """A URL that keys come from. `due`: when to fetch them (monotonic); `pause`: after a failure."""

    timeout: float
    due: float = 0.0
    pause: float = FIRST_PAUSE
    failing: str = ""


class KeySets:
    """Keeps the key sets that resources name. `changed` is called when the snapshot has to be made anew."""

    def __init__(self, mirror: Mirror, events: Events, clock: Clock, changed: Callable[[], None]) -> None:
        self._mirror = mirror
        self._events = events
        self._clock = clock
        self._changed = changed
        self._sources: dict[str, _Source] = {}
        self._seen: Mapping[str, Resource] = {}

    async def keep(self) -> None:
        """Without end: what is new is fetched at once, and where nobody names an issuer, nothing wakes up."""
        async with aiohttp.ClientSession(trust_env=False) as session:
            while True:
                seen = self._mirror.changes.value
                await self.refresh(session)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_PAUSE / 2 if self._sources else None):
                        await self._mirror.changes.next(seen)

    async def refresh(self, session: aiohttp.ClientSession) -> None:
        """Fetch all that is due, forget what nobody names any more."""
        self._look()
        now = self._clock.monotonic()
        due = [uri for uri, source in self._sources.items() if source.due <= now]
        fetched = await asyncio.gather(*(self._fetch(session, uri) for uri in due))
        writes = [Write(KEY_SETS, keys.uri, keys) for keys in fetched if keys is not None and self._new(keys)]
        gone = [Write(KEY_SETS, uri, None) for uri in self._mirror.all(KEY_SETS) if uri not in self._sources]
        if not (writes or gone):
            return
        try:
            async with self._mirror.lock:
                await self._mirror.commit([*writes, *gone])
        except (Unavailable, Conflict) as error:
            self._events.add("server", "store", f"keys are not saved yet: {error}", logging.ERROR)
            for keys in fetched:
                if keys is not None:
                    self._sources[keys.uri].due = now + FIRST_PAUSE
            return
        self._changed()

    def _new(self, keys: KeySet) -> bool:
        return self._mirror.get(KEY_SETS, keys.uri) != keys

    def _look(self) -> None:
        """Which URLs resources name now."""
        found = {
            key: resource
            for key, resource in self._mirror.all(RESOURCES).items()
            if resource.kind == "RequestAuthentication"
        }
        if found == self._seen:
            return
        self._seen = found
        wanted = timeouts(found.values())
        self._sources = {uri: self._sources.get(uri) or _Source(timeout) for uri, timeout in wanted.items()}
        for uri, timeout in wanted.items():
            self._sources[uri].timeout = timeout

    async def _fetch(self, session: aiohttp.ClientSession, uri: str) -> KeySet | None:
        source = self._sources[uri]
        try:
            keys = KeySet(uri=uri, keys=await _keys(session, uri, source.timeout))
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            self._failed(uri, source, str(error) or f"no answer within {source.timeout:g} s")
            return None
        if source.failing:
            self._events.add("server", uri, "its keys are there again")
        source.due, source.pause, source.failing = self._clock.monotonic() + REFRESH, FIRST_PAUSE, ""
        return keys

    def _failed(self, uri: str, source: _Source, why: str) -> None:
        source.due = self._clock.monotonic() + source.pause
        source.pause = min(source.pause * 2, LONGEST_PAUSE)
        if why != source.failing:
            kept = "the last ones hold" if self._mirror.get(KEY_SETS, uri) else "its tokens are refused"
            self._events.add("server", uri, f"keys cannot be fetched, {kept}: {why}", logging.WARNING)
        source.failing = why


def timeouts(resources: Iterable[Resource]) -> dict[str, float]:
    """URLs of keys, with the seconds that each may take."""
    found: dict[str, float] = {}
    for resource in resources:
        spec, _ = read(resource)
        for rule in spec.jwt_rules if isinstance(spec, RequestAuthentication) else ():
            if rule.key_source:
                found[rule.key_source] = rule.timeout.total_seconds() if rule.timeout else TIMEOUT
    return found


async def _keys(session: aiohttp.ClientSession, uri: str, timeout: float) -> str:
    """Raises aiohttp.ClientError, TimeoutError, or ValueError with the reason."""
    async with asyncio.timeout(timeout):
        body = await _get(session, uri)
        if not uri.endswith(DISCOVERY):
            return jwks.public(body)
        try:
            place = json.loads(body)["jwks_uri"]
        except (ValueError, KeyError, TypeError):
            raise ValueError("its discovery document names no jwks_uri") from None
        return jwks.public(await _get(session, str(place)))


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        if answer.status != 200:
            raise ValueError(f"it answers {answer.status}")
        body = await answer.content.read(LARGEST + 1)
        while len(body) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(body))):
            body += more
        if len(body) > LARGEST:
            raise ValueError("its answer is too large")
        return body.decode("utf-8", "replace")
