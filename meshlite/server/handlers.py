"""What each call does: take the request apart, ask the part that knows, give its answer."""

from __future__ import annotations

import asyncio
import ipaddress
from http import HTTPStatus

from aiohttp import web

from meshlite import __version__
from meshlite.model import wire
from meshlite.model.analysis.analyze import analyze
from meshlite.model.analysis.stage import of_mesh
from meshlite.model.documents import Reading
from meshlite.model.kinds import KINDS
from meshlite.model.mesh import NodeRecord, Resource, Snapshot
from meshlite.model.names import canonical_namespace
from meshlite.server.call import Call, Reply
from meshlite.server.metrics import exposition
from meshlite.server.overview import overview
from meshlite.server.reading import read_all
from meshlite.server.refusal import Refusal
from meshlite.server.resources import NOTHING_READ
from meshlite.server.rotation import chains
from meshlite.server.stream import lines

STALLED = 30.0
"""Seconds after which a reader of the stream who takes nothing is cut off."""


async def health(call: Call) -> wire.Health:
    registry = call.parts.registry
    return wire.Health(
        version=__version__,
        snapshot=registry.snapshots.value.version,
        trust_domain=registry.trust_domain,
        started=call.parts.started,
        problems=call.parts.condition.problems,
    )


async def authority(call: Call) -> wire.Authority:
    book = call.parts.rotation.book
    return wire.Authority(
        roots=book.trust.roots, trust_domain=call.parts.registry.trust_domain, former=book.remembered
    )


async def authorities(call: Call) -> wire.Authorities:
    return await call.parts.rotation.view()


async def rotate(call: Call) -> wire.Authorities:
    return await call.parts.rotation.take(call.body, call.caller.name)


async def bring_authority(call: Call) -> wire.Authorities:
    """A key travels over no network."""
    if not call.local:
        reason = "an authority is brought in on the server's own host only, since its key comes along"
        raise Refusal(HTTPStatus.FORBIDDEN, reason, "run meshlite ca import there")
    return await call.parts.rotation.bring(call.body, call.caller.name)


async def make_token(call: Call) -> wire.Token:
    return await call.parts.enrolment.make_token(call.body, call.caller.name)


async def tokens(call: Call) -> wire.JoinTokens:
    return wire.JoinTokens(tokens=await call.parts.enrolment.tokens())


async def revoke_token(call: Call) -> None:
    await call.parts.enrolment.revoke_token(call.path["token"], call.caller.name)


async def create_access(call: Call) -> wire.AccessToken:
    return await call.parts.access.create(call.body, call.caller.name)


async def accesses(call: Call) -> wire.Accesses:
    return wire.Accesses(access=call.parts.access.all())


async def revoke_access(call: Call) -> None:
    await call.parts.access.revoke(call.path["name"], call.caller.name)


async def join(call: Call) -> wire.Certificate:
    return await call.parts.enrolment.join(call.body, _reachable(call.http.remote))


async def renew(call: Call) -> wire.Certificate:
    return await call.parts.enrolment.renew(call.node, call.body)


async def sign(call: Call) -> wire.Certificate:
    return await call.parts.enrolment.sign(call.caller.node, call.body)


async def certificates(call: Call) -> wire.Certificates:
    return wire.Certificates(
        certificates=await call.parts.enrolment.issued(), chains=chains(call.parts.rotation.book)
    )


async def nodes(call: Call) -> wire.Nodes:
    return wire.Nodes(nodes=call.parts.registry.nodes())


async def set_projects(call: Call) -> NodeRecord:
    return await call.parts.registry.set_projects(call.node, call.body)


async def report(call: Call) -> wire.Lease:
    return await call.parts.registry.report(call.node, call.body)


async def set_status(call: Call) -> None:
    call.parts.registry.set_status(call.node, call.body)


async def remove_node(call: Call) -> None:
    await call.parts.registry.remove(call.node)


async def snapshot(call: Call) -> Snapshot:
    return call.parts.registry.snapshots.value


async def snapshots(call: Call) -> web.StreamResponse:
    """Until the reader leaves, stalls, or the server stops; then the stream ends properly."""
    response = web.StreamResponse(
        headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
    )
    await response.prepare(call.http)
    task = asyncio.current_task()
    assert task is not None
    call.parts.streams.told(task)
    try:
        async for line in lines(
            call.parts.registry.snapshots, call.query.get("version", ""), call.parts.encode
        ):
            async with asyncio.timeout(STALLED):
                await response.write(line)
            call.parts.streams.told(task)
    except (TimeoutError, ConnectionError):
        if call.http.transport is not None:
            call.http.transport.abort()
    except asyncio.CancelledError:
        if task in call.parts.streams:
            raise
    finally:
        call.parts.streams.remove(task)
    return response


