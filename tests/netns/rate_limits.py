"""A rate limit service of Envoy's API, version 3, which refuses some paths and keeps what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import grpc

from meshlite.translate.envoy import schema
from tests.netns.world import Box, inside

API = "envoy.service.ratelimit.v3"


@dataclass
class RateLimits:
    """`asked`: domain and descriptors, in the order of the calls. `over`: paths that are over their limit."""

    over: frozenset[str]
    asked: list[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=list)

    async def should_rate_limit(self, request: Any, context: Any) -> Any:
        entries = tuple((one.key, one.value) for each in request.descriptors for one in each.entries)
        self.asked.append((request.domain, entries))
        over = any(value in self.over for _, value in entries)
        return schema.parse(f"{API}.RateLimitResponse", {"overall_code": "OVER_LIMIT" if over else "OK"})


@asynccontextmanager
async def rate_limits(where: Box | None, port: int, *over: str) -> AsyncIterator[RateLimits]:
    """The service on a port of the box. `where` None: on the host."""
    limits = RateLimits(frozenset(over))
    handler = grpc.unary_unary_rpc_method_handler(
        limits.should_rate_limit,
        request_deserializer=schema.message(f"{API}.RateLimitRequest").FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )
    server = grpc.aio.server()
    methods = {"ShouldRateLimit": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"{API}.RateLimitService", methods),)
    )
    with inside(where.path) if where is not None else nullcontext():
        server.add_insecure_port(f"0.0.0.0:{port}")
    await server.start()
    try:
        yield limits
    finally:
        await server.stop(None)
