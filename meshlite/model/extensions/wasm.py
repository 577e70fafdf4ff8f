"""WasmPlugin: a filter compiled to WebAssembly, and what it has in common with a TrafficExtension.

Source: https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.networking.destination import PortSelector
from meshlite.model.scalars import Int32, by_number
from meshlite.model.selector import PolicyTargetReference, WorkloadSelector

_PluginPhase = Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"]
_PullPolicy = Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]
_FailStrategy = Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]
_PluginType = Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]
_EnvValueSource = Literal["INLINE", "HOST"]
_WorkloadMode = Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]
PluginPhase = Annotated[_PluginPhase, by_number(_PluginPhase)]
PullPolicy = Annotated[_PullPolicy, by_number(_PullPolicy)]
FailStrategy = Annotated[_FailStrategy, by_number(_FailStrategy)]
PluginType = Annotated[_PluginType, by_number(_PluginType)]
EnvValueSource = Annotated[_EnvValueSource, by_number(_EnvValueSource)]
WorkloadMode = Annotated[_WorkloadMode, by_number(_WorkloadMode)]


class TrafficSelector(Message):
    """`mode`: traffic that a workload sends (CLIENT), takes (SERVER), or both. `ports`: those dialled."""

    mode: WorkloadMode = "UNDEFINED"
    ports: tuple[PortSelector, ...] = ()


class EnvVar(Message):
    """HOST: the variable of that name that Envoy itself has."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    value_from: EnvValueSource = "INLINE"
    value: Annotated[str, Field(max_length=2048)] = ""


class VmConfig(Message):
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256)] = ()


class WasmConfig(Message):
    """`url`: `file://`, `http://`, `https://` or `oci://`, which is meant without a scheme, too."""

    url: str
    sha256: str = ""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    image_pull_secret: str | None = None
    verification_key: str = ""
    plugin_config: dict[str, Any] | None = None
    plugin_name: str | None = None
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    vm_config: VmConfig | None = None
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"


class WasmPlugin(WasmConfig):
    """Higher priorities first within a phase; AUTHN, AUTHZ, STATS, then those without a phase."""

    oneofs: ClassVar = (("selector", "target_ref", "target_refs"),)

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    phase: PluginPhase = "UNSPECIFIED_PHASE"
    priority: Int32 | None = None
    match: tuple[TrafficSelector, ...] = ()
