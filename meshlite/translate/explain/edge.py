"""The first steps of a request from outside: which port of a gateway, and which of its chains."""

from __future__ import annotations

from dataclasses import dataclass

from meshlite.model.names import EGRESS_GATEWAY, INGRESS_GATEWAY
from meshlite.model.workload import Workload
from meshlite.translate.explain.request import Request
from meshlite.translate.explain.scene import Scene
from meshlite.translate.explain.story import PassedOver, Step
from meshlite.translate.plan.gateway import built_in
from meshlite.translate.plan.gateway_listener import GatewayChain
from meshlite.translate.plan.guard import Guard

_NAMES = {
    **dict.fromkeys((INGRESS_GATEWAY, "ingressgateway"), (INGRESS_GATEWAY, "ingressgateway")),
    **dict.fromkeys((EGRESS_GATEWAY, "egressgateway"), (EGRESS_GATEWAY, "egressgateway")),
}


def gateway(name: str, node: str) -> Workload | None:
    """The gateway that `node` has by this name; None for any other name."""
    known = _NAMES.get(name)
    return built_in(*known, node) if known is not None else None


@dataclass(frozen=True)
class Entered:
    """The chain that takes a request, and the guard that stands before it at `port`."""

    chain: GatewayChain
    port: int
    guard: Guard


def entered(request: Request, scene: Scene) -> tuple[Entered | None, Step]:
    """None where no port or no chain is for the request."""
    port = request.port or (443 if request.tls else 80)
    label = f"{scene.source.namespace}/{scene.source.name}"
    ours = [one for one in scene.plan.gateways if one.entrance.source.label == label]
    listener = next((one for one in ours if one.entrance.port == port), None)
    if listener is None:
        opened = ", ".join(str(one.entrance.port) for one in ours) or "none"
        return None, Step("gateway", f"port {port} is closed", why=f"ports that Gateways ask for: {opened}")
    by = ", ".join(listener.resources)
    passed: list[PassedOver] = []
    for chain in listener.chains:
        reason = _unfit(chain, request)
        if not reason:
            how = f"route table {chain.table}" if chain.table else "passed on as it is"
            found = Entered(chain, port, listener.guard)
            return found, Step("gateway", f"port {port}, {how}", by, passed_over=tuple(passed))
        passed.append(PassedOver(chain.name, reason))
    return None, Step("gateway", f"port {port}: none of its servers takes it", by, passed_over=tuple(passed))


def _unfit(chain: GatewayChain, request: Request) -> str:
    if chain.encrypted != request.tls:
        return "it is for TLS" if chain.encrypted else "it is for plain text"
    if chain.server_names and not any(_named(name, request.host) for name in chain.server_names):
        return f"it is for server names {', '.join(chain.server_names)}"
    return ""


def _named(name: str, host: str) -> bool:
    return host == name or name == "*" or (name.startswith("*.") and host.endswith(name[1:]))
