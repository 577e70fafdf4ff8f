"""The last steps: who may get in at the destination, and which policy decides that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from meshlite.model.mesh import Service
from meshlite.model.workload import Workload
from meshlite.translate.explain.judgement import Judgement, policies_of
from meshlite.translate.explain.request import Request
from meshlite.translate.explain.scene import Scene
from meshlite.translate.explain.story import End, PassedOver, Step
from meshlite.translate.explain.verdict import Verdict, calling, met, peers_of
from meshlite.translate.plan.attachment import Called, chooses
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.guard import Guard

Verdicts = tuple[Verdict, ...]


def judged(service: Service, reached: Iterable[End], port: int, request: Request, scene: Scene) -> Verdicts:
    """What the source's request meets at the replicas that it may reach, else at all of them."""
    names = {one.workload for one in reached}
    members = scene.workloads(service)
    chosen = [one for one in members if one.name in names] or members
    call = calling(scene.source, replace(request, port=port), scene.snapshot)
    return scene.policies.verdicts(chosen, call)


def policy_steps(service: Service, port: int, verdicts: Verdicts, scene: Scene) -> Iterator[Step]:
    """PeerAuthentication of the service's workloads, and what other policies make of the request."""
    workloads = scene.workloads(service)
    if not workloads:
        return
    strict = scene.policies.strict(workloads[0], port)
    policies = peers_of(scene.policies.peers, workloads[0])
    scopes = "the narrowest scope counts: workload, then namespace, then mesh"
    yield Step(
        "peer authentication",
        "STRICT: only mesh identities get in" if strict else "PERMISSIVE: everybody gets in",
        ", ".join(policy.key for policy in policies),
        scopes if policies else "no PeerAuthentication is for it",
    )
    about = tuple(dict.fromkeys(_about(workloads, scene)))
    if not about and all(one.judgement.decision == "allowed" for one in verdicts):
        return
    for verdict in verdicts:
        yield from _steps(verdict, about, alone=len(verdicts) == 1)


def at_gateway(guard: Guard, request: Request, scene: Scene) -> tuple[Judgement, tuple[Step, ...]]:
    """What a client of a gateway meets first, who has no identity of the mesh."""
    judgement = met(guard, calling(None, request, scene.snapshot))
    return judgement, tuple(_steps(Verdict(judgement, ()), policies_of(guard), alone=True))


def refused(verdicts: Verdicts, otherwise: str, part: str) -> str:
    """What becomes of the request, where policies have a say in it."""
    denied = [one for one in verdicts if one.judgement.decision == "denied"]
    if not denied:
        return otherwise
    words = denial(denied[0].judgement)
    if len(denied) == len(verdicts):
        return words + part
    names = ", ".join(name for one in denied for name in one.replicas)
    return f"{otherwise}; {words} at {names}"


def denial(judgement: Judgement) -> str:
    """A denial as the outcome of a request or connection."""
    how = f"denied with {judgement.status}" if judgement.status else "refused"
    return f"{how} by {judgement.by}" if judgement.by else how


def _steps(verdict: Verdict, about: Sequence[tuple[str, bool]], alone: bool) -> Iterator[Step]:
    found = verdict.judgement
    where = "" if alone else f" at {', '.join(verdict.replicas)}"
    words = {
        "allowed": "allowed",
        "denied": denial(Judgement("denied", status=found.status)),
        "asked": "asked of a provider",
        "depends": "depends on what is not known here",
    }
    decider = found.by.partition(" ")[0]
    passed = tuple(
        PassedOver(key, "it is tried out only" if trial else "none of its rules decides")
        for key, trial in about
        if key != decider
    )
    yield Step("authorization", words[found.decision] + where, found.by, found.why, passed)
    if found.audited:
        yield Step("audit", f"noted{where}", ", ".join(found.audited))
    for said in found.trial:
        yield Step("dry run", said + where)


def _about(workloads: Iterable[Workload], scene: Scene) -> Iterator[tuple[str, bool]]:
    """Keys of policies for some of the workloads, and whether they are tried out only."""
    for one in workloads:
        book = scene.policies.book.near(one.namespace)
        called = Called(one.namespace, one.service, labels(one))
        for posted in book.authorization:
            if chooses(posted.applied, posted.applied.spec, called):
                yield posted.applied.key, posted.trial
        for presented in book.authentication:
            if chooses(presented.applied, presented.applied.spec, called):
                yield presented.applied.key, False
