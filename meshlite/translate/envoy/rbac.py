"""Guards as filters of Envoy's role based access control, for requests and for connections.

Who calls and from where is told by filter state that the listener has set: one form for the caller's side,
inbound chains and strangers. Source:
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from meshlite.translate.envoy.schema import typed
from meshlite.translate.envoy.values import only, string_match
from meshlite.translate.plan import condition
from meshlite.translate.plan.condition import (
    Claim,
    DestinationAddress,
    DestinationPort,
    Header,
    Metadata,
    Path,
    Principal,
    RemoteAddress,
    ServerName,
    SourceAddress,
    Test,
)
from meshlite.translate.plan.guard import Clauses, Guard
from meshlite.translate.plan.route import Text

PRINCIPAL = "meshlite.source.principal"
"""Filter state that says who calls: a SPIFFE URI, absent for callers that are not of the mesh."""

SOURCE_ADDRESS = "meshlite.source.address"
"""Filter state that says from which address the connection came."""

SOURCE_TEXT = "meshlite.source.address.text"
"""The same as text, which is what connections can be asked for; being hashable, it keeps pools apart."""

HTTP_RBAC = "envoy.filters.http.rbac"
NETWORK_RBAC = "envoy.filters.network.rbac"
AUDIT = "audit_"
TRIAL_DENY, TRIAL_ALLOW = "istio_dry_run_deny_", "istio_dry_run_allow_"
"""Prefixes of what is noted of policies that are only tried out, in statistics and metadata; Istio's."""

_HTTP = "envoy.extensions.filters.http.rbac.v3.RBAC"
_NETWORK = "envoy.extensions.filters.network.rbac.v3.RBAC"
_TEMPLATE = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
JWT = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"

Kind = Literal["http", "network"]
_Side = Literal["principal", "permission"]


def checks(guard: Guard, kind: Kind = "http") -> list[dict[str, Any]]:
    """What the caller's side can decide alone: denials, then permissions."""
    rules = guard.rules
    return [
        *([_filter(kind, rules=_rules("DENY", rules.deny))] if rules.deny else []),
        *([_filter(kind, rules=_rules("ALLOW", rules.allow))] if rules.allow is not None else []),
    ]


def notes(guard: Guard, kind: Kind) -> Iterator[dict[str, Any]]:
    """What is only noted: audited calls, and what policies that are tried out would do."""
    trial = guard.trial
    if guard.audited:
        yield _filter(kind, AUDIT, shadow_rules=_rules("DENY", guard.audited))
    if trial.deny:
        yield _filter(kind, TRIAL_DENY, shadow_rules=_rules("DENY", trial.deny))
    if trial.allow is not None:
        yield _filter(kind, TRIAL_ALLOW, shadow_rules=_rules("ALLOW", trial.allow))


def denial(kind: Kind, clauses: Clauses) -> dict[str, Any]:
    return _filter(kind, rules=_rules("DENY", clauses))


def shadow(kind: Kind, prefix: str, clauses: Clauses) -> dict[str, Any]:
    """Notes under `prefix` which clause a call matches, for filters behind it."""
    return _filter(kind, prefix, shadow_rules=_rules("DENY", clauses))


def _filter(kind: Kind, prefix: str = "", **rules: Any) -> dict[str, Any]:
    fields = {**rules, **only(shadow_rules_stat_prefix=prefix)}
    if kind == "http":
        return {"name": HTTP_RBAC, "typed_config": typed(_HTTP, fields)}
    return {"name": NETWORK_RBAC, "typed_config": typed(_NETWORK, {**fields, "stat_prefix": "tcp."})}


def _rules(action: str, clauses: Clauses) -> dict[str, Any]:
    policies = {
        clause.name: {
            "permissions": [_test(clause.operation, "permission")],
            "principals": [_test(clause.source, "principal")],
        }
        for clause in clauses
    }
    return {"action": action, **only(policies=policies)}


_WORDS = {
    "principal": ("and_ids", "or_ids", "ids", "not_id"),
    "permission": ("and_rules", "or_rules", "rules", "not_rule"),
}


def _test(test: Test, side: _Side) -> dict[str, Any]:
    """A test in Envoy's words for callers, or for calls. A lone or of nothing is never true."""
    every, some, listed, not_ = _WORDS[side]
    match test:
        case condition.All(parts):
            return {every: {listed: [_test(part, side) for part in parts]}} if parts else {"any": True}
        case condition.Any(parts):
            return {some: {listed: [_test(part, side) for part in parts]}} if parts else {not_: {"any": True}}
        case condition.Not(part):
            return {not_: _test(part, side)}
        case Header():
            return {"header": _header(test)}
        case Path():
            return _path(test)
        case Claim(keys, text, many):
            return {"metadata": _metadata(JWT, (PAYLOAD, *keys), text, many)}
        case Metadata(filter, keys, text, many):
            return {"metadata": _metadata(filter, keys, text, many)}
        case RemoteAddress():
            return _remote(test)
        case Principal(text):
            return {"filter_state": {"key": PRINCIPAL, "string_match": text_match(text)}}
        case SourceAddress(block):
            return {"filter_state": {"key": SOURCE_ADDRESS, "address_match": {"ranges": [cidr(block)]}}}
        case DestinationPort(number):
            return {"destination_port": number}
        case DestinationAddress(block):
            return {"destination_ip": cidr(block)}
        case ServerName(text):
            return {"requested_server_name": text_match(text)}
    raise AssertionError(test)


def _remote(test: RemoteAddress) -> dict[str, Any]:
    """Behind an inbound chain a connection has no address of its own, so it is the one that was noted."""
    unsaid = {"not_id": {"header": {"name": "x-forwarded-for", "present_match": True}}}
    noted = {"and_ids": {"ids": [unsaid, _test(SourceAddress(test.block), "principal")]}}
    return {"or_ids": {"ids": [{"remote_ip": cidr(test.block)}, noted]}}


def _header(header: Header) -> dict[str, Any]:
    if header.text.kind == "present":
        return {"name": header.name, "present_match": True}
    match = string_match(header.text) | only(ignore_case=header.ignore_case)
    return {"name": header.name, "string_match": match}


def _path(path: Path) -> dict[str, Any]:
    if path.template:
        config = typed(_TEMPLATE, {"path_template": path.template})
        return {"uri_template": {"name": "uri-template", "typed_config": config}}
    return {"url_path": {"path": text_match(path.text)}}


def _metadata(filter: str, keys: tuple[str, ...], text: Text, listed: bool) -> dict[str, Any]:
    value: dict[str, Any] = {"string_match": text_match(text)}
    return {
        "filter": filter,
        "path": [{"key": key} for key in keys],
        "value": {"list_match": {"one_of": value}} if listed else value,
    }


def text_match(text: Text) -> dict[str, Any]:
    """Presence means that it is not empty, as in Istio."""
    return string_match(Text("regex", ".+") if text.kind == "present" else text)


def cidr(block: str) -> dict[str, Any]:
    """An address alone is a block of one."""
    address, slash, length = block.partition("/")
    whole = 128 if ":" in address else 32
    return {"address_prefix": address, "prefix_len": int(length) if slash else whole}
