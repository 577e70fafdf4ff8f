"""Who may use what: `exportTo`, and which of several services of one host a caller means.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-export_to
"""

from __future__ import annotations

from collections.abc import Iterable

from meshlite.model.external import External
from meshlite.model.names import CLUSTER_SUFFIX, canonical_namespace


def visible(export_to: Iterable[str], owner: str, namespace: str) -> bool:
    """Whether what belongs to namespace `owner` may be used by callers in `namespace`; by default by all.

    `.` is the owner's own namespace, `*` every one, `~` none.
    """
    places = tuple(export_to)
    if not places or "*" in places:
        return True
    return any(namespace == (owner if place == "." else canonical_namespace(place)) for place in places)


def seen(externals: Iterable[External], services: Iterable[str], namespace: str) -> tuple[External, ...]:
    """Declared hosts that callers in `namespace` mean by their names, in order of application.

    `services`: the FQDNs of those of the mesh that they see. Of all with one host they mean their own
    namespace's, and there the mesh's before a declared one; else the mesh's; else what was declared first.
    """
    known = frozenset(services)
    near = f".{namespace}.{CLUSTER_SUFFIX}"
    found: dict[str, External] = {}
    for one in externals:
        if not visible(one.export_to, one.namespace, namespace):
            continue
        own = one.namespace == namespace and not (one.host in known and one.host.endswith(near))
        if own or (one.host not in known and one.host not in found):
            found[one.host] = one
    return tuple(found.values())
