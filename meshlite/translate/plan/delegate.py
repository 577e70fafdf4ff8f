"""Puts the routes of delegates in their places: VirtualServices without hosts, named by rules of others.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from meshlite.model.names import canonical_namespace, resolve_known
from meshlite.model.networking import (
    Destination,
    HTTPMatchRequest,
    HTTPRoute,
    StringMatch,
    VirtualService,
)
from meshlite.translate.plan.resources import Applied, Told, visible

_FILLED = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)
"""What a delegate's route takes from the rule that delegates where it says nothing itself."""


def delegated(
    applied: tuple[Applied[VirtualService], ...], services: Collection[str]
) -> tuple[tuple[Applied[VirtualService], ...], Told]:
    """Those with hosts, each whole; and what is wrong. Hosts in a delegate are meant in its own namespace."""
    delegates = {(one.namespace, one.resource.name): one for one in applied if not one.spec.hosts}
    told: list[tuple[str, str]] = []
    whole = []
    for root in applied:
        if root.spec.hosts and any(rule.delegate is not None for rule in root.spec.http):
            rules = tuple(_rules(root, delegates, services, told))
            root = Applied(root.resource, root.spec.model_copy(update={"http": rules}))
        if root.spec.hosts:
            whole.append(root)
    return tuple(whole), tuple(told)


def _rules(
    root: Applied[VirtualService],
    delegates: Mapping[tuple[str, str], Applied[VirtualService]],
    services: Collection[str],
    told: list[tuple[str, str]],
) -> Iterator[HTTPRoute]:
    for place, rule in enumerate(root.spec.http):
        if rule.delegate is None:
            yield rule
            continue
        namespace = canonical_namespace(rule.delegate.namespace) or root.namespace
        delegate = delegates.get((namespace, rule.delegate.name))
        where = f"spec.http[{place}].delegate: VirtualService {namespace}/{rule.delegate.name}"
        if delegate is None:
            told.append((root.key, f"{where} is not there or has hosts; the rule has no effect"))
        elif not visible(delegate.spec.export_to, delegate.namespace, root.namespace):
            told.append((root.key, f"{where} is not exported to {root.namespace}; the rule has no effect"))
        else:
            for number, part in enumerate(delegate.spec.http):
                merged = _merged(rule, _resolved(part, delegate.namespace, services))
                if merged is None:
                    reason = f"matches nothing that {root.key} delegates in spec.http[{place}]"
                    told.append((delegate.key, f"spec.http[{number}] {reason}; it has no effect there"))
                else:
                    yield merged


def _merged(rule: HTTPRoute, part: HTTPRoute) -> HTTPRoute | None:
    """The delegate's route within the rule; None: some match of it lies outside of all of the rule's."""
    matches = _matches(rule.match, part.match)
    if matches is None:
        return None
    filled = {name: getattr(rule, name) for name in _FILLED if getattr(part, name) is None}
    if not part.mirrors:
        filled["mirrors"] = rule.mirrors
    return part.model_copy(update={"match": matches, "name": _name(rule.name, part.name), **filled})


def _matches(
    outer: Sequence[HTTPMatchRequest], inner: Sequence[HTTPMatchRequest]
) -> tuple[HTTPMatchRequest, ...] | None:
    if not (outer and inner):
        return tuple(outer or inner)
    found = []
    for one in inner:
        within = [_both(wide, one) for wide in outer if not _conflict(wide, one)]
        if not within:
            return None
        found += within
    return tuple(found)


def _both(outer: HTTPMatchRequest, inner: HTTPMatchRequest) -> HTTPMatchRequest:
    """What both ask for; the inner one is closer wherever both say something."""
    update: dict[str, Any] = {
        name: getattr(outer, name)
        for name in (
            "uri",
            "scheme",
            "method",
            "authority",
            "port",
            "source_namespace",
            "gateways",
            "stat_prefix",
        )
        if not getattr(inner, name)
    }
    for name in ("headers", "without_headers", "query_params", "source_labels"):
        update[name] = getattr(outer, name) | getattr(inner, name)
    return inner.model_copy(update=update | {"name": _name(outer.name, inner.name)})


def _name(outer: str, inner: str) -> str:
    return "-".join(name for name in (outer, inner) if name)


def _conflict(outer: HTTPMatchRequest, inner: HTTPMatchRequest) -> bool:
    """Whether the inner match may take what the outer one does not, as far as Istio looks."""
    texts = [
        (getattr(outer, name), getattr(inner, name)) for name in ("uri", "scheme", "method", "authority")
    ]
    for name in ("headers", "without_headers", "query_params"):
        texts += [(getattr(outer, name).get(key), value) for key, value in getattr(inner, name).items()]
    labels = outer.source_labels
    return (
        any(_outside(wide, narrow) for wide, narrow in texts)
        or outer.ignore_uri_case != inner.ignore_uri_case
        or bool(outer.port and inner.port and outer.port != inner.port)
        or bool(outer.source_namespace and outer.source_namespace != inner.source_namespace)
        or any(labels.get(key, value) != value for key, value in inner.source_labels.items())
        or bool(outer.gateways and not set(inner.gateways) <= set(outer.gateways))
    )


def _outside(outer: StringMatch | None, inner: StringMatch | None) -> bool:
    """Patterns cannot be compared, so a pattern on one side allows for nothing on the other."""
    if outer is None or inner is None:
        return False
    if outer.exact:
        return inner.exact != outer.exact
    if outer.prefix:
        return not (inner.exact or inner.prefix or "").startswith(outer.prefix)
    return True


def _resolved(rule: HTTPRoute, namespace: str, services: Collection[str]) -> HTTPRoute:
    def full(destination: Destination) -> Destination:
        return destination.model_copy(update={"host": resolve_known(destination.host, namespace, services)})

    return rule.model_copy(
        update={
            "route": tuple(
                part.model_copy(update={"destination": full(part.destination)}) for part in rule.route
            ),
            "mirror": full(rule.mirror) if rule.mirror is not None else None,
            "mirrors": tuple(
                one.model_copy(update={"destination": full(one.destination)}) for one in rule.mirrors
            ),
        }
    )
