"""The extensions.istio.io API: filters that users bring along."""

from meshlite.model.extensions.traffic_extension import LuaConfig, TrafficExtension
from meshlite.model.extensions.wasm import EnvVar, TrafficSelector, VmConfig, WasmConfig, WasmPlugin

__all__ = [
    "EnvVar",
    "LuaConfig",
    "TrafficExtension",
    "TrafficSelector",
    "VmConfig",
    "WasmConfig",
    "WasmPlugin",
]
