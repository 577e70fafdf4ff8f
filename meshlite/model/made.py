"""Resources that were made from others, and what tells them from those that people write.

The annotations are Istio's own. Nobody else may write them: `rules.labels` refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshlite.model.mesh import Resource

PARENTS = "internal.istio.io/parents"
"""Keys of the resources it was made from, by comma."""

SEMANTICS = "internal.istio.io/route-semantics"
"""`gateway`: routes as Gateway API means them: prefixes by path element, 500 where a backend is not there."""


def provenance(*sources: Resource) -> dict[str, str]:
    """The annotation for what is made from `sources`."""
    return {PARENTS: ",".join(dict.fromkeys(source.key for source in sources))}


def made_from(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Keys of the resources that it was made from; none for one that somebody wrote."""
    parents = annotations.get(PARENTS, "")
    return tuple(parents.split(",")) if parents else ()


def of_gateway_api(resource: Resource) -> bool:
    return resource.annotations.get(SEMANTICS) == "gateway"
