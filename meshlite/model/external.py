"""What a ServiceEntry declares, read off it: its hosts, and the addresses and protocols they have.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from meshlite.model.networking.service_entry import ServiceEntry
from meshlite.model.workload import Protocol

AUTO_ADDRESS = "networking.istio.io/enable-autoallocate-ip"
"""A label of ServiceEntries; `false`: their hosts get no virtual address."""

_PROTOCOLS: Mapping[str, Protocol] = {
    **{name: name for name in get_args(Protocol) if name != "auto"},
    "": "auto",
    "http_proxy": "http",
}


def port_protocol(written: str) -> Protocol | None:
    """Istio's name of a protocol, in any case; None for an unknown one. Empty: to be detected."""
    return _PROTOCOLS.get(written.lower())


def allocates(spec: ServiceEntry, labels: Mapping[str, str]) -> bool:
    """Whether its hosts get virtual addresses: it has none of its own, and its callers need any."""
    wanted = labels.get(AUTO_ADDRESS, "").lower() != "false"
    return wanted and not spec.addresses and spec.resolution != "NONE"
