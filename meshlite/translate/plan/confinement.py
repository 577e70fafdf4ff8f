"""Decides what code and configuration that users bring may reach: traffic, but nothing of the host.

All workloads of a host share one proxy, which has more rights than any of them. So what is applied like any
resource gets no way to write files of the host, to run its programs or to leave the workload's network
namespace, unless the operator trusts whoever may apply it (setting `envoy_filter`). What would make the
listeners of capture deaf is refused in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlite.model.networking import EnvoyConfigObjectPatch, EnvoyFilter
from meshlite.model.rules.workload_entry import unix_path
from meshlite.model.scalars import shown
from meshlite.translate.plan.resources import Applied, Told

TRUST = "the setting envoy_filter: trusted allows it"

_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/null")
_PLACE = ("name", "address", "additional_addresses", "bind_to_port", "use_original_dst", "api_listener")
"""Fields of a listener by which capture finds it."""
_WRITERS = {
    ".file_system_http_cache.": "keeps a cache in files of the host",
    ".file_system_buffer.": "keeps bodies in files of the host",
    ".golang.": "runs a program of the host inside the proxy",
    ".dynamic_modules.": "runs a program of the host inside the proxy",
}
"""A part of a message's name -> what it does."""
_CODE = ("inline_code", "inline_string")
_SANDBOX = (
    "io=nil package=nil require=nil module=nil dofile=nil loadfile=nil load=nil loadstring=nil debug=nil "
    "jit=nil os={time=os.time,date=os.date,clock=os.clock,difftime=os.difftime} "
)
"""Comes before the user's first line, on the same line: without these Lua has its language only.

Source: https://luajit.org/extensions.html
"""


def sandboxed(code: str) -> str:
    """Lua that reaches neither files nor programs."""
    return _SANDBOX + code


def confined(
    filters: tuple[Applied[EnvoyFilter], ...], trusted: bool
) -> tuple[tuple[Applied[EnvoyFilter], ...], Told]:
    """The filters without patches that reach too far, which are told of, and with their Lua confined."""
    kept: list[Applied[EnvoyFilter]] = []
    told: list[tuple[str, str]] = []
    for one in filters:
        refused = dict(objections(one.spec, trusted))
        told += [
            (one.key, f"spec.configPatches[{place}]: {why}; it is left out") for place, why in refused.items()
        ]
        patches = tuple(
            patch if trusted else _harmless(patch)
            for place, patch in enumerate(one.spec.config_patches)
            if place not in refused
        )
        same = patches == one.spec.config_patches
        spec = one.spec if same else one.spec.model_copy(update={"config_patches": patches})
        kept.append(one if same else Applied(one.resource, spec))
    return tuple(kept), tuple(told)


def objections(spec: EnvoyFilter, trusted: bool) -> Iterator[tuple[int, str]]:
    """Places of patches that are not let through, and why."""
    for place, patch in enumerate(spec.config_patches):
        value = (patch.patch.value if patch.patch is not None else None) or {}
        operation = patch.patch.operation if patch.patch is not None else "INVALID"
        merged = patch.apply_to == "LISTENER" and operation.startswith("MERGE")
        moved = next((name for name in _PLACE if name in _snake(value)), "") if merged else ""
        if moved:
            yield place, f"patch.value.{moved}: by it capture finds the listener, so it stays as it is"
        elif not trusted and (why := next(_reaches(value, patch.apply_to), "")):
            yield place, f"{why}: {TRUST}"


def _snake(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_plain(name): value for name, value in fields.items()}


def _plain(name: str) -> str:
    """Both of a field's names in JSON: `typedConfig` -> `typed_config`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _kind(fields: Mapping[str, Any]) -> str:
    """What kind of message it is, also inside a TypedStruct."""
    return " ".join(str(fields.get(name, "")) for name in ("@type", "type_url", "typeUrl"))


def _reaches(value: Any, apply_to: str, kind: str = "") -> Iterator[str]:
    """How a value gets hold of something of the host; `kind`: of the messages around it."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _reaches(item, apply_to, kind)
    if not isinstance(value, Mapping):
        return
    kind = f"{kind} {_kind(value)}"
    yield from (f"it {what}" for part, what in _WRITERS.items() if part in _kind(value))
    for name, inner in value.items():
        if why := _reach(_plain(str(name)), inner, apply_to, kind):
            yield why
        yield from _reaches(inner, apply_to, kind)


def _reach(name: str, inner: Any, apply_to: str, kind: str) -> str:
    path = str(inner.get("path", "")) if isinstance(inner, Mapping) else str(inner)
    if name == "path" and "FileAccessLog" in kind and path not in _STREAMS:
        return f"it writes to the file {shown(path)} of the host, not to /dev/stdout"
    if name == "file_per_tap":
        return "it writes what it sees to files of the host"
    if name == "network_namespace_filepath":
        return "it leaves the workload's network namespace"
    if name == "pipe" and (apply_to == "LISTENER" or unix_path(path)):
        return f"it reaches the socket {shown(path)} of the host"
    if ".lua." in kind and name in ("filename", "inline_bytes", "environment_variable"):
        return f"Lua by {name} cannot be confined"
    return ""


def _harmless(patch: EnvoyConfigObjectPatch) -> EnvoyConfigObjectPatch:
    inner = patch.patch
    if inner is None or not inner.value:
        return patch
    value = _without_host(inner.value, "")
    return patch.model_copy(update={"patch": inner.model_copy(update={"value": value})})


def _without_host(value: Any, kind: str) -> Any:
    if isinstance(value, list | tuple):
        return [_without_host(item, kind) for item in value]
    if not isinstance(value, Mapping):
        return value
    kind = f"{kind} {_kind(value)}"
    return {
        name: sandboxed(inner)
        if ".lua." in kind and _plain(str(name)) in _CODE and isinstance(inner, str)
        else _without_host(inner, kind)
        for name, inner in value.items()
    }
