"""What the agent answers: all on its unix socket, metrics and health on loopback too. Decides nothing."""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

import meshlite
from meshlite.agent import dump, metrics, traffic
from meshlite.agent.envoy_admin import EnvoyAdmin
from meshlite.agent.status import Status
from meshlite.model.wire import Error

SCRAPE_SECONDS = 3.0
CALL_SECONDS = 20.0
GROUP = "meshlite"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """Handlers over the agent's status and its Envoy. `leave(True)` is asked to take everything back."""

    def __init__(self, status: Status, envoy: EnvoyAdmin, leave: Callable[[bool], None]) -> None:
        self._status, self._envoy, self._leave = status, envoy, leave

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path, port: int) -> AsyncIterator[None]:
        """Answer while the block runs. Raises OSError where socket or port cannot be had."""
        runners = [web.AppRunner(app, access_log=None) for app in (self._private(), self._public())]
        try:
            for runner in runners:
                await runner.setup()
            _remove(socket)
            await web.UnixSite(runners[0], str(socket)).start()
            _protect(socket)
            await web.TCPSite(runners[1], "127.0.0.1", port).start()
            yield
        finally:
            for runner in runners:
                await runner.cleanup()
            _remove(socket)

    def _public(self) -> web.Application:
        app = web.Application(middlewares=[_errors])
        app.add_routes([web.get("/metrics", self._metrics), web.get("/healthz", self._health)])
        return app

    def _private(self) -> web.Application:
        app = self._public()
        app.add_routes(
            [
                web.get("/v1/status", self._get_status),
                web.get("/v1/proxy/status", self._proxy_status),
                web.get("/v1/proxy/config/{kind}", self._proxy_config),
                web.get("/v1/certificates", self._certificates),
                web.get("/v1/traffic", self._traffic),
                web.post("/v1/shutdown", self._shutdown),
            ]
        )
        return app

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._status.document())

    async def _proxy_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._status.proxy_status())

    async def _certificates(self, _: web.Request) -> web.Response:
        return web.json_response({"certificates": self._status.certificate_list()})

    async def _proxy_config(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.query.get("workload", "")
        if kind not in (*dump.KINDS, "all"):
            return failure(404, f"there is no kind {kind!r}", f"one of {', '.join(dump.KINDS)}, all")
        attachments = self._status.attachments_of(name) if name else ()
        if name and not attachments:
            hint = "meshlite status shows the workloads of this node"
            return failure(404, f"no captured workload {name!r} on this node", hint)
        found = dump.sorted_by_kind(await self._envoy.document("/config_dump?include_eds", CALL_SECONDS))
        if name:
            parts = [dump.concerning(found, attachment) for attachment in attachments]
            found = {each: _merged(part[each] for part in parts) for each in dump.KINDS}
        return web.json_response(found if kind == "all" else {kind: found[kind]})

    async def _traffic(self, _: web.Request) -> web.Response:
        rows = [
            {
                "source": edge.source,
                "destination": edge.destination,
                "port": edge.port,
                "version": edge.version,
                "code": edge.code,
                "flags": edge.flags,
                "count": edge.count,
            }
            for edge in await self._edges()
        ]
        return web.json_response({"traffic": rows})

    async def _edges(self) -> tuple[traffic.Edge, ...]:
        text = (await self._envoy.get("/stats/prometheus?usedonly", SCRAPE_SECONDS)).decode()
        return traffic.edges(text, traffic.Names(self._status.reconciler.picture.snapshot))

    async def _health(self, _: web.Request) -> web.Response:
        """Healthy: Envoy serves with the wanted configuration. The server may be away."""
        proxy = self._status.proxy_document()
        well = proxy["state"] == "running" and proxy["connected"]
        return web.json_response({"healthy": well, "proxy": proxy["state"]}, status=200 if well else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        """The agent's own metrics, Istio's of the traffic, then Envoy's; without Envoy, the agent's only."""
        lines = [*own_metrics(self._status)]
        try:
            envoy = (await self._envoy.get("/stats/prometheus?usedonly", SCRAPE_SECONDS)).decode()
        except ConnectionError:
            envoy = ""
        snapshot = self._status.reconciler.picture.snapshot
        lines += traffic.istio(traffic.edges(envoy, traffic.Names(snapshot)), snapshot.trust_domain)
        return web.Response(text="\n".join([*lines, envoy]), content_type="text/plain", charset="utf-8")

    async def _shutdown(self, request: web.Request) -> web.Response:
        body: Any = await request.json() if request.can_read_body else {}
        leave = bool(isinstance(body, dict) and body.get("leave"))
        self._leave(leave)
        return web.json_response({"state": "leaving" if leave else "stopping"}, status=202)


def own_metrics(status: Status) -> Iterator[str]:
    """How the agent is, for Prometheus."""
    document = status.document()
    proxy, workloads = document["proxy"], document["workloads"]
    build = {"version": meshlite.__version__, "envoy": proxy["version"]}
    yield from metrics.gauge("meshlite_agent_build_info", "Versions of agent and Envoy.", 1, build)
    values = {
        "server_connected": ("The central server is reached.", document["server"]["connected"]),
        "snapshot_age_seconds": ("Since the last word of the server.", document["snapshot"]["age_seconds"]),
        "workloads": ("Workloads of this node in the mesh.", len(workloads)),
        "captured_workloads": ("Those that are captured.", sum(w["captured"] for w in workloads)),
        "rejected_resources": ("Resources that Envoy refuses.", len(document["rejected"])),
        "problems": ("Faults in resources of the mesh.", len(document["problems"])),
        "proxy_up": ("The node proxy runs and is connected.", proxy["connected"]),
        "proxy_synced": ("It has the wanted configuration.", proxy["synced"]),
        "proxy_restarts": ("Times it ended unasked.", proxy["restarts"]),
        "certificates_valid": ("Valid certificates of workloads.", document["certificates"]["valid"]),
        "certificates_failing": ("Those whose renewal fails.", document["certificates"]["failing"]),
    }
    for name, (help, value) in values.items():
        if value is not None:
            yield from metrics.gauge(f"meshlite_agent_{name}", help, float(value))
    yield from status.timings.lines()


def _merged(lists: Iterator[list[dump.Item]]) -> list[dump.Item]:
    """Each item once: workloads share routes and clusters."""
    items = {(item["name"], item["state"]): item for found in lists for item in found}
    return [items[key] for key in sorted(items)]


def failure(status: int, error: str, hint: str = "") -> web.Response:
    return web.json_response(Error(error=error, hint=hint).model_dump(), status=status)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionError as error:
        return failure(503, str(error), "meshlite proxy-status says how the node proxy is")
    except web.HTTPException as error:
        return failure(error.status, error.reason)
    except ValueError as error:
        return failure(400, f"the request cannot be read: {error}")


def _remove(socket: Path) -> None:
    """A former agent that was killed leaves its socket behind."""
    socket.unlink(missing_ok=True)


def _protect(socket: Path) -> None:
    """For root, and for the group of those who may administer the mesh, where there is one."""
    with contextlib.suppress(KeyError):
        os.chown(socket, 0, grp.getgrnam(GROUP).gr_gid)
    socket.chmod(0o660)
