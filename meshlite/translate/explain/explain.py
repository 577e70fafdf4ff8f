"""Follows a request through the plan of the source's node."""

from __future__ import annotations

from dataclasses import replace

from meshlite.model.mesh import Snapshot
from meshlite.model.workload import Workload
from meshlite.translate.explain.connection import Dialled, named, taken
from meshlite.translate.explain.edge import entered
from meshlite.translate.explain.ends import elsewhere, endpoint_step, ends, parts, rule_step
from meshlite.translate.explain.http import answered, arriving, on_the_way, route, virtual_host
from meshlite.translate.explain.policies import at_gateway, denial, judged, policy_steps, refused
from meshlite.translate.explain.request import Request
from meshlite.translate.explain.scene import Scene, scene
from meshlite.translate.explain.story import End, Step, Story, as_written
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.guard import NOTHING
from meshlite.translate.plan.listener import HttpChain
from meshlite.translate.plan.route import Forward

Shares = tuple[tuple[str, float], ...]
"""Clusters, and their part of the requests in percent."""

_OUTSIDE = {PASSTHROUGH: "passed on to where it was dialled", BLACK_HOLE: "refused"}


def explain(snapshot: Snapshot, source: Workload, request: Request, network: str) -> Story:
    """What a request of `source` would meet. Raises ValueError where the port must be said."""
    return as_written(_story(snapshot, source, request, network), snapshot.resources)


def _story(snapshot: Snapshot, source: Workload, request: Request, network: str) -> Story:
    who = f"{source.name}, identity {source.identity(snapshot.trust_domain)}"
    if not source.captured:
        reason = source.reason or "it is not captured"
        step = Step("source", who, why=reason)
        return Story("goes directly, past the mesh: the source is not captured", (step,))
    view = scene(snapshot, source, network)
    if source.source == "gateway":
        return _from_outside(view, request, who)
    dialled, name_step = named(request, view)
    chain, listener_step = taken(dialled, request, view)
    steps = (
        Step("source", who, why=f"namespace {source.namespace} on node {source.node}"),
        name_step,
        listener_step,
    )
    if isinstance(chain, HttpChain):
        return _http(view, chain.table, dialled, request, steps)
    weights = chain.shares or ((chain.cluster, 1),)
    whole = sum(weight for _, weight in weights)
    shares = tuple((name, weight * 100 / whole) for name, weight in weights)
    return _sent(view, shares, replace(request, http=False), steps, ())


def _from_outside(view: Scene, request: Request, who: str) -> Story:
    found, step = entered(request, view)
    steps: tuple[Step, ...] = (
        Step("source", f"a client of {who}", why=f"on node {view.source.node}"),
        step,
    )
    if found is None:
        return Story("refused: no Gateway takes it", steps)
    chain = found.chain
    if found.guard != NOTHING:
        asked = replace(request, port=found.port, http=bool(chain.table))
        judgement, told = at_gateway(found.guard, asked, view)
        steps = (*steps, *told)
        if judgement.decision == "denied":
            return Story(denial(judgement), steps)
    if not chain.table:
        shares = tuple((cluster, float(share)) for cluster, share in chain.shares)
        return _sent(view, shares, replace(request, http=False), steps, ())
    return _http(view, chain.table, Dialled(None, request.host, "", request.port), request, steps)


def _http(view: Scene, table: str, dialled: Dialled, request: Request, steps: tuple[Step, ...]) -> Story:
    host, host_step = virtual_host(view.tables[table], request)
    if host is None:
        return Story("answered with 404: no host is called so here", (*steps, host_step))
    chosen, route_step = route(host, request, dialled, view)
    steps = (*steps, host_step, route_step)
    if chosen is None:
        return Story("answered with 404: no route is for it", steps)
    if not isinstance(chosen.action, Forward):
        return Story(answered(chosen.action), steps)
    whole = sum(target.weight for target in chosen.action.targets) or 1
    shares = tuple((target.cluster, target.weight * 100 / whole) for target in chosen.action.targets)
    return _sent(view, shares, arriving(request, chosen), steps, on_the_way(chosen), chosen.action.missing)


def _sent(
    view: Scene,
    shares: Shares,
    request: Request,
    steps: tuple[Step, ...],
    done: tuple[str, ...],
    missing: int = 503,
) -> Story:
    """To clusters, as `request` arrives there. `missing`: the answer for one that is not there."""
    found: list[End] = []
    more: list[Step] = [Step("on the way", "; ".join(done))] if done else []
    told: list[str] = []
    for cluster, share in shares:
        fqdn, _, port = parts(cluster)
        part = f" ({share:g} %)" if len(shares) > 1 else ""
        told.append(_OUTSIDE.get(cluster, f"sent to {cluster}") + part)
        more.append(Step("cluster", f"{cluster}, {share:g} % of requests"))
        if not fqdn:
            continue
        more += [rule_step(cluster, view), endpoint_step(cluster, view)]
        reached = tuple(ends(cluster, share, view))
        service = view.snapshot.services_by_fqdn.get(fqdn)
        if not reached and not elsewhere(cluster, view):
            code = missing if service is None else 503
            told[-1] = f"answered with {code}{part}: nobody stands behind {cluster}"
        if service is None:
            found += reached
            continue
        verdicts = judged(service, reached, port, request, view)
        more += policy_steps(service, port, verdicts, view)
        told[-1] = refused(verdicts, told[-1], part)
        denied = {name for one in verdicts if one.judgement.decision == "denied" for name in one.replicas}
        found += (one for one in reached if one.workload not in denied)
    return Story("; ".join(told), (*steps, *more), tuple(found))
