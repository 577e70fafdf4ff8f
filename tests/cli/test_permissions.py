"""allow, deny, mtls, policies and authz check against a real server: what is written is what is judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Mesh, workload

RATINGS = ["cluster.local/ns/shop/sa/ratings"]
BY_HAND = """
apiVersion: security.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: shop}}
spec: {{}}
"""


def stored(mesh: Mesh) -> dict[str, Any]:
    rows = mesh.server.get("/v1/resources")["resources"]
    return {f"{row['kind']}/{row['namespace']}/{row['name']}": row["spec"] for row in rows}


def done(mesh: Mesh, *words: str) -> str:
    result = mesh.cli(*words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def checked(mesh: Mesh, *words: str) -> dict[str, Any]:
    result = mesh.cli("authz", "check", *words, "-o", "json")
    value: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if value["allowed"] else 1)
    return value


def test_allowing_one_denies_the_others_until_it_is_taken_back(mesh: Mesh) -> None:
    assert checked(mesh, "ratings", "reviews")["allowed"]
    done(mesh, "allow", "ratings", "reviews", "--methods", "get,head", "--paths", "/a*,/b")
    spec = stored(mesh)["AuthorizationPolicy/shop/reviews-allow"]
    assert spec["selector"] == {"matchLabels": {"app": "reviews"}}
    assert spec["rules"] == [
        {
            "from": [{"source": {"principals": RATINGS}}],
            "to": [{"operation": {"methods": ["GET", "HEAD"], "paths": ["/a*", "/b"]}}],
        }
    ]
    [verdict] = checked(mesh, "ratings", "reviews", "--path", "/a/b?c=d")["verdicts"]
    assert verdict["by"] == "AuthorizationPolicy/shop/reviews-allow spec.rules[0]"
    assert verdict["replicas"] == ["shop-reviews-v1-1", "shop-reviews-v2-1", "shop-reviews-v3-1"]
    for words in (("ratings", "reviews", "--path", "/c"), ("ratings", "reviews", "--method", "POST")):
        [verdict] = checked(mesh, *words)["verdicts"]
        assert (verdict["decision"], verdict["status"]) == ("denied", 403)
    assert not checked(mesh, "reviews", "reviews", "--path", "/b")["allowed"]
    assert "unchanged" in done(
        mesh, "allow", "ratings", "reviews", "--methods", "GET,HEAD", "--paths", "/a*,/b"
    )
    done(mesh, "allow", "shop/*", "reviews.shop", "--port", "9080")
    assert checked(mesh, "ratings", "reviews", "--method", "POST")["allowed"]
    done(mesh, "allow", "ratings", "reviews", "--clear")
    assert stored(mesh)["AuthorizationPolicy/shop/reviews-allow"]["rules"] == [
        {"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"ports": ["9080"]}}]}
    ]
    assert "deleted" in done(mesh, "allow", "shop/*", "reviews", "--clear")
    assert stored(mesh) == {}


def test_denying_goes_before_allowing(mesh: Mesh) -> None:
    done(mesh, "allow", "*", "reviews")
    done(mesh, "deny", "ratings", "reviews", "--methods", "DELETE")
    assert checked(mesh, "ratings", "reviews")["allowed"]
    [verdict] = checked(mesh, "ratings", "reviews", "--method", "delete")["verdicts"]
    assert verdict["by"] == "AuthorizationPolicy/shop/reviews-deny spec.rules[0]"
    story = json.loads(done(mesh, "explain", "ratings", "reviews", "--method", "DELETE", "-o", "json"))
    assert story["outcome"] == f"denied with 403 by {verdict['by']}"
    assert story["ends"] == []
    told = done(mesh, "policies", "reviews")
    assert told.index("reviews-deny") < told.index("reviews-allow")


def test_default_deny_in_one_line(mesh: Mesh) -> None:
    done(mesh, "deny", "--all", "-n", "shop")
    assert stored(mesh) == {"AuthorizationPolicy/shop/deny-all": {}}
    [verdict] = checked(mesh, "ratings", "reviews")["verdicts"]
    assert verdict["decision"] == "denied"
    assert "none lets it in" in verdict["why"]
    done(mesh, "allow", "ratings", "reviews")
    assert checked(mesh, "ratings", "reviews")["allowed"]
    assert not checked(mesh, "reviews", "ratings")["allowed"]
    done(mesh, "deny", "--all", "-n", "shop", "--clear")
    assert checked(mesh, "reviews", "ratings")["allowed"]


def test_modes_by_mesh_namespace_and_service(mesh: Mesh) -> None:
    done(mesh, "mtls", "strict")
    assert stored(mesh) == {"PeerAuthentication/meshlite-system/default": {"mtls": {"mode": "STRICT"}}}
    [verdict] = checked(mesh, "outside", "reviews")["verdicts"]
    assert verdict["by"] == "PeerAuthentication/meshlite-system/default"
    done(mesh, "mtls", "permissive", "-n", "shop")
    assert checked(mesh, "outside", "reviews")["allowed"]
    done(mesh, "mtls", "strict", "reviews")
    assert stored(mesh)["PeerAuthentication/shop/reviews-mtls"]["selector"] == {
        "matchLabels": {"app": "reviews"}
    }
    assert not checked(mesh, "outside", "reviews")["allowed"]
    assert checked(mesh, "outside", "ratings")["allowed"]
    steps = json.loads(done(mesh, "policies", "reviews", "-o", "json"))
    assert [(one["step"], one["says"]) for one in steps] == [
        ("peer", "STRICT"),
        ("peer", "PERMISSIVE"),
        ("peer", "STRICT"),
    ]
    done(mesh, "mtls", "unset", "reviews")
    done(mesh, "mtls", "unset", "-n", "shop")
    done(mesh, "mtls", "unset")
    assert stored(mesh) == {}


def test_a_dry_run_prints_what_apply_takes(mesh: Mesh) -> None:
    for words, key in (
        (("allow", "ratings", "reviews"), "AuthorizationPolicy/shop/reviews-allow"),
        (("deny", "--all", "-n", "shop"), "AuthorizationPolicy/shop/deny-all"),
        (("mtls", "strict", "-n", "shop"), "PeerAuthentication/shop/default"),
    ):
        text = done(mesh, *words, "--dry-run", "-o", "yaml")
        assert key not in stored(mesh)
        assert yaml.safe_load(text)["kind"] == key.split("/")[0]
        assert mesh.cli("apply", "-f", "-", stdin=text).exit_code == 0
        assert key in stored(mesh)


TRIAL = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: noted, namespace: shop}
spec: {action: AUDIT, rules: [{to: [{operation: {paths: ["/admin*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: v1, namespace: shop}
spec:
  action: DENY
  selector: {matchLabels: {version: v1, app: reviews}}
  rules: [{to: [{operation: {paths: [/v1]}}]}]
"""


