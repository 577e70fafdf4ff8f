"""How a resource of Istio's is put together that was made from others."""

from __future__ import annotations

from typing import Any

from meshlite.model.made import SEMANTICS, provenance
from meshlite.model.mesh import Resource

_KEPT = ("proxy.istio.io/config",)
"""Annotations of a Gateway that say how its ports behave."""


def made(kind: str, name: str, namespace: str, spec: dict[str, Any], *sources: Resource) -> Resource:
    """It counts as applied when the first of its sources was."""
    more = {SEMANTICS: "gateway"} if kind == "VirtualService" else {}
    if kind == "Gateway":
        more = {key: value for key, value in sources[0].annotations.items() if key in _KEPT}
    return Resource(
        api_version="networking.istio.io/v1",
        kind=kind,
        name=name,
        namespace=namespace,
        labels={},
        annotations={**provenance(*sources), **more},
        spec=spec,
        status={},
        sequence=sources[0].sequence,
    )
