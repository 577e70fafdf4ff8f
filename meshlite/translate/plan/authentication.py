"""Decides which ports of a namespace only let the mesh in: PeerAuthentication, narrowest scope first.

Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshlite.model.names import ROOT_NAMESPACE
from meshlite.model.security import MutualTLS, PeerAuthentication
from meshlite.translate.plan.caller import matches
from meshlite.translate.plan.resources import Applied


@dataclass(frozen=True)
class StrictPolicy:
    """Which inbound ports of a network namespace refuse connections that come without a mesh identity.

    `default` holds for ports not in `exceptions`; for those the opposite holds. `gateways`: ports where the
    node proxy listens itself for whoever comes.
    """

    default: bool = False
    exceptions: frozenset[int] = frozenset()
    gateways: frozenset[int] = frozenset()

    def strict(self, port: int) -> bool:
        return self.default != (port in self.exceptions)

    @property
    def closed(self) -> bool:
        """No port is open to strangers, so nothing needs to be redirected to an inbound listener."""
        return self.default and not self.exceptions


@dataclass(frozen=True)
class Resident:
    """A workload in a network namespace, as policies select it."""

    namespace: str
    labels: Mapping[str, str]
    ports: tuple[int, ...]


def strict_policy(
    policies: Iterable[Applied[PeerAuthentication]], owner: Resident, others: Iterable[Resident] = ()
) -> StrictPolicy:
    """The policy of a network namespace: its owner's, except for the ports of others that live in it.

    Of a port that both count as theirs, the stricter word holds: only one of them can have it open.
    """
    policies = tuple(policies)
    default, by_port = _modes(policies, owner)
    ports = dict(by_port)
    for other in others:
        mode, other_ports = _modes(policies, other)
        for port in other.ports:
            shared = port in owner.ports and ports.get(port, default)
            ports[port] = other_ports.get(port, mode) or shared
    return StrictPolicy(default, frozenset(port for port, strict in ports.items() if strict != default))


def _modes(
    policies: tuple[Applied[PeerAuthentication], ...], workload: Resident
) -> tuple[bool, Mapping[int, bool]]:
    """Whether STRICT holds for a workload, and for ports that a policy names."""
    general = [policy for policy in policies if not _selective(policy)]
    own = next((policy for policy in policies if _selects(policy, workload)), None)
    scopes = (
        own,
        next((policy for policy in general if policy.namespace == workload.namespace), None),
        next((policy for policy in general if policy.namespace == ROOT_NAMESPACE), None),
    )
    modes = (_mode(scope.spec.mtls) for scope in scopes if scope is not None)
    default = next((mode for mode in modes if mode != "UNSET"), "PERMISSIVE") == "STRICT"
    named = (own.spec.port_level_mtls or {}) if own is not None else {}
    return default, {
        port: default if mtls.mode == "UNSET" else mtls.mode == "STRICT" for port, mtls in named.items()
    }


def _mode(mtls: MutualTLS | None) -> str:
    return mtls.mode if mtls is not None else "UNSET"


def _selective(policy: Applied[PeerAuthentication]) -> bool:
    return policy.spec.selector is not None and bool(policy.spec.selector.match_labels)


def _selects(policy: Applied[PeerAuthentication], workload: Resident) -> bool:
    """By labels; a selector in the root namespace selects nothing, as in Istio."""
    return (
        policy.namespace == workload.namespace != ROOT_NAMESPACE
        and policy.spec.selector is not None
        and _selective(policy)
        and matches(policy.spec.selector.match_labels.items(), workload.labels)
    )
