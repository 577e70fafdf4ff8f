"""SPIFFE identities of workloads: parse, print, compare.

Istio's form, so that its principals match: spiffe://<trust-domain>/ns/<namespace>/sa/<service account>.
Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_SPIFFE = re.compile(r"spiffe://([a-z0-9._-]{1,255})/ns/([A-Za-z0-9._-]+)/sa/([A-Za-z0-9._-]+)")


@dataclass(frozen=True, order=True)
class Identity:
    """Who a workload is: the service account is the service's name unless the workload says otherwise."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def principal(self) -> str:
        """The identity as Istio's policies write it: without the scheme."""
        return str(self).removeprefix("spiffe://")

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Read a SPIFFE URI; raises ValueError for anything that is not a workload's identity."""
        match = _SPIFFE.fullmatch(text)
        if match is None:
            raise ValueError(f"not a workload's SPIFFE id: {text!r}")
        return cls(*match.groups())


def node_identity(trust_domain: str, node: str) -> str:
    """The SPIFFE URI in a node's own certificate. Raises ValueError for a name that is not a host's."""
    if _NODE_NAME.fullmatch(node) is None:
        raise ValueError(f"not a node's name: {node!r} (letters, digits, dots and dashes)")
    return f"spiffe://{trust_domain}/node/{node}"


def server_identity(trust_domain: str) -> str:
    """The SPIFFE URI in the server's certificate."""
    return f"spiffe://{trust_domain}/server"
