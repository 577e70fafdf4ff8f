"""One request as the audit log tells it: who asked for what, from where, and what became of it."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel

from meshlite.model import wire
from meshlite.server.auth import STRANGER
from meshlite.server.call import Answer, Parts, Reply, Route

LONGEST = 500
"""Characters of a subject or reason that are kept: strangers choose some of them."""


class Asked:
    """Filled in while the request is read: `caller` and `body` are known later than its path."""

    def __init__(self, route: Route, request: web.Request) -> None:
        self.caller = STRANGER
        self.body: BaseModel | None = None
        self._route = route
        self._action = f"{route.method} {route.path}"
        self._path = "/".join(request.match_info.values())
        self._source = request.remote or "local socket"

    async def answered(self, parts: Parts, status: int, answer: Answer) -> None:
        """It was done; or refused in the answer's own form."""
        if not self._route.audited or getattr(self.body, "dry_run", False):
            return
        await self._record(parts, self._path or _subject(self.body, answer), status, "")

    async def refused(self, parts: Parts, status: HTTPStatus, reason: str) -> None:
        """Who may not come in is worth an entry anywhere; other faults only where a change was asked."""
        if self._route.audited or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            await self._record(parts, self._path or _subject(self.body, None), status, reason)

    async def _record(self, parts: Parts, subject: str, status: int, reason: str) -> None:
        who = self.caller.name
        subject, reason = (_printable(text) for text in (subject, reason))
        await parts.audit.record(who, self._source, self._action, subject, int(status), reason)


def _subject(body: BaseModel | None, answer: Answer) -> str:
    """What a request without a name in its path is about. Fields are picked one by one: none is a secret."""
    given = answer.body if isinstance(answer, Reply) else answer
    match given, body:
        case wire.Token(), _:
            return given.id
        case _, wire.ApplyRequest() if body.texts:
            return _subject_of_texts(body, given)
        case _, wire.ApplyRequest():
            return ", ".join(document.resource.key for document in body.documents)
        case _, wire.JoinRequest():
            return body.node
        case _, wire.SignRequest():
            return body.identity
        case _, wire.RotationRequest():
            return body.step
        case wire.Authorities(), _:
            return (given.coming or given.signing).subject
        case _, wire.AccessRequest():
            return f"{body.name} ({body.role})"
    return ""


def _subject_of_texts(body: wire.ApplyRequest, answer: Answer) -> str:
    """The resources that the answer names; else where they were to be read."""
    named: list[str] = []
    if isinstance(answer, wire.ApplyResponse):
        named = [one.key for one in answer.applied] or [one.resource for one in answer.rejected]
    return ", ".join(dict.fromkeys(name for name in named if name)) or ", ".join(t.name for t in body.texts)


def _printable(text: str) -> str:
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"
