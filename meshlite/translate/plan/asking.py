"""Decides which calls are put to which provider: AuthorizationPolicy with action CUSTOM.

Source: https://istio.io/latest/docs/tasks/security/authorization/authz-custom/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshlite.model.security import AuthorizationPolicy
from meshlite.translate.plan.guard import Asking, Clauses, Provider
from meshlite.translate.plan.resources import Applied


def asking(
    policies: Sequence[tuple[Applied[AuthorizationPolicy], Clauses]], known: Sequence[Provider]
) -> tuple[Asking, ...]:
    """A workload has one provider; where policies name several, none is asked and their calls are denied."""
    asked: dict[str, Clauses] = {}
    for applied, clauses in policies:
        if applied.spec.action == "CUSTOM" and applied.spec.provider is not None:
            name = applied.spec.provider.name
            asked[name] = (*asked.get(name, ()), *clauses)
    by_name = {one.name: one for one in known if one.cluster}
    found = {name: by_name.get(name) if len(asked) == 1 else None for name in asked}
    return tuple(Asking(name, found[name], _named(name, clauses)) for name, clauses in sorted(asked.items()))


def _named(provider: str, clauses: Clauses) -> Clauses:
    return tuple(replace(one, name=f"istio-ext-authz-{provider}-{one.name}") for one in clauses)
