"""The gRPC end of delta ADS: a unix socket where each Envoy of this node has a state machine of its own."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from meshlite.agent import ads
from meshlite.translate.envoy import schema
from meshlite.watch import Watch

log = logging.getLogger(__name__)

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

RUSH_SECONDS = 0.003
"""After Envoy's last acknowledgement: it may still ask for what the acknowledged refers to."""


class _Signal(enum.Enum):
    NEWS = enum.auto()
    DUE = enum.auto()
    GONE = enum.auto()


class Connection:
    """One Envoy: its state machine, what happened to it, and since when it has news to acknowledge."""

    def __init__(self, name: str, wanted: ads.Wanted) -> None:
        self.name = name
        self.stream = ads.Stream(wanted, time.monotonic())
        self.quiet_since = time.monotonic()
        self._wanted = wanted
        self._inbox: asyncio.Queue[ads.Request | _Signal] = asyncio.Queue()
        self._news: list[float] = []
        self._unacknowledged: list[float] = []

    @property
    def settled(self) -> bool:
        """Envoy has answered all it was sent, and nothing waits to be handled."""
        return self._inbox.empty() and self.stream.settled

    def publish(self, wanted: ads.Wanted, since: float) -> None:
        """A slow Envoy is told only the newest configuration."""
        self._wanted = wanted
        if not self._news:
            self._inbox.put_nowait(_Signal.NEWS)
        self._news.append(since)

    def put(self, event: ads.Request | _Signal) -> None:
        self._inbox.put_nowait(event)

    async def next_event(self) -> ads.Request | _Signal:
        due = self.stream.next_due
        timeout = None if due is None else max(due - time.monotonic(), 0.01)
        try:
            async with asyncio.timeout(timeout):
                return await self._inbox.get()
        except TimeoutError:
            return _Signal.DUE

    def handle(self, event: ads.Request | _Signal) -> list[ads.Response]:
        """What to send because of `event`."""
        now = self.quiet_since = time.monotonic()
        if isinstance(event, ads.Request):
            return self.stream.received(event, now)
        if event is _Signal.DUE:
            return self.stream.due(now)
        responses = self.stream.publish(self._wanted, now)
        self._unacknowledged += self._news if responses else []
        self._news.clear()
        return responses

    def acknowledged(self) -> list[float]:
        """Since when the news was waiting that has now been acknowledged completely; each is told once."""
        if not self.stream.settled:
            return []
        done, self._unacknowledged = self._unacknowledged, []
        return done


class XdsServer:
    """Serves the wanted resources to any number of Envoys (two during a hot restart).

    `secrets`: the names of those that the Envoys ask for. `observe` is called with the seconds from a
    publication's `since` to Envoy's acknowledgement of all of it. `live`: whether Envoy serves: one that just
    started acknowledges listeners before it opens them, which takes until all has come that they need.
    """

    def __init__(
        self,
        path: Path,
        owner: int,
        observe: Callable[[float], None],
        live: Callable[[], bool] = lambda: True,
    ) -> None:
        self.connections: list[Connection] = []
        self.secrets: Watch[frozenset[str]] = Watch(frozenset())
        self._path, self._owner, self._observe, self._live = path, owner, observe, live
        self._wanted: ads.Wanted = {kind: {} for kind in ads.PUSH_ORDER}
        self._count = 0
        self._known = asyncio.Event()
        self._moved = asyncio.Event()

    def publish(self, wanted: ads.Wanted, since: float) -> None:
        """Have all Envoys told. `since`: time.monotonic() of the event that led to this configuration."""
        self._known.set()
        if wanted == self._wanted:
            return
        self._wanted = wanted
        for connection in self.connections:
            connection.publish(wanted, since)

    @property
    def rejections(self) -> list[ads.Rejection]:
        """What the Envoys refuse, each resource once."""
        found = {key: r for c in self.connections for key, r in c.stream.rejected.items()}
        return [found[key] for key in sorted(found)]

    @property
    def synced(self) -> bool:
        """There is an Envoy, and all of them have answered everything."""
        return bool(self.connections) and all(c.settled for c in self.connections)

    async def caught_up(self, timeout: float, awaited: Collection[frozenset[str]] = ()) -> bool:
        """Wait until what was published is in effect; False if that takes more than `timeout` seconds, or if
        the listeners of one of the `awaited` are open before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._at_rest():
                    if any(map(self.open, awaited)):
                        return False
                    soon = self.synced or awaited or not self._live()
                    await self._movement(RUSH_SECONDS if soon else None)
                return True
        return False

    def open(self, listeners: frozenset[str]) -> bool:
        """All Envoys have these listeners in some version, and what they refer to. Of none: no."""
        if not listeners:
            return False
        limit = time.monotonic() - RUSH_SECONDS
        streams = [connection.stream for connection in self.connections]
        return (
            bool(streams)
            and self._live()
            and all(
                stream.opened.get(name, limit + 1) <= limit and not stream.in_flight(ads.ROUTE)
                for stream in streams
                for name in listeners
            )
        )

    def _at_rest(self) -> bool:
        limit = time.monotonic() - RUSH_SECONDS
        return self.synced and self._live() and all(c.quiet_since <= limit for c in self.connections)

    async def _movement(self, timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._moved.wait()

    def _note(self, connection: Connection) -> None:
        asked = (one.stream.asked(ads.SECRET) for one in self.connections)
        self.secrets.set(frozenset[str]().union(*asked))
        for since in connection.acknowledged():
            self._observe(time.monotonic() - since)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the block runs. Raises OSError where the socket cannot be made."""
        server = grpc.aio.server(options=_UNLIMITED)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=schema.message(
                "envoy.service.discovery.v3.DeltaDiscoveryRequest"
            ).FromString,
            response_serializer=lambda message: message.SerializeToString(deterministic=True),
        )
        methods = {"DeltaAggregatedResources": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        try:
            server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._path}: {error}") from error
        await server.start()
        os.chown(self._path, self._owner, -1)
        self._path.chmod(0o600)
        try:
            yield
        finally:
            await server.stop(grace=None)

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        # A returned agent that does not know the mesh yet must not tell Envoy that there is none.
        await self._known.wait()
        self._count += 1
        connection = Connection(str(self._count), self._wanted)
        self.connections.append(connection)
        log.info("Envoy connected", extra={"fields": {"stream": connection.name}})
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_read(requests, connection))
                while (event := await connection.next_event()) is not _Signal.GONE:
                    for response in connection.handle(event):
                        await context.write(_message(response))
                    self._note(connection)
        finally:
            self.connections.remove(connection)
            self._note(connection)
            log.info("Envoy disconnected", extra={"fields": {"stream": connection.name}})


async def _read(requests: AsyncIterator[Any], connection: Connection) -> None:
    async for message in requests:
        connection.put(_request(message))
    connection.put(_Signal.GONE)


def _request(message: Any) -> ads.Request:
    return ads.Request(
        message.type_url,
        tuple(message.resource_names_subscribe),
        tuple(message.resource_names_unsubscribe),
        dict(message.initial_resource_versions),
        message.response_nonce,
        message.error_detail.message if message.HasField("error_detail") else "",
    )


def _message(response: ads.Response) -> Any:
    message: Any = schema.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")()
    message.type_url, message.nonce = response.type_url, response.nonce
    message.removed_resources.extend(response.removed)
    for name, encoded in response.resources.items():
        resource = message.resources.add(name=name, version=encoded.version)
        resource.resource.type_url = response.type_url
        resource.resource.value = encoded.body
    return message
