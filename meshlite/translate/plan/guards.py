"""Decides what stands between callers and each workload, and which services that holds for as a whole.

Source: https://istio.io/latest/docs/concepts/security/#authorization-policies
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshlite.model.mesh import KeySet
from meshlite.model.provider import ExtensionProvider
from meshlite.model.rules.labels import DRY_RUN
from meshlite.model.security import AuthorizationPolicy, RequestAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.memo import Looked, Memo
from meshlite.translate.plan.asking import asking
from meshlite.translate.plan.attachment import Called, attached, chooses, near, served, targets, wanted
from meshlite.translate.plan.authorization import clauses
from meshlite.translate.plan.catalog import Callee, Catalog, Replica, Replicas, labels
from meshlite.translate.plan.condition import ALWAYS
from meshlite.translate.plan.guard import NOTHING, Clause, Clauses, Guard, Issuer, Provider, Rules
from meshlite.translate.plan.provider import providers
from meshlite.translate.plan.resources import Applied, Read, Told, of_kind
from meshlite.translate.plan.tokens import issuers
from meshlite.translate.plan.trust import Trust

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


@dataclass(frozen=True)
class Posted:
    """An AuthorizationPolicy with what its rules ask. `trial`: it is tried out only."""

    applied: Applied[AuthorizationPolicy]
    clauses: Clauses
    trial: bool


@dataclass(frozen=True)
class Presented:
    """A RequestAuthentication with the issuers that it names."""

    applied: Applied[RequestAuthentication]
    issuers: tuple[Issuer, ...]


@dataclass(frozen=True)
class Book:
    """All policies, first applied first."""

    authorization: tuple[Posted, ...] = ()
    authentication: tuple[Presented, ...] = ()
    providers: tuple[Provider, ...] = ()

    def near(self, namespace: str) -> Book:
        """What may concern workloads of a namespace."""
        authorization = {one.key for one in near((one.applied for one in self.authorization), namespace)}
        authentication = {one.key for one in near((one.applied for one in self.authentication), namespace)}
        return Book(
            tuple(one for one in self.authorization if one.applied.key in authorization),
            tuple(one for one in self.authentication if one.applied.key in authentication),
            self.providers,
        )

    @property
    def selective(self) -> bool:
        """Some of it is for workloads with certain labels, and not only those that a service tells."""
        authorization = (wanted(one.applied.spec) for one in self.authorization)
        authentication = (wanted(one.applied.spec) for one in self.authentication)
        return any(labels.keys() - {"app"} for labels in (*authorization, *authentication))

    def guard(self, called: Called, addresses: tuple[str, ...]) -> Guard:
        """What stands before a workload; its own addresses are known, the port called is not."""
        made = self._made(
            [one for one in self.authorization if chooses(one.applied, one.applied.spec, called)],
            [one for one in self.authentication if chooses(one.applied, one.applied.spec, called)],
        )
        return made.settled(None, addresses)

    def at_gateway(self, gate: Called, keys: frozenset[tuple[str, str]]) -> Guard:
        """What clients of a gateway meet: by its labels, and by the Gateways (namespace, name) it serves.

        None of them has an identity of the mesh: inside it, callers are judged on their own side.
        """
        near = self.near(gate.namespace)
        made = self._made(
            [
                one
                for one in self.authorization
                if (one in near.authorization and chooses(one.applied, one.applied.spec, gate))
                or served(one.applied, one.applied.spec, keys)
            ],
            [
                one
                for one in self.authentication
                if (one in near.authentication and chooses(one.applied, one.applied.spec, gate))
                or served(one.applied, one.applied.spec, keys)
            ],
        )
        return made.of_strangers()

    def attached(self, entries: frozenset[str]) -> Guard:
        """What stands before a host outside, declared by ServiceEntries of these names."""
        return self._made(
            [one for one in self.authorization if attached(one.applied.spec, "ServiceEntry", entries)], []
        )

    def _made(self, chosen: Sequence[Posted], tokens: Sequence[Presented]) -> Guard:
        held = [one for one in chosen if not one.trial]
        trial = [one for one in chosen if one.trial]
        return Guard(
            _rules(held),
            _rules(trial),
            _of_action(held, "AUDIT"),
            asking([(one.applied, one.clauses) for one in held], self.providers),
            _numbered(issuer for one in tokens for issuer in one.issuers),
        )


def book(
    memo: Memo,
    resources: Read,
    trusted: Trust,
    keys: tuple[KeySet, ...],
    declared: tuple[ExtensionProvider, ...],
    services: Catalog,
) -> tuple[Book, Told]:
    found = tuple(memo.of(one.key, _posted, one, trusted) for one in of_kind(resources, AuthorizationPolicy))
    sets = {one.uri: one.keys for one in keys}
    tokens = tuple(
        memo.of(one.key, _presented, one, _wanted_keys(one, sets))
        for one in of_kind(resources, RequestAuthentication)
    )
    made, told = providers(declared, services)
    return Book(found, tokens, made), (*told, *_unheld(found), *_unknown(found, made))


def _unheld(found: Iterable[Posted]) -> Iterator[tuple[str, str]]:
    """Outside the mesh nobody notes or asks anything: the caller's side allows and denies."""
    for one in found:
        outside = any(target.kind == "ServiceEntry" for target in targets(one.applied.spec))
        if outside and (one.trial or one.applied.spec.action in ("AUDIT", "CUSTOM")):
            yield (
                one.applied.key,
                "for hosts outside the mesh only ALLOW and DENY act: it has no effect on them",
            )


