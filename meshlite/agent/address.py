"""Where other hosts reach this one: what the settings say, else the address that its own calls leave from."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from meshlite.config import Settings

_ANYWHERE = ("192.0.2.1", "2001:db8::1")
"""Addresses of documentation: nobody has them, so they stand for the default route."""


def reachable_at(settings: Settings) -> str:
    """An IP address, or empty where this host has no way to any other. Sends nothing."""
    if settings.address:
        return settings.address
    host = urlsplit(settings.server).hostname if settings.server else ""
    for target in filter(None, (host, *_ANYWHERE)):
        found = _source(target)
        if found and not ipaddress.ip_address(found).is_loopback:
            return found
    return ""


def _source(target: str) -> str:
    """The address from which the kernel would send to `target`; empty where it has no route there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(target, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return ""
