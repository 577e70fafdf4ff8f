"""Istio's verdict on an AuthorizationPolicy: what its action needs, and the form of every value."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.rules.authorization_rule import authorization_rule
from meshlite.model.rules.labels import DRY_RUN
from meshlite.model.rules.targets import targets
from meshlite.model.security.authorization_policy import AuthorizationPolicy, Rule, Source

_SPEC: Path = ("spec",)
_BOOLEANS = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")
_PEER = ("source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal")
_HTTP_SOURCE = frozenset(
    ("request_principals", "not_request_principals", "trust_domains", "not_trust_domains")
)
_TCP_SOURCE = frozenset(Source.model_fields) - _HTTP_SOURCE
_TCP_OPERATION = frozenset(("ports", "not_ports"))
_ADDRESSES = frozenset(("ip_blocks", "not_ip_blocks", "remote_ip_blocks", "not_remote_ip_blocks"))


def authorization_policy(spec: AuthorizationPolicy, resource: Resource) -> Iterator[Fault]:
    yield from targets(spec)
    yield from _dry_run(spec, resource)
    yield from _action(spec)
    for place, rule in enumerate(spec.rules):
        at: Path = (*_SPEC, "rules", place)
        yield from authorization_rule(rule, at)
        if spec.action == "CUSTOM":
            yield from _before_identity(rule, at)
        if spec.action == "DENY" and _only_http(rule):
            reason = "uses HTTP attributes only, so that it denies all traffic to TCP ports: name the ports"
            yield Fault(at, reason, warning=True)


def _dry_run(spec: AuthorizationPolicy, resource: Resource) -> Iterator[Fault]:
    value = resource.annotations.get(DRY_RUN)
    at: Path = ("metadata", "annotations", DRY_RUN)
    if value is None:
        return
    if spec.action not in ("ALLOW", "DENY"):
        yield Fault(at, f"is for ALLOW and DENY only, not for {spec.action}")
    elif value not in _BOOLEANS:
        yield Fault(at, 'must be "true" or "false"')


def _action(spec: AuthorizationPolicy) -> Iterator[Fault]:
    if spec.action in ("DENY", "CUSTOM") and not spec.rules:
        reason = f"{spec.action} without rules never applies; write rules: [{{}}] for every request"
        yield Fault((*_SPEC, "rules"), reason)
    elif spec.action == "CUSTOM" and not (spec.provider and spec.provider.name):
        yield Fault((*_SPEC, "provider", "name"), "CUSTOM needs the name of a provider")
    if spec.provider and spec.action != "CUSTOM":
        yield Fault((*_SPEC, "provider"), f"is for action CUSTOM only, not for {spec.action}")


def _before_identity(rule: Rule, at: Path) -> Iterator[Fault]:
    """CUSTOM is asked before anybody's identity is known."""
    reason = "cannot be used with CUSTOM, which is asked before identities are known"
    for place, part in enumerate(rule.from_):
        for name, info in type(part.source).model_fields.items():
            if getattr(part.source, name) and name not in _ADDRESSES:
                yield Fault((*at, "from", place, "source", info.alias or name), reason)
    for place, condition in enumerate(rule.when):
        if condition.key in _PEER or condition.key.startswith("request.auth."):
            yield Fault((*at, "when", place, "key"), f"{condition.key} {reason}")


def _only_http(rule: Rule) -> bool:
    """Where a rule looks at HTTP only, nothing of it is left for a TCP connection to miss."""
    sources = [part.source.model_fields_set for part in rule.from_]
    operations = [part.operation.model_fields_set for part in rule.to]
    tcp_source = any(fields & _TCP_SOURCE for fields in sources)
    tcp_operation = any(fields & _TCP_OPERATION for fields in operations)
    return bool(operations and not tcp_operation) or bool(sources and not operations and not tcp_source)