def _unknown(found: Iterable[Posted], known: Iterable[Provider]) -> Iterator[tuple[str, str]]:
    names = {one.name for one in known}
    for one in found:
        provider = one.applied.spec.provider
        if one.applied.spec.action == "CUSTOM" and provider is not None and provider.name not in names:
            reason = f"extension_providers in meshlite.yaml has no {provider.name}: what it is for is denied"
            yield one.applied.key, reason


def _posted(applied: Applied[AuthorizationPolicy], trusted: Trust) -> Posted:
    trial = applied.resource.annotations.get(DRY_RUN) in _TRUE
    return Posted(applied, clauses(applied, trusted), trial)


def _wanted_keys(
    applied: Applied[RequestAuthentication], sets: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    uris = sorted({rule.key_source for rule in applied.spec.jwt_rules} & sets.keys())
    return tuple((uri, sets[uri]) for uri in uris)


def _presented(applied: Applied[RequestAuthentication], sets: tuple[tuple[str, str], ...]) -> Presented:
    return Presented(applied, issuers(applied, dict(sets)))


def _rules(policies: Iterable[Posted]) -> Rules:
    policies = tuple(policies)
    allowing = any(one.applied.spec.action == "ALLOW" for one in policies)
    return Rules(_of_action(policies, "DENY"), _of_action(policies, "ALLOW") if allowing else None)


def _of_action(policies: Iterable[Posted], action: str) -> Clauses:
    return tuple(clause for one in policies if one.applied.spec.action == action for clause in one.clauses)


def _numbered(found: Iterable[Issuer]) -> tuple[Issuer, ...]:
    """In the order of issuers, as Istio tries them."""
    return tuple(sorted(found, key=lambda one: one.issuer))


@dataclass(frozen=True, slots=True)
class ServiceGuard:
    """What callers of a service meet on their own side.

    `apart`: its replicas judge for themselves, by inbound chains: they are guarded differently, or by more
    than the caller's side can do.
    """

    guard: Guard = NOTHING
    apart: bool = False


_UNKNOWN = Guard(Rules(deny=(Clause("no-replica", ALWAYS, ALWAYS),)))
"""Nobody is there, and who comes will be guarded by labels that are not known yet."""


@dataclass(frozen=True)
class Guarding:
    """What stands before each workload (id), and what of it callers meet on their own side, by service (key).

    `apart`: workloads that judge for themselves.
    """

    by_service: Mapping[str, ServiceGuard]
    by_workload: Mapping[str, Guard]
    apart: frozenset[str]


def guards(memo: Memo, services: Catalog, replicas: Replicas, all: Book, copied: frozenset[str]) -> Guarding:
    """`copied`: hosts that copies of requests are sent to.

    Envoy's RBAC lets pass what has no connection, as such copies, so these services judge for themselves.
    """
    every = (*services.services.values(), *services.others)
    namespaces = {service.namespace for service in every}
    namespaces |= {one.workload.namespace for group in replicas.values() for one in group}
    near = memo.each("near", _near, {name: name for name in sorted(namespaces)}, all)
    found = memo.each("of", _of_replicas, replicas, Looked(near))
    wanted = {one.key: (one, found.get(one.key, ()), one.fqdn in copied) for one in every}
    by_service = memo.each("service", _service_guard, wanted, Looked(near))
    return memo.of("guarding", _guarding, by_service, found)


def _near(namespace: str, all: Book) -> Book:
    return all.near(namespace)


Guarded = tuple[tuple[str, Guard, bool], ...]
"""Replicas of a service: the workload's id, what stands before it, whether it is called on the same ports."""


def _of_replicas(group: tuple[Replica, ...], near: Mapping[str, Book]) -> Guarded:
    """Those that run; what is only declared to be somewhere has nothing of the mesh beside it."""
    return tuple(
        (one.workload.id, guard_of(near[one.workload.namespace], one.workload), _straight(one))
        for one in group
        if one.workload.source != "resource"
    )


def _guarding(by_service: Mapping[str, ServiceGuard], found: Mapping[str, Guarded]) -> Guarding:
    apart = (one for key, made in by_service.items() if made.apart for one, _, _ in found.get(key, ()))
    by_workload = {one: guard for group in found.values() for one, guard, _ in group}
    return Guarding(by_service, by_workload, frozenset(apart))


def _straight(replica: Replica) -> bool:
    return all(port == target for port, target in (replica.targets or {}).items())


def _alike(found: Guarded) -> bool:
    return all(straight for _, _, straight in found)


def _service_guard(wanted: tuple[Callee, Guarded, bool], books: Mapping[str, Book]) -> ServiceGuard:
    """`wanted`: a service, its replicas, and whether copies of requests are sent to it."""
    service, found, copied = wanted
    near = books[service.namespace]
    guards = {guard for _, guard, _ in found}
    if not found and service.external:
        return ServiceGuard(Guard(near.attached(service.resources).rules))
    if not found and near.selective:
        return ServiceGuard(_UNKNOWN)
    if not found:
        guards = {near.guard(Called(service.namespace, service.name, {"app": service.name}), ())}
    guard = guards.pop()
    together = not guards and guard.plain and (guard.empty or (_alike(found) and not copied))
    return ServiceGuard(guard) if together else ServiceGuard(apart=True)


def guard_of(near: Book, workload: Workload) -> Guard:
    called = Called(workload.namespace, workload.service, labels(workload))
    return near.guard(called, workload.addresses)
