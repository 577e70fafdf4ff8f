"""`mtls strict` and its like, turned into the PeerAuthentication that they stand for. Pure.

What they write is theirs by shorthand's annotation, and they change nothing that somebody else wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from meshlite.model.mesh import Resource
from meshlite.model.shorthand import OWNED, Change, NotOurs, written

Mode = Literal["STRICT", "PERMISSIVE", "UNSET"]
"""UNSET takes back: what the wider scope says counts."""

_KIND = "PeerAuthentication"
_EVERYBODY = "default"


def set_mode(
    namespace: str, service: str, labels: Mapping[str, str], mode: Mode, resources: Sequence[Resource]
) -> Change:
    """For a namespace (the root namespace: the mesh), or for one `service` of it, chosen by `labels`.

    Raises NotOurs where somebody else wrote what counts for these workloads.
    """
    name = f"{service}-mtls" if service else _EVERYBODY
    near = [one for one in resources if one.kind == _KIND and one.namespace == namespace]
    for one in near:
        same = one.name == name or _scope(one) == (dict(labels) if service else {})
        if same and OWNED not in one.annotations:
            raise NotOurs(one.key)
    held = next((one for one in near if one.name == name), None)
    if mode == "UNSET":
        return Change((), (held.key,) if held is not None else ())
    spec: dict[str, object] = {"mtls": {"mode": mode}}
    if service:
        spec = {"selector": {"matchLabels": dict(labels)}, **spec}
    return Change((written(_KIND, name, namespace, spec),), ())


def _scope(resource: Resource) -> dict[str, object]:
    """The labels that it selects by; none: the whole namespace."""
    selector = resource.spec.get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    return labels if isinstance(labels, dict) else {}