async def metrics(call: Call) -> web.StreamResponse:
    text = await exposition(call.parts)
    return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def workloads(call: Call) -> wire.Workloads:
    node, namespace, service = (call.query.get(name, "") for name in ("node", "namespace", "service"))
    found = (
        workload
        for workload in call.parts.registry.snapshots.value.workloads
        if node in ("", workload.node)
        and canonical_namespace(namespace) in ("", workload.namespace)
        and service in ("", workload.service)
    )
    return wire.Workloads(workloads=tuple(found))


async def services(call: Call) -> wire.Services:
    registry = call.parts.registry
    namespace, service = canonical_namespace(call.query.get("namespace", "")), call.query.get("service", "")
    found = (
        view
        for view in overview(registry.snapshots.value, registry.problems())
        if namespace in ("", view.namespace) and service in ("", view.name)
    )
    return wire.Services(services=tuple(found))


async def resources(call: Call) -> wire.Resources:
    namespace = canonical_namespace(call.query.get("namespace", ""))
    return wire.Resources(resources=call.parts.resources.select(call.query.get("kind", ""), namespace))


async def apply(call: Call) -> Reply:
    match = call.http.headers.get("If-Match")
    if match not in (None, "*"):
        reason = f"If-Match: {match} is not understood here"
        raise Refusal(HTTPStatus.BAD_REQUEST, reason, "send *, and the generation in each document")
    if match == "*" and call.body.texts:
        hint = "send documents; a text names no generation"
        raise Refusal(HTTPStatus.BAD_REQUEST, "If-Match is not understood for texts", hint)
    reading = await _read(call)
    answer = await call.parts.resources.apply(call.body, call.caller.name, match == "*", reading)
    return Reply(answer, HTTPStatus.UNPROCESSABLE_ENTITY if answer.rejected else HTTPStatus.OK)


async def read_documents(call: Call) -> wire.ReadResponse:
    documents, rejections, warnings = await _read(call)
    keys = tuple(document.resource.key for document in documents)
    return wire.ReadResponse(keys=keys, warnings=warnings, rejected=rejections)


async def _read(call: Call) -> Reading:
    """The texts of a request. In a thread: a long one takes a while."""
    if not call.body.texts:
        return NOTHING_READ
    projects = sorted({p for node in call.parts.registry.nodes() for p in node.record.projects})
    return await asyncio.to_thread(read_all, call.body.texts, call.body.namespace, projects)


async def kinds(call: Call) -> wire.Kinds:
    return wire.Kinds(
        kinds=tuple(
            wire.KindNames(key=kind.key, name=kind.name, words=kind.words, cluster_wide=kind.cluster_wide)
            for kind in KINDS
        )
    )


async def analysis(call: Call) -> wire.Analysis:
    return await _analysed(call, ())


async def analyze_documents(call: Call) -> wire.Analysis:
    return await _analysed(call, call.body.documents)


async def _analysed(call: Call, documents: tuple[wire.Document, ...]) -> wire.Analysis:
    """In a thread: a large mesh takes a while."""
    scene = of_mesh(call.parts.registry.snapshots.value, documents)
    return wire.Analysis(messages=await asyncio.to_thread(analyze, scene))


async def resource(call: Call) -> Reply:
    found: Resource = call.parts.resources.get(call.resource)
    return Reply(found, headers={"ETag": f'"{found.generation}"'})


async def delete(call: Call) -> None:
    match = call.http.headers.get("If-Match", "*").strip()
    generation = match.strip('"')
    if match != "*" and not (generation.isascii() and generation.isdigit() and len(generation) < 10):
        reason = f"If-Match: {match} is not a generation"
        raise Refusal(HTTPStatus.BAD_REQUEST, reason, 'send the ETag of the resource, e.g. "3"')
    expected = None if match == "*" else int(generation)
    await call.parts.resources.delete(call.resource, call.caller.name, expected)


async def history(call: Call) -> wire.History:
    return wire.History(revisions=await call.parts.resources.history(call.resource))


async def events(call: Call) -> wire.Events:
    return wire.Events(events=call.parts.events.latest(_number(call, "limit", 100)))


async def audit(call: Call) -> wire.Audit:
    limit, since, after = _number(call, "limit", 100), _number(call, "since", 0), _number(call, "after", 0)
    return await call.parts.audit.latest(limit, since, after)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 13):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name}={text} is not a number", "give a whole one, e.g. 100")
    return int(text)


def _reachable(peer: str | None) -> str:
    """The address that a joining node calls from, if other hosts can use it."""
    try:
        return peer if peer and not ipaddress.ip_address(peer).is_loopback else ""
    except ValueError:
        return ""
