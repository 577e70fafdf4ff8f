"""Decides which filters users bring into which chains, and in which order: WasmPlugin and TrafficExtension.

Source: https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from meshlite.model.extensions import TrafficExtension, TrafficSelector, WasmConfig, WasmPlugin
from meshlite.model.image import Image, is_image
from meshlite.model.selector import PolicyTargetReference
from meshlite.translate.node import Module, ModuleState
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.confinement import sandboxed
from meshlite.translate.plan.extension import Extension, Lua, Missing, Wasm
from meshlite.translate.plan.resources import Applied, Told

Mode = Literal["CLIENT", "SERVER"]

PHASES = ("AUTHN", "AUTHZ", "STATS")
"""Their order; without a phase, a filter comes after all of these."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """Either kind of resource, for workloads with the labels `wanted`, or for its `targets`.

    `match`: any of them; `order`: lower comes first.
    """

    key: str
    name: str
    namespace: str
    wanted: tuple[tuple[str, str], ...]
    targets: tuple[PolicyTargetReference, ...]
    order: tuple[int, int]
    match: tuple[TrafficSelector, ...]
    code: WasmConfig | Lua
    generation: int

    @property
    def module(self) -> Module | None:
        """What the node must have for it."""
        if isinstance(self.code, Lua):
            return None
        code, image = self.code, is_image(self.code.url)
        policy = code.image_pull_policy
        changing = image and Image.of(code.url).reference == "latest" and policy == "UNSPECIFIED_POLICY"
        fresh = f"{self.key}@{self.generation}" if changing or policy == "Always" else ""
        secret = f"{self.namespace}/{code.image_pull_secret}" if image and code.image_pull_secret else ""
        return Module(code.url, code.sha256, fresh, secret)

    def ports(self, mode: Mode) -> tuple[int, ...] | None:
        """The ports on which it acts, none for all; None where it does not."""
        if not self.match:
            return ()
        fitting = [one for one in self.match if one.mode in ("UNDEFINED", "CLIENT_AND_SERVER", mode)]
        if not fitting:
            return None
        if any(not one.ports for one in fitting):
            return ()
        return tuple(sorted({port.number for one in fitting for port in one.ports}))


def plugins(
    wasm: tuple[Applied[WasmPlugin], ...],
    extensions: tuple[Applied[TrafficExtension], ...],
    trusted: bool,
) -> tuple[Plugin, ...]:
    """All of them by phase, then higher priorities first, then in order of application.

    `trusted`: Lua may reach files and programs.
    """
    found = [(one.resource.sequence, _of_wasm(one)) for one in wasm]
    found += [(one.resource.sequence, _of_extension(one, trusted)) for one in extensions]
    found.sort(key=lambda pair: (pair[1].order, pair[0], pair[1].key))
    return tuple(plugin for _, plugin in found)


def chosen(
    plugins: tuple[Plugin, ...], side: Side, mode: Mode, modules: Mapping[Module, ModuleState]
) -> tuple[Extension, ...]:
    """The filters for one side of workloads, in order. Gateways are clients of what is behind them."""
    return tuple(_extensions(plugins, side, mode, modules))


def wanted(plugins: tuple[Plugin, ...], sides: tuple[tuple[Side, Mode], ...]) -> tuple[Module, ...]:
    """What these workloads' filters need, also where traffic may go on without it."""
    modules = (plugin.module for plugin in plugins if any(_selects(plugin, *side) for side in sides))
    return tuple(dict.fromkeys(module for module in modules if module is not None))


def report_missing(
    plugins: tuple[Plugin, ...], used: tuple[Module, ...], modules: Mapping[Module, ModuleState]
) -> Told:
    """Which modules this node could not get, and what that means."""
    told = []
    for plugin in plugins:
        state = modules.get(plugin.module) if plugin.module in used and plugin.module else None
        if state is not None and state.error and isinstance(plugin.code, WasmConfig):
            opened = plugin.code.fail_strategy == "FAIL_OPEN"
            effect = "traffic goes on without it" if opened else "what it is for is refused"
            told.append((plugin.key, f"{plugin.code.url}: {state.error}: {effect}"))
    return tuple(told)


def selectors(plugins: tuple[Plugin, ...]) -> Iterator[Mapping[str, str]]:
    """Labels that tell callers apart: those of filters on the calling side."""
    return (dict(one.wanted) for one in plugins if one.wanted and one.ports("CLIENT") is not None)


def _extensions(
    plugins: tuple[Plugin, ...], side: Side, mode: Mode, modules: Mapping[Module, ModuleState]
) -> Iterator[Extension]:
    for plugin in plugins:
        if not _selects(plugin, side, mode) or (code := _code(plugin, modules)) is None:
            continue
        network = isinstance(plugin.code, WasmConfig) and plugin.code.type == "NETWORK"
        place = min(plugin.order[0], 2)
        name = plugin.key.lower().replace("/", ".")
        yield Extension(name, code, network, plugin.ports(mode) or (), place)


def _selects(plugin: Plugin, side: Side, mode: Mode) -> bool:
    here = side.chosen(plugin.namespace, dict(plugin.wanted), plugin.targets)
    return here and plugin.ports(mode) is not None


def _code(plugin: Plugin, modules: Mapping[Module, ModuleState]) -> Lua | Wasm | Missing | None:
    """None: traffic goes on without it."""
    code = plugin.code
    if isinstance(code, Lua):
        return code
    state = modules.get(plugin.module) if plugin.module is not None else None
    if state is None or not state.path:
        return None if code.fail_strategy == "FAIL_OPEN" else Missing()
    env = code.vm_config.env if code.vm_config is not None else ()
    return Wasm(
        state.path,
        code.plugin_name or "",
        json.dumps(code.plugin_config, sort_keys=True) if code.plugin_config else "",
        code.fail_strategy,
        tuple((one.name, one.value) for one in env if one.value_from == "INLINE"),
        tuple(one.name for one in env if one.value_from == "HOST"),
    )


def _of_wasm(one: Applied[WasmPlugin]) -> Plugin:
    spec = one.spec
    targets = spec.target_refs or ((spec.target_ref,) if spec.target_ref is not None else ())
    return _plugin(one, targets, spec.phase, spec.priority, spec.match, spec)


def _of_extension(one: Applied[TrafficExtension], trusted: bool) -> Plugin:
    spec = one.spec
    lua = spec.lua.inline_code if spec.lua is not None else ""
    code = spec.wasm if spec.wasm is not None else Lua(lua if trusted else sandboxed(lua))
    return _plugin(one, spec.target_refs, spec.phase, spec.priority, spec.match, code)


def _plugin(
    one: Applied[WasmPlugin] | Applied[TrafficExtension],
    targets: tuple[PolicyTargetReference, ...],
    phase: str,
    priority: int | None,
    match: tuple[TrafficSelector, ...],
    code: WasmConfig | Lua,
) -> Plugin:
    selector = one.spec.selector
    place = PHASES.index(phase) if phase in PHASES else len(PHASES)
    return Plugin(
        one.key,
        one.resource.name,
        one.namespace,
        tuple(sorted(selector.match_labels.items())) if selector is not None else (),
        targets,
        (place, -(priority or 0)),
        match,
        code,
        one.resource.generation,
    )
