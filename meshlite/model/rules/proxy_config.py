"""Istio's verdict on a ProxyConfig."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.mesh import Resource
from meshlite.model.networking.proxy_config import ProxyConfig
from meshlite.model.rules.labels import selector

_LONGEST = 2048


def proxy_config(spec: ProxyConfig, resource: Resource) -> Iterator[Fault]:
    yield from selector(spec.selector, ("spec", "selector"))
    for name, value in spec.environment_variables.items():
        if len(value) > _LONGEST:
            yield Fault(("spec", "environmentVariables", name), f"is longer than {_LONGEST} characters")
