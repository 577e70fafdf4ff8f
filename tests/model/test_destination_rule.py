"""DestinationRules that pass. The verdicts on others are in `verdicts/`."""

from __future__ import annotations

from tests.model.resources import refused, warned

GOOD = """
host: "*.shop.svc.cluster.local"
trafficPolicy:
  loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 30s, minimumPercent: 5.0, aggression: 2}}
  connectionPool:
    tcp:
      maxConnections: 100
      connectTimeout: 30ms
      idleTimeout: 0s
      tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}
    http:
      http2MaxRequests: 1000
      maxRequestsPerConnection: 10
      h2UpgradePolicy: 2
      http2KeepAlive: {interval: 15s, timeout: 5s}
  outlierDetection:
    consecutive5xxErrors: 7
    interval: 5m
    baseEjectionTime: 15m
    maxEjectionPercent: 100
    outlierDetectionHttpErrorCodes: [503]
  tls: {mode: ISTIO_MUTUAL}
  portLevelSettings:
  - port: {number: 80}
    loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 0s}, maglev: {tableSize: 65537}}}
  retryBudget: {percent: 20.5, minRetryConcurrency: 3, budgetInterval: 10s}
subsets:
- {name: v1, labels: {version: v1}}
- {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
- {name: all}
exportTo: ["*"]
"""


def test_a_good_one_passes() -> None:
    assert refused("DestinationRule", GOOD) == {}
    assert warned("DestinationRule", GOOD) == ()
