"""SPIFFE identities of workloads: parse, print, compare.

The form is Istio's, so that its principals match: spiffe://<trust-domain>/ns/<namespace>/sa/<service account>.
Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