def test_dry_runs_audits_and_replicas_that_differ_are_shown(mesh: Mesh) -> None:
    assert mesh.cli("apply", "-f", "-", stdin=TRIAL).exit_code == 0
    [verdict] = checked(mesh, "ratings", "reviews", "--method", "POST", "--path", "/x/../admin")["verdicts"]
    assert verdict["decision"] == "allowed"
    assert verdict["trial"] == ["would be denied by AuthorizationPolicy/shop/tried spec.rules[0]"]
    assert verdict["audited"] == ["AuthorizationPolicy/shop/noted spec.rules[0]"]
    answer = checked(mesh, "ratings", "reviews", "--path", "/v1")
    assert [one["decision"] for one in answer["verdicts"]] == ["denied", "allowed"]
    assert answer["verdicts"][0]["replicas"] == ["shop-reviews-v1-1"]
    text = mesh.cli("authz", "check", "ratings", "reviews", "--method", "POST").stdout
    assert "dry run: it would be denied" in text
    rows = json.loads(done(mesh, "policies", "reviews", "-o", "json"))
    assert [(one["step"], one["trial"], len(one["replicas"])) for one in rows] == [
        ("audit", False, 3),
        ("deny", False, 1),
        ("deny", True, 3),
    ]


TOKENS = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: ann.example, jwks: '{"keys": []}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: claims, namespace: shop}
spec:
  rules:
  - from: [{source: {requestPrincipals: ["ann.example/*"]}}]
    when: [{key: "request.auth.claims[realm][role]", values: [admin]}]
"""


def test_what_a_token_says_is_judged(mesh: Mesh) -> None:
    applied = mesh.cli("apply", "-f", "-", stdin=TOKENS)
    assert applied.exit_code == 0, applied.stderr
    good = ("--jwt-claim", "sub=me", "--jwt-claim", "realm[role]=user", "--jwt-claim", "realm[role]=admin")
    assert checked(mesh, "ratings", "reviews", *good)["allowed"]
    assert not checked(mesh, "ratings", "reviews", *good[:4])["allowed"]
    assert not checked(mesh, "ratings", "reviews")["allowed"]
    [verdict] = checked(mesh, "ratings", "reviews", *good, "--jwt-claim", "iss=eve.example")["verdicts"]
    assert (verdict["status"], verdict["by"]) == (401, "RequestAuthentication/shop/tokens spec.jwtRules[0]")


def test_what_was_written_by_hand_stays(mesh: Mesh) -> None:
    for kind, name, words in (
        ("AuthorizationPolicy", "reviews-deny", ("deny", "ratings", "reviews")),
        ("AuthorizationPolicy", "deny-all", ("deny", "--all", "-n", "shop")),
        ("PeerAuthentication", "mine", ("mtls", "strict", "-n", "shop")),
    ):
        applied = mesh.cli("apply", "-f", "-", stdin=BY_HAND.format(kind=kind, name=name))
        assert applied.exit_code == 0, applied.stderr
        refused = mesh.cli(*words)
        assert refused.exit_code == 1
        assert f"meshlite delete {kind} {name} -n shop" in refused.stderr
    assert len(stored(mesh)) == 3


def test_replicas_that_no_label_tells_apart_are_refused(mesh: Mesh) -> None:
    twins = [workload(name, labels={"app": "same"}) for name in ("one", "two")]
    mesh.report(*twins, workload("other"))
    refused = mesh.cli("allow", "other", "one")
    assert "no label tells the replicas of one from others" in refused.stderr
    mesh.report(
        *(workload(n, labels={"app": "same", "com.docker.compose.service": n}) for n in ("one", "two"))
    )
    assert "com.docker.compose.service: one" in done(mesh, "allow", "one", "one", "--dry-run", "-o", "yaml")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("allow", "ratings"), 2, "give SOURCE and DESTINATION"),
        (("deny",), 2, "--all -n NAMESPACE"),
        (("deny", "--all"), 2, "needs -n NAMESPACE"),
        (("deny", "--all", "-n", "shop", "--methods", "GET"), 2, "leave"),
        (("allow", "nobody", "reviews"), 1, "no workload is called nobody"),
        (("allow", "ratings", "nobody"), 1, "there is no service nobody"),
        (("authz", "check", "ratings", "nobody"), 1, "no service is called nobody"),
        (("authz", "check", "ratings", "reviews", "--jwt-claim", "x"), 2, "NAME=VALUE"),
        (("mtls", "lax"), 2, "strict"),
    ],
)
def test_mistakes_are_told(mesh: Mesh, words: tuple[str, ...], code: int, said: str) -> None:
    result = mesh.cli(*words)
    assert result.exit_code == code
    assert said in result.stderr
