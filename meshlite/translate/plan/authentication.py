"""Decides which ports of a namespace only let the mesh in: PeerAuthentication, narrowest scope first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StrictPolicy:
    """Which inbound ports of a namespace refuse connections that come without a mesh identity.

    `default` holds for ports not in `exceptions`; for those the opposite holds.
    """

    default: bool = False
    exceptions: frozenset[int] = frozenset()

    def strict(self, port: int) -> bool:
        return self.default != (port in self.exceptions)

    @property
    def closed(self) -> bool:
        """No port is open to strangers, so nothing needs to be redirected to an inbound listener."""
        return self.default and not self.exceptions
