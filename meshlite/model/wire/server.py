"""Messages on what the server says of itself and of what happened."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from meshlite.model.mesh import Problem
from meshlite.model.workload import Frozen

_Time = Annotated[float, Field(description="seconds since 1970")]


class Health(Frozen):
    """GET /v1/health: the server answers, and says which mesh state it publishes."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="of meshlite")
    snapshot: str = Field(description="version of the current snapshot")
    trust_domain: str
    started: _Time
    problems: tuple[Problem, ...] = Field(
        default=(), description="what of its own state it cannot read, and why it cannot write now"
    )


class Metrics(RootModel[str]):
    """GET /metrics, in Prometheus' text format."""

    model_config = ConfigDict(frozen=True)


class Event(Frozen):
    """Something that happened in the mesh, said to a person. The last 1000 are kept, newest last."""

    time: _Time
    kind: Literal["node", "workload", "resource", "certificate", "token", "access", "server"]
    subject: str = Field(description="name of the node, service, resource or identity")
    message: str


class Events(Frozen):
    """GET /v1/events."""

    events: tuple[Event, ...]


class AuditEntry(Frozen):
    """A change that was asked for, or a refusal. No secret is in it.

    `hash` covers the entry and `previous`, the hash of the entry before: a changed or missing one shows.
    """

    number: int
    time: _Time
    who: str
    source: str = Field(description="the address that the request came from, or: local socket")
    action: str = Field(description="method and path")
    subject: str = Field(description="what it was about: keys, names, ids")
    status: int = Field(description="of HTTP: below 300 it was done")
    reason: str = Field(default="", description="why it was refused")
    previous: str
    hash: str


class Audit(Frozen):
    """GET /v1/audit, newest last. `intact`: the hashes of all that is kept fit together."""

    entries: tuple[AuditEntry, ...]
    intact: bool


class Error(Frozen):
    """Body of every answer that is not 2xx."""

    error: str
    hint: str = ""
    details: tuple[dict[str, Any], ...] = ()
