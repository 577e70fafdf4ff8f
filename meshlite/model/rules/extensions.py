"""Istio's verdict on a WasmPlugin and a TrafficExtension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from meshlite.model.extensions.traffic_extension import LuaConfig, TrafficExtension
from meshlite.model.extensions.wasm import TrafficSelector, VmConfig, WasmConfig, WasmPlugin
from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.rules.labels import selector
from meshlite.model.rules.targets import target
from meshlite.model.scalars import shown

_SPEC: Path = ("spec",)
_SCHEMES = ("", "http", "https", "file", "oci")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_CODE = 64 * 1024
_LONGEST_NAMES = {"imagePullSecret": 253, "pluginName": 256}


def wasm_plugin(spec: WasmPlugin, resource: Resource) -> Iterator[Fault]:
    yield from selector(spec.selector, (*_SPEC, "selector"))
    if spec.target_ref is not None:
        yield from target(spec.target_ref, (*_SPEC, "targetRef"))
    for place, reference in enumerate(spec.target_refs):
        yield from target(reference, (*_SPEC, "targetRefs", place))
    yield from _wasm(spec, _SPEC)
    yield from _match(spec.match)


def traffic_extension(spec: TrafficExtension, resource: Resource) -> Iterator[Fault]:
    yield from selector(spec.selector, (*_SPEC, "selector"))
    for place, reference in enumerate(spec.target_refs):
        yield from target(reference, (*_SPEC, "targetRefs", place))
    if spec.wasm is not None:
        yield from _wasm(spec.wasm, (*_SPEC, "wasm"))
    elif spec.lua is not None:
        yield from _lua(spec.lua)
    else:
        yield Fault(_SPEC, "one of wasm and lua is required")
    yield from _match(spec.match)


def scheme(url: str) -> str:
    """`""` for an OCI image named without one, `?` for what is no URL."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return "?"
    return parts.scheme if parts.netloc or parts.path else "?"


def _wasm(spec: WasmConfig, at: Path) -> Iterator[Fault]:
    if not spec.url:
        yield Fault((*at, "url"), "must not be empty")
    elif scheme(spec.url) not in _SCHEMES:
        yield Fault((*at, "url"), f"{shown(spec.url)} must begin with file://, http://, https:// or oci://")
    if spec.sha256 and not _SHA256.fullmatch(spec.sha256):
        yield Fault((*at, "sha256"), "must be 64 characters of 0-9 and a-f")
    for name, value in (("imagePullSecret", spec.image_pull_secret), ("pluginName", spec.plugin_name)):
        if value is not None and not 1 <= len(value) <= _LONGEST_NAMES[name]:
            yield Fault((*at, name), f"must have 1 to {_LONGEST_NAMES[name]} characters")
    if spec.vm_config is not None:
        yield from _vm(spec.vm_config, (*at, "vmConfig"))


def _vm(vm: VmConfig, at: Path) -> Iterator[Fault]:
    for place, variable in enumerate(vm.env):
        here = (*at, "env", place)
        if any(other.name == variable.name for other in vm.env[:place]):
            yield Fault((*here, "name"), f"{variable.name} is given twice")
        if variable.value_from == "HOST" and variable.value:
            yield Fault((*here, "value"), "cannot be combined with valueFrom HOST")


def _lua(lua: LuaConfig) -> Iterator[Fault]:
    at = (*_SPEC, "lua", "inlineCode")
    if not lua.inline_code:
        yield Fault(at, "must not be empty")
    elif len(lua.inline_code.encode(errors="replace")) > _LONGEST_CODE:
        yield Fault(at, "is longer than 64 KiB")


def _match(selectors: tuple[TrafficSelector, ...]) -> Iterator[Fault]:
    for place, one in enumerate(selectors):
        numbers = [port.number for port in one.ports]
        for port, number in enumerate(numbers):
            if number in numbers[:port]:
                yield Fault((*_SPEC, "match", place, "ports", port, "number"), f"{number} is given twice")
