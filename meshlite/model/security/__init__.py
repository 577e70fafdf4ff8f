"""The security.istio.io API: its resources and their parts."""

from meshlite.model.security.peer_authentication import MutualTLS, PeerAuthentication

__all__ = ["MutualTLS", "PeerAuthentication"]
