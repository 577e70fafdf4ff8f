"""Kinds that are judged and not enforced, and what their verdicts warn of."""

from __future__ import annotations

import pytest

from meshlite.model.kinds import KINDS, Kind, find
from meshlite.model.validate import validate
from tests.model.resources import document, refused, warned

UNENFORCED = [kind for kind in KINDS if kind.spec and not kind.enforced]
KEYS = '{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}, {"kty": "oct", "k": "AQAB"}'


@pytest.mark.parametrize("kind", UNENFORCED, ids=lambda kind: kind.name)
def test_a_kind_without_effect_is_valid_with_a_warning_and_never_applied(kind: Kind) -> None:
    good = document(kind.name, "{}")
    verdict = validate(good)
    assert verdict.rejections == ()
    assert [warning for warning in verdict.warnings if "apply refuses it" in warning]
    [rejection] = validate(good, to_apply=True).rejections
    assert rejection.field == "kind"
    assert "not enforced by this version" in rejection.reason


@pytest.mark.parametrize(
    ("rule", "denies_tcp"),
    [
        ("{to: [{operation: {methods: [GET]}}]}", True),
        ("{to: [{operation: {methods: [GET], ports: ['80']}}]}", False),
        ("{from: [{source: {requestPrincipals: [a]}}]}", True),
        ("{from: [{source: {namespaces: [a]}}]}", False),
        ("{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: [/a]}}]}", True),
        ("{}", False),
    ],
)
def test_a_denial_by_http_attributes_alone_is_warned_of(rule: str, denies_tcp: bool) -> None:
    warnings = warned("AuthorizationPolicy", f"action: DENY\nrules: [{rule}]")
    assert any("TCP ports" in warning for warning in warnings) == denies_tcp
    allowed = warned("AuthorizationPolicy", f"action: ALLOW\nrules: [{rule}]")
    assert not any("TCP ports" in warning for warning in allowed)


@pytest.mark.parametrize(
    ("action", "value", "good"),
    [
        ("ALLOW", "true", True),
        ("DENY", "F", True),
        ("ALLOW", "yes", False),
        ("AUDIT", "true", False),
    ],
)
def test_dry_run_is_for_allow_and_deny(action: str, value: str, good: bool) -> None:
    found = document("AuthorizationPolicy", f"action: {action}\nrules: [{{}}]")
    resource = found.resource.model_copy(update={"annotations": {"istio.io/dry-run": value}})
    rejections = validate(found.model_copy(update={"resource": resource})).rejections
    assert [one.field for one in rejections] == ([] if good else ['metadata.annotations["istio.io/dry-run"]'])


def test_private_keys_of_an_issuer_are_warned_of() -> None:
    warnings = warned("RequestAuthentication", f"jwtRules: [{{issuer: a, jwks: '{{\"keys\": [{KEYS}]}}'}}]")
    assert sum("private key" in warning for warning in warnings) == 2


def test_a_filter_is_pointed_at_where_it_is_wrong() -> None:
    reasons = refused("Telemetry", "accessLogging: [{filter: {expression: 'a == 1 && (b'}}]")
    assert "line 1, column 13" in reasons["spec.accessLogging[0].filter.expression"]


def test_only_the_first_of_some_entries_has_an_effect() -> None:
    warnings = warned("Telemetry", "tracing: [{providers: [{name: a}, {name: b}]}, {}]")
    assert sum("has an effect" in warning for warning in warnings) == 2


def test_kinds_are_found() -> None:
    for word in ("authorizationpolicies", "ap", "ra", "telemetry"):
        assert find(word) is not None
