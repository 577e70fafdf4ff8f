"""VirtualServices that pass, and how faults in them are placed. The verdicts are in `verdicts/`."""

from __future__ import annotations

from meshlite.model.validate import validate
from tests.model.resources import document, refused, warned

GOOD = """
hosts: [reviews]
http:
- match:
  - uri: {prefix: /v1}
    headers: {end-user: {exact: jason}, x-any: {}, ":path": {regex: "*"}}
    queryParams: {q: {regex: "a+"}}
    withoutHeaders: {x-not: {regex: "*"}}
    method: {exact: GET}
    port: 9080
    sourceLabels: {app: productpage}
    sourceNamespace: my_shop
  rewrite: {uri: /, authority: other}
  timeout: 1.5s
  retries: {attempts: 3, perTryTimeout: 250ms, retryOn: "5xx,503,gateway-error", backoff: 10ms}
  fault:
    delay: {fixedDelay: 2s, percentage: {value: 0.1}}
    abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}
  headers:
    request: {set: {":authority": x, x-at: "%START_TIME%"}, remove: [x-gone]}
    response: {add: {x-by: "100%%"}}
  mirror: {host: reviews, subset: v3}
  mirrorPercentage: {value: 5}
  corsPolicy: {allowOrigins: [{regex: ".*"}], allowMethods: ["*"], maxAge: 24h}
  route:
  - destination: {host: reviews, subset: v1, port: {number: 9080}}
    weight: 90
  - destination: {host: reviews.shop.svc.cluster.local, subset: v2}
    weight: "10"
- redirect: {uri: /x, redirectCode: 302}
exportTo: ["."]
"""


def test_a_good_one_passes() -> None:
    text = GOOD.replace("rewrite: {uri: /, authority: other}", "rewrite: {uri: /}")
    assert refused("VirtualService", text) == {}
    assert warned("VirtualService", text) == ()


def test_the_host_is_set_once() -> None:
    found = refused("VirtualService", GOOD)['spec.http[0].headers.request.set[":authority"]']
    assert "already set by rewrite.authority" in found


def test_hosts_may_be_addresses_wildcards_and_compose_names() -> None:
    hosts = "hosts: [10.0.0.1, '*.example.com', my_service, a.b.]"
    assert refused("VirtualService", hosts + "\nhttp: [{route: [{destination: {host: my_service}}]}]") == {}


def test_sizes_are_limited() -> None:
    body = "hosts: [a]\nhttp: [{directResponse: {status: 200, body: {string: '%s'}}}]"
    assert (
        "1 MiB" in refused("VirtualService", body % ("x" * (2**20 + 1)))["spec.http[0].directResponse.body"]
    )
    assert "memory" in warned("VirtualService", body % ("x" * 2**17))[0]
    uri = "hosts: [a]\nhttp: [{redirect: {uri: /}, match: [{uri: {regex: '%s'}}]}]"
    assert "1024" in refused("VirtualService", uri % ("a" * 1025))["spec.http[0].match[0].uri.regex"]


def test_a_warning_says_where() -> None:
    text = "hosts: [a]\nhttp:\n- {route: [{destination: {host: a}}]}\n- {route: [{destination: {host: a}}]}"
    [warning] = warned("VirtualService", text)
    assert warning.startswith("it.yaml:8: spec.http[1]: is never reached")


def test_a_missing_field_points_at_what_should_hold_it() -> None:
    [found] = validate(document("VirtualService", "hosts: [a]\nhttp:\n- route:\n  - weight: 1\n")).rejections
    assert (found.where, found.field) == ("it.yaml:8", "spec.http[0].route[0].destination")
