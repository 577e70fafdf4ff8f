"""The stored resources: apply all or nothing, delete, look back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from meshlite.model import wire
from meshlite.model.analysis.analyze import conflicts
from meshlite.model.analysis.stage import of_mesh
from meshlite.model.documents import Reading
from meshlite.model.mesh import GATEWAY_API, Resource, Snapshot
from meshlite.server.admission import Admission, Admitted
from meshlite.server.clock import Clock
from meshlite.server.events import Events
from meshlite.server.mirror import Mirror, Write, readable
from meshlite.server.records import COUNTERS, HISTORY, RESOURCES, Counter
from meshlite.server.refusal import Refusal
from meshlite.server.store import Store
from meshlite.translate.gateway_api.conditions import troubles

KEPT = 20
"""Changes of each resource that are remembered."""

NOTHING_READ = Reading((), (), ())

_MEANING = ("api_version", "labels", "annotations", "spec")
"""What the user wrote; the rest is the store's."""


class ResourceBook:
    """Owns the resources. `snapshot` gives the mesh to check against; `publish` is called after a change.

    `status` gives what is to be said about a resource by its key.
    """

    def __init__(
        self,
        mirror: Mirror,
        store: Store,
        events: Events,
        clock: Clock,
        admit: Admission,
        snapshot: Callable[[], Snapshot],
        publish: Callable[[], None],
        status: Callable[[str], Mapping[str, Any]],
    ) -> None:
        self._mirror = mirror
        self._store = store
        self._events = events
        self._clock = clock
        self._admit = admit
        self._snapshot = snapshot
        self._publish = publish
        self._status = status

    def select(self, kind: str = "", namespace: str = "") -> tuple[Resource, ...]:
        """First applied first; empty arguments mean any."""
        wanted = (
            resource
            for resource in self._mirror.all(RESOURCES).values()
            if kind in ("", resource.kind) and namespace in ("", resource.namespace)
        )
        return tuple(map(self._shown, sorted(wanted, key=lambda resource: resource.sequence)))

    def get(self, key: str) -> Resource:
        """Raises Refusal (404)."""
        return self._shown(self._stored(key))

    async def history(self, key: str) -> tuple[wire.Revision, ...]:
        """Newest first; also of a deleted resource. Raises Refusal (404) where there never was one."""
        entries = await self._store.scan(HISTORY.key(key + "/"))
        if not entries:
            raise Refusal(HTTPStatus.NOT_FOUND, f"there never was a {key}")
        return tuple(revision for _, revision in readable(HISTORY, reversed(entries)))

    async def apply(
        self, request: wire.ApplyRequest, author: str, guarded: bool, reading: Reading = NOTHING_READ
    ) -> wire.ApplyResponse:
        """Store all documents or none, those of the request and those read from its texts.

        `guarded`: each must be based on the generation that is stored now.

        Raises Refusal (409) for a document that is based on another one.
        """
        async with self._mirror.lock:
            admitted, rejected = self._admit(_whole(request, reading), self._snapshot())
            if rejected or reading.rejections:
                return wire.ApplyResponse(
                    rejected=(*reading.rejections, *rejected), warnings=reading.warnings
                )
            if guarded:
                self._check_generations([one.resource for one in admitted])
            applied, writes = await self._plan(admitted, author)
            if not request.dry_run:
                await self._mirror.commit(writes)
                for one in applied:
                    if one.action != "unchanged":
                        self._events.add("resource", one.key, f"{one.action} by {author}")
                self._publish()
                applied = self._told(applied, [one.resource for one in admitted])
        return wire.ApplyResponse(applied=tuple(applied), warnings=reading.warnings)

    async def delete(self, key: str, author: str, generation: int | None = None) -> None:
        """Raises Refusal: 404 where it is not there, 409 where it is not at `generation`."""
        async with self._mirror.lock:
            if RESOURCES.key(key) in self._mirror.aside:
                await self._mirror.commit([Write(RESOURCES, key, None)])
                self._events.add("resource", key, f"deleted by {author}; it could not be read")
                return
            last = self._stored(key)
            if generation is not None and generation != last.generation:
                raise _outdated([{"resource": key, "expected": generation, "found": last.generation}])
            gone = last.model_copy(update={"generation": last.generation + 1})
            await self._mirror.commit([Write(RESOURCES, key, None), *self._remember(gone, "deleted", author)])
            self._events.add("resource", key, f"deleted by {author}")
            self._publish()

    # --- parts; the caller holds the lock ---

    def _stored(self, key: str) -> Resource:
        """Raises Refusal (404)."""
        if (resource := self._mirror.get(RESOURCES, key)) is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no {key}", "see what there is: GET /v1/resources")
        return resource

    def _shown(self, resource: Resource) -> Resource:
        """With its status, if it has one."""
        status = self._status(resource.key)
        return resource.model_copy(update={"status": dict(status)}) if status else resource

    def _told(self, applied: list[wire.Applied], resources: list[Resource]) -> list[wire.Applied]:
        """With what their status says against them: such resources are taken, and may become good later.

        Only what Gateway API's become can contradict others, so these are held against them afterwards.
        """
        of_gateway_api = any(resource.api_group == GATEWAY_API for resource in resources)
        rivals = conflicts(of_mesh(self._snapshot())) if of_gateway_api else ()
        told = []
        for one, resource in zip(applied, resources, strict=True):
            warnings = [*one.warnings, *troubles(self._status(one.key))]
            if resource.api_group == GATEWAY_API:
                warnings += [
                    f"{rival.message} ({rival.code})"
                    for rival in rivals
                    if one.key in rival.resource.split(", ")
                ]
            told.append(one.model_copy(update={"warnings": tuple(warnings)}))
        return told

    def _check_generations(self, resources: list[Resource]) -> None:
        stored = self._mirror.all(RESOURCES)
        found = {r.key: stored[r.key].generation if r.key in stored else 0 for r in resources}
        stale = [
            {"resource": r.key, "expected": r.generation, "found": found[r.key]}
            for r in resources
            if r.generation != found[r.key]
        ]
        if stale:
            raise _outdated(stale)

    async def _plan(
        self, admitted: Sequence[Admitted], author: str
    ) -> tuple[list[wire.Applied], list[Write[Any]]]:
        """What becomes of each document, and what to write for it."""
        applied: list[wire.Applied] = []
        writes: list[Write[Any]] = []
        given = (resource.sequence for resource in self._mirror.all(RESOURCES).values())
        counter = self._mirror.get(COUNTERS, "sequence") or Counter(last=max(given, default=0))
        last = sequence = counter.last
        for one in admitted:
            key = one.resource.key
            stored = self._mirror.get(RESOURCES, key)
            if stored is not None and _means_the_same(stored, one.resource):
                applied.append(_applied("unchanged", stored, one.warnings))
                continue
            sequence += stored is None
            place = {
                "sequence": stored.sequence if stored else sequence,
                "generation": await self._last_generation(key) + 1,
            }
            new, action = one.resource.model_copy(update=place), _action(stored)
            writes += [Write(RESOURCES, key, new), *self._remember(new, action, author)]
            applied.append(_applied(action, new, one.warnings))
        if sequence > last:
            writes.append(Write(COUNTERS, "sequence", Counter(last=sequence)))
        return applied, writes

    async def _last_generation(self, key: str) -> int:
        """Goes on where a deleted resource ended: one generation never means two contents."""
        if (stored := self._mirror.get(RESOURCES, key)) is not None:
            return stored.generation
        entries = await self._store.scan(HISTORY.key(key + "/"))
        return max((int(entry.key.rpartition("/")[2]) for entry in entries), default=0)

    def _remember(self, resource: Resource, action: wire.Action, author: str) -> list[Write[Any]]:
        """The change as history, and the oldest one forgotten."""
        revision = wire.Revision(time=self._clock.wall(), action=action, author=author, resource=resource)
        place = _place(resource.key, resource.generation)
        writes: list[Write[Any]] = [Write(HISTORY, place, revision)]
        if resource.generation > KEPT:
            writes.append(Write(HISTORY, _place(resource.key, resource.generation - KEPT), None))
        return writes


def _whole(request: wire.ApplyRequest, reading: Reading) -> wire.ApplyRequest:
    """With what was read. Where some could not be, hosts are not asked for: that may declare them."""
    return request.model_copy(
        update={
            "documents": (*request.documents, *reading.documents),
            "allow_missing_hosts": request.allow_missing_hosts or bool(reading.rejections),
        }
    )


def _place(key: str, generation: int) -> str:
    """Generations sort as text."""
    return f"{key}/{generation:010d}"


def _action(stored: Resource | None) -> Literal["created", "configured"]:
    return "configured" if stored else "created"


def _applied(
    action: Literal["created", "configured", "unchanged"], resource: Resource, warnings: tuple[str, ...]
) -> wire.Applied:
    return wire.Applied(key=resource.key, action=action, generation=resource.generation, warnings=warnings)


def _means_the_same(one: Resource, other: Resource) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _MEANING)


def _outdated(stale: list[dict[str, Any]]) -> Refusal:
    names = ", ".join(str(one["resource"]) for one in stale)
    hint = "get the current one, change that, and send it with its generation"
    return Refusal(HTTPStatus.CONFLICT, f"changed by somebody else meanwhile: {names}", hint, stale)
