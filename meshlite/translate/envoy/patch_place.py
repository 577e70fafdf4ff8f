"""Where a listener stands for patches: which of Istio's names and ports mean it, or one of its chains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from meshlite.translate.plan.gateway_listener import GatewayListener
from meshlite.translate.plan.listener import Entrance
from meshlite.translate.plan.patch import Patch

_CAPTURE = {False: (15001, "virtualOutbound"), True: (15006, "virtualInbound")}
_PORT = re.compile(r"(?:http|tcp)/(?:outbound\|)?(\d+)(?:\||$)")
_SERVES = ("http/1.0", "http/1.1", "h2c")
_OF_THE_MESH = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2", "h2")


class Place(Protocol):
    """What patches must know of a listener.

    `door`: only the mesh comes in here, which in Istio is what comes with mutual TLS. `matched`: its chains
    are chosen by their own matches, as in Istio, so one can be added or taken away.
    """

    @property
    def door(self) -> bool: ...

    @property
    def matched(self) -> bool: ...

    def takes(self, patch: Patch) -> bool:
        """Whether the listener, or some chain of it, may be meant."""
        ...

    def whole(self, patch: Patch) -> bool:
        """Whether a patch that may be meant is about the listener, and not about some of its ports only."""
        ...

    def chain(self, patch: Patch, chain: Any) -> bool:
        """Whether a filter chain is meant."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """Where one listener takes all ports, and its chains stand for them."""

    entrance: Entrance

    @property
    def door(self) -> bool:
        return not self.entrance.addresses

    @property
    def matched(self) -> bool:
        return False

    def takes(self, patch: Patch) -> bool:
        return True if patch.listener is None else self._named(patch.listener.name)

    def whole(self, patch: Patch) -> bool:
        match = patch.listener
        port, name = _CAPTURE[self.entrance.inbound]
        return match is None or (match.name in ("", name) and match.port_number in (0, port))

    def _named(self, name: str) -> bool:
        _, own = _CAPTURE[self.entrance.inbound]
        return name in ("", own) or (not self.entrance.inbound and re.search(r"_\d+$", name) is not None)

    def chain(self, patch: Patch, chain: Any) -> bool:
        match = patch.listener
        if match is None:
            return True
        found = _PORT.match(chain.name)
        port = int(found[1]) if found else 0
        capture, _ = _CAPTURE[self.entrance.inbound]
        named = re.search(r"_(\d+)$", match.name)
        wanted = int(named[1]) if named else match.port_number
        if not self._named(match.name) or wanted not in (0, port, capture):
            return False
        return match.filter_chain is None or self._fits(match.filter_chain, chain, port)

    def _fits(self, match: Any, chain: Any, port: int) -> bool:
        if match.sni or (match.name and match.name != chain.name):
            return False
        if match.transport_protocol not in ("", "tls" if self.door else "raw_buffer"):
            return False
        if match.destination_port not in (0, port):
            return False
        http = chain.name.startswith("http")
        known = (*(_SERVES if http else ()), *(_OF_THE_MESH if self.door else ()))
        return all(protocol in known for protocol in _protocols(match))


@dataclass(frozen=True, slots=True)
class AtGateway:
    """A port of a gateway: a listener of its own, as in Istio, named by address and port."""

    name: str
    port: int

    @classmethod
    def of(cls, one: GatewayListener) -> AtGateway:
        return cls(one.entrance.name.rpartition("/")[2], one.entrance.port)

    @property
    def door(self) -> bool:
        return False

    @property
    def matched(self) -> bool:
        return True

    def takes(self, patch: Patch) -> bool:
        match = patch.listener
        return match is None or (match.name in ("", self.name) and match.port_number in (0, self.port))

    def whole(self, patch: Patch) -> bool:
        return self.takes(patch)

    def chain(self, patch: Patch, chain: Any) -> bool:
        match = patch.listener.filter_chain if patch.listener is not None else None
        if not self.takes(patch) or match is None:
            return self.takes(patch)
        own = chain.filter_chain_match
        return (
            match.name in ("", chain.name)
            and (not match.sni or match.sni in own.server_names)
            and match.transport_protocol in ("", own.transport_protocol)
            and match.destination_port in (0, own.destination_port.value)
            and all(protocol in own.application_protocols for protocol in _protocols(match))
        )


def _protocols(match: Any) -> list[str]:
    return [part.strip() for part in match.application_protocols.split(",") if part.strip()]
