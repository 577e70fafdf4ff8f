"""TrafficExtension: a filter in Lua or WebAssembly.

Source: https://istio.io/latest/docs/reference/config/proxy_extensions/traffic_extension/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meshlite.model.extensions.wasm import TrafficSelector, WasmConfig
from meshlite.model.message import Message
from meshlite.model.scalars import Int32, by_number
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

_ExecutionPhase = Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]
ExecutionPhase = Annotated[_ExecutionPhase, by_number(_ExecutionPhase)]


class LuaConfig(Message):
    """Defines `envoy_on_request`, `envoy_on_response`, or both."""

    inline_code: str


class TrafficExtension(Message):
    """Higher priorities first within a phase; AUTHN, AUTHZ, STATS, then those without a phase."""

    oneofs: ClassVar = (("selector", "target_refs"), ("wasm", "lua"))

    selector: WorkloadSelector | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    phase: ExecutionPhase = "UNSPECIFIED"
    priority: Int32 | None = None
    match: tuple[TrafficSelector, ...] = ()
    wasm: WasmConfig | None = None
    lua: LuaConfig | None = None
