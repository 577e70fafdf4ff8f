"""Filters that users bring along, as they stand in a chain. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Lua:
    code: str


@dataclass(frozen=True, slots=True)
class Wasm:
    """`path`: the module on this node. `variables`: (name, value); `inherited`: names of Envoy's own ones."""

    path: str
    root_id: str = ""
    configuration: str = ""
    fail: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = "FAIL_CLOSE"
    variables: tuple[tuple[str, str], ...] = ()
    inherited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """Code that is not there and that nothing may pass without."""


@dataclass(frozen=True, slots=True)
class Extension:
    """`network`: for connections instead of requests. `ports`: those dialled, none for all.

    `place`: among what policies do: 0 before tokens are checked, 1 before calls are judged, 2 after that.
    """

    name: str
    code: Lua | Wasm | Missing
    network: bool = False
    ports: tuple[int, ...] = ()
    place: int = 2

    def on(self, port: int) -> bool:
        return not self.ports or port in self.ports
