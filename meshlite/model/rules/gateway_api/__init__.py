"""Gateway API's verdicts on its resources: what its custom resource definitions demand beyond types.

Source: https://gateway-api.sigs.k8s.io/reference/spec/ and the validation rules in its definitions.
"""

from meshlite.model.rules.gateway_api.gateways import gateway, listener_set
from meshlite.model.rules.gateway_api.policies import backend_tls_policy, no_rules
from meshlite.model.rules.gateway_api.routes import grpc_route, http_route, tcp_route, tls_route

__all__ = [
    "backend_tls_policy",
    "gateway",
    "grpc_route",
    "http_route",
    "listener_set",
    "no_rules",
    "tcp_route",
    "tls_route",
]
