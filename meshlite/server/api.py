"""The API over HTTP: who calls, read the body, call the handler, answer; every failure as wire.Error."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from meshlite import __version__
from meshlite.model.wire import Error, JoinRequest
from meshlite.server import auth
from meshlite.server.asked import Asked
from meshlite.server.auth import Caller, Role
from meshlite.server.call import Answer, Call, Parts, Reply, Route
from meshlite.server.openapi import document
from meshlite.server.refusal import Refusal
from meshlite.server.routes import ROUTES
from meshlite.server.store import Conflict, Unavailable

PARTS = web.AppKey("parts", Parts)
GROUP_ID = web.AppKey("group_id", int)
"""Id of the local group of admins; -1 where there is none."""

BODY_TIMEOUT = 30.0
"""Seconds within which a request's body must have come."""

SHOWN_FAULTS = 20
_SO_PEERGROUPS = (
    59  # not in the socket module; the number is that of every Linux that Python wheels exist for
)
_log = logging.getLogger("meshlite.server")

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def install(app: web.Application, routes: Sequence[Route] = ROUTES) -> None:
    """Give the application all routes. It needs PARTS and GROUP_ID when the first request comes."""
    for route in routes:
        app.router.add_route(route.method, route.path, _http_handler(route))
    described = json.dumps(document(routes, __version__))

    async def openapi(_request: web.Request) -> web.Response:
        return web.json_response(text=described)

    app.router.add_route("GET", "/v1/openapi.json", openapi)


def _http_handler(route: Route) -> HttpHandler:
    async def handle(request: web.Request) -> web.StreamResponse:
        parts = request.app[PARTS]
        asked = Asked(route, request)
        try:
            answer = await _answer(route, request, parts, asked)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.UNAUTHORIZED and _shows_token(route, request):
                parts.throttle.guessed_wrong(request.remote or "")
            await asked.refused(parts, refusal.status, refusal.body.error)
            raise
        except Conflict as error:
            await asked.refused(parts, HTTPStatus.CONFLICT, str(error))
            raise
        except Unavailable as error:
            await asked.refused(parts, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            raise
        response = _response(answer)
        await asked.answered(parts, response.status, answer)
        return response

    return handle


async def _answer(route: Route, request: web.Request, parts: Parts, asked: Asked) -> Answer:
    if _shows_token(route, request):
        parts.throttle.may_guess(request.remote or "")
    asked.caller = caller = auth.STRANGER if Role.ANYONE in route.allow else identify(request, parts)
    parts.throttle.admit(caller, request.remote or "")
    path = dict(request.match_info)
    auth.permit(caller, route.allow, path.get("node", ""))
    if unknown := set(request.query) - set(route.query):
        hint = f"there is: {', '.join(route.query)}" if route.query else ""
        raise Refusal(HTTPStatus.BAD_REQUEST, f"no such parameter: {', '.join(sorted(unknown))}", hint)
    body = parsed(route.body, await _read(request, route.limit)) if route.body else None
    asked.body = body
    return await route.handler(Call(parts, caller, path, dict(request.query), body, request))


def _shows_token(route: Route, request: web.Request) -> bool:
    """Of a person, or to join; which may be guesses."""
    return route.body is JoinRequest or (
        Role.ANYONE not in route.allow and "Authorization" in request.headers
    )


def identify(request: web.Request, parts: Parts) -> Caller:
    """Who is at the other end: by the kernel on the local socket; by bearer token or certificate over TLS."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the caller has gone")
    connection = transport.get_extra_info("socket")
    if connection.family == socket.AF_UNIX:
        group = request.app[GROUP_ID]
        return auth.from_local(_peer(connection), os.geteuid(), group if group >= 0 else None)
    if (header := request.headers.get("Authorization")) is not None:
        return parts.access.caller(auth.bearer(header))
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return auth.STRANGER
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    start = ssl.cert_time_to_seconds(certificate["notBefore"])
    return auth.from_certificate(uris, start, parts.registry.trust_domains, parts.registry.joined)


def _peer(connection: socket.socket) -> auth.Peer:
    _pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
        more = struct.unpack(f"{len(raw) // 4}i", raw)
    except OSError:  # an old kernel, or more groups than fit
        more = ()
    return auth.Peer(uid, frozenset((gid, *more)))


async def _read(request: web.Request, limit: int) -> bytes:
    too_large = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_TIMEOUT:g} s"
        ) from None
    except web.RequestPayloadError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is cut off, or not encoded as it says") from error
    return bytes(body)


def parsed(form: type[BaseModel], body: bytes) -> BaseModel:
    """The body as `form`. Refusal (400) with the path of each fault; what was sent is not repeated."""
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)[:SHOWN_FAULTS]
        details = [
            {"field": ".".join(str(part) for part in fault["loc"]), "reason": fault["msg"]}
            for fault in faults
        ]
        hint = "its form is in GET /v1/openapi.json"
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no {form.__name__}", hint, details) from error


def _response(answer: Answer) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    if reply.body is None:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=reply.headers)
    text = reply.body.model_dump_json()
    return web.Response(
        text=text, status=reply.status, headers=reply.headers, content_type="application/json"
    )


class CallersFaults(logging.Filter):
    """Makes one line of what aiohttp logs with a traceback when a caller does not speak HTTP properly."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            record.levelno, record.levelname, record.exc_info = logging.INFO, "INFO", None
            record.msg, record.args = "a caller does not speak HTTP properly: %s", (type(error).__name__,)
        return True


@web.middleware
async def errors_as_json(request: web.Request, handler: HttpHandler) -> web.StreamResponse:
    """The one place where failures become answers. What is our fault goes to the log, not to the caller."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _error(refusal.status, refusal.body, refusal.headers)
    except web.HTTPException as error:
        body = Error(error=_said(error, request), hint="see GET /v1/openapi.json")
        return _error(error.status, body, {k: v for k, v in error.headers.items() if k == "Allow"})
    except Conflict as error:
        return _error(HTTPStatus.CONFLICT, Error(error=str(error), hint="try again"))
    except Unavailable as error:
        _log.error("%s %s: %s", request.method, request.path, error)
        hint = "nothing was changed; correct that, then try again"
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, Error(error=str(error), hint=hint))
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        reference = secrets.token_hex(4)
        _log.exception("%s %s failed", request.method, request.path, extra={"fields": {"ref": reference}})
        body = Error(error="the server has a bug here", hint=f"its log has more: look for ref={reference}")
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, body)


def _said(error: web.HTTPException, request: web.Request) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return (
            f"{request.path} does not take {request.method}, only {', '.join(sorted(error.allowed_methods))}"
        )
    if isinstance(error, web.HTTPNotFound):
        return f"there is no {request.path}"
    return error.reason


def _error(status: int, body: Error, headers: Mapping[str, str] | None = None) -> web.Response:
    # What is repeated of a header may be no text at all.
    plain = {name: getattr(body, name).encode(errors="replace").decode() for name in ("error", "hint")}
    text = body.model_copy(update=plain).model_dump_json()
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
