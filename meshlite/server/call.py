"""What a handler gets and gives, and what a route says about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from meshlite.model.names import canonical_namespace
from meshlite.server.access import AccessBook
from meshlite.server.audit import AuditLog
from meshlite.server.auth import Caller, Role
from meshlite.server.clock import Clock
from meshlite.server.condition import Condition
from meshlite.server.enrolment import Enrolment
from meshlite.server.events import Events
from meshlite.server.key_sets import KeySets
from meshlite.server.registry import Registry
from meshlite.server.resources import ResourceBook
from meshlite.server.rotation import Rotation
from meshlite.server.stream import Encode, Readers
from meshlite.server.throttle import Throttle

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Parts:
    """All of the running server that handlers call."""

    registry: Registry
    resources: ResourceBook
    enrolment: Enrolment
    access: AccessBook
    rotation: Rotation
    audit: AuditLog
    events: Events
    clock: Clock
    started: float
    encode: Encode
    key_sets: KeySets
    condition: Condition
    throttle: Throttle
    streams: Readers


@dataclass(frozen=True)
class Call:
    """One request, read and allowed. `body` is of the route's type."""

    parts: Parts
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    http: web.Request

    @property
    def local(self) -> bool:
        """It came on the local socket."""
        return self.http.remote in (None, "")

    @property
    def node(self) -> str:
        return self.path["node"]

    @property
    def resource(self) -> str:
        """The key of the resource that the path names."""
        return f"{self.path['kind']}/{canonical_namespace(self.path['namespace'])}/{self.path['name']}"


@dataclass(frozen=True)
class Reply:
    """An answer with more than a body: another status, or headers."""

    body: BaseModel | None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = BaseModel | Reply | web.StreamResponse | None
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """A row of the API: it routes, guards, and documents itself. `also`: answers of other statuses than 200.

    An answer of None is 204. `limit`: bytes of body that are read at most. `audited`: what was
    done goes to the audit log; who may not do it goes there in any case.
    """

    method: str
    path: str
    handler: Handler
    allow: frozenset[Role]
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    also: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    limit: int = 64 * KIB
    media: str = "application/json"
    audited: bool = False
