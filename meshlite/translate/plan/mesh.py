"""Puts together what is the same for all callers: services, merged rules, and who is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from meshlite.model.extensions import TrafficExtension, WasmPlugin
from meshlite.model.mesh import Snapshot
from meshlite.model.names import resolve_known
from meshlite.model.networking import (
    DestinationRule,
    EnvoyFilter,
    ServiceEntry,
    Sidecar,
    VirtualService,
    WorkloadEntry,
)
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.memo import Looked, Memo
from meshlite.translate.node import Module, ModuleState, NodeView
from meshlite.translate.plan.action import mirrors
from meshlite.translate.plan.attachment import Side
from meshlite.translate.plan.caller import Caller, Selector, selector
from meshlite.translate.plan.catalog import Callee, Catalog, Replicas, Tunnels, catalog, labels
from meshlite.translate.plan.confinement import confined
from meshlite.translate.plan.delegate import delegated
from meshlite.translate.plan.destinations import (
    unused,
)
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.external import with_declared
from meshlite.translate.plan.guards import Book, Guarding, book, guards
from meshlite.translate.plan.locality import caller_keys
from meshlite.translate.plan.patch import (
    ordered,
)
from meshlite.translate.plan.patch import selectors as patching
from meshlite.translate.plan.plugins import Mode, Plugin, chosen, plugins
from meshlite.translate.plan.plugins import selectors as plugging
from meshlite.translate.plan.resources import Applied, Read, Report, of_kind, read, tell
from meshlite.translate.plan.rules import Rules, rules
from meshlite.translate.plan.scope import Scope, report_overlaid, scope
from meshlite.translate.plan.scope import selectors as scoping
from meshlite.translate.plan.trust import Trust


@dataclass(frozen=True)
class Mesh:
    """What is the same for all callers."""

    services: Catalog
    replicas: Replicas
    rules: Rules
    virtual_services: tuple[Applied[VirtualService], ...]
    authentication: tuple[Applied[PeerAuthentication], ...]
    sidecars: tuple[Applied[Sidecar], ...]
    unknown: str
    filters: tuple[Applied[EnvoyFilter], ...]
    plugins: tuple[Plugin, ...]
    modules: Mapping[Module, ModuleState]
    selectors: tuple[Selector, ...]
    book: Book
    guards: Guarding

    @cached_property
    def by_key(self) -> Mapping[str, Applied[VirtualService]]:
        return {one.key: one for one in self.virtual_services}

    def scope(self, caller: Caller) -> Scope:
        return scope(self.sidecars, self.unknown, caller)

    def extensions(self, side: Side, mode: Mode) -> tuple[Extension, ...]:
        return chosen(self.plugins, side, mode, self.modules)


def mesh_of(
    memo: Memo,
    snapshot: Snapshot,
    node: NodeView,
    tunnels: Tunnels,
    resources: Read,
    report: Report,
) -> Mesh:
    workloads = snapshot.workloads
    services, replicas = memo.within("catalog", catalog, snapshot.services, workloads, node, tunnels)
    entries, workload_entries = of_kind(resources, ServiceEntry), of_kind(resources, WorkloadEntry)
    services, replicas, told = memo.within(
        "declared",
        with_declared,
        services,
        replicas,
        entries,
        workload_entries,
        snapshot.hosts,
        node.virtual_network6,
    )
    tell(told, report)
    applied = of_kind(resources, DestinationRule)
    destination_rules = memo.of("rules", rules, applied, Looked(services.services))
    sidecars = of_kind(resources, Sidecar)
    settings = snapshot.settings
    trusted = settings.envoy_filter == "trusted"
    patches, told = memo.of("confined", confined, of_kind(resources, EnvoyFilter), trusted)
    tell(told, report)
    filters = ordered(patches)
    wasm, extensions = of_kind(resources, WasmPlugin), of_kind(resources, TrafficExtension)
    plugged = memo.of("plugins", plugins, wasm, extensions, trusted)
    known = Looked(services.services)
    virtual_services, told = memo.of("delegated", delegated, of_kind(resources, VirtualService), known)
    tell(told, report)
    traits = memo.each("traits", _traits, {one.key: one for one in virtual_services})
    selectors = memo.of("selectors", _selectors, destination_rules, traits, sidecars, filters, plugged)
    domains = Trust(snapshot.trust_domain, settings.trust_domain_aliases)
    providers = settings.extension_providers
    written, told = memo.within("book", book, resources, domains, snapshot.key_sets, providers, services)
    tell(told, report)
    copied = memo.of("copied", _copied, traits, Looked(services.services))
    tell(memo.of("unused", unused, destination_rules, Looked(services.services)), report)
    tell(report_overlaid(sidecars), report)
    return Mesh(
        services,
        replicas,
        destination_rules,
        virtual_services,
        of_kind(resources, PeerAuthentication),
        sidecars,
        snapshot.outbound_traffic_policy,
        filters,
        plugged,
        node.modules,
        _told_apart(memo, selectors, destination_rules, snapshot.workloads),
        written,
        memo.within("guards", guards, services, replicas, written, copied),
    )


def policies(snapshot: Snapshot, node: NodeView) -> Book:
    """What calls are judged by: for telling, since a plan has it in many places."""
    memo = Memo()
    resources, _ = memo.within("resources", read, snapshot.resources)
    return mesh_of(memo, snapshot, node, {}, resources, lambda key, reason: None).book


def _told_apart(
    memo: Memo, selectors: tuple[Selector, ...], rules: Rules, workloads: tuple[Workload, ...]
) -> tuple[Selector, ...]:
    """All labels that callers are told apart by; of some each value that there is."""
    keys = memo.of("label keys", _label_keys, rules)
    found = ((key, labels(workload).get(key, "")) for key in keys for workload in workloads)
    values = {(pair,) for pair in found if pair[1]}
    return memo.same("told apart", tuple(sorted({*selectors, *values})) if values else selectors)


def _label_keys(rules: Rules) -> frozenset[str]:
    return frozenset[str]().union(*(caller_keys(rule) for rule in rules.every()))


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a VirtualService concerns more than its own routes: labels of callers that it tells apart, and
    hosts, as seen from its namespace, that it sends copies of requests to.
    """

    selectors: frozenset[Selector]
    mirrors: frozenset[tuple[str, str]]


def _traits(one: Applied[VirtualService]) -> Traits:
    spec = one.spec
    rules = (rule for rules in (spec.http, spec.tls, spec.tcp) for rule in rules)
    labels = (block.source_labels for rule in rules for block in rule.match)
    copies = (destination.host for rule in spec.http for destination, _ in mirrors(rule))
    return Traits(
        frozenset(selector(wanted) for wanted in labels if wanted),
        frozenset((host, one.namespace) for host in copies),
    )


def _copied(traits: Mapping[str, Traits], known: Mapping[str, Callee]) -> frozenset[str]:
    """Hosts that copies of requests are sent to."""
    return frozenset(
        resolve_known(host, namespace, known) for one in traits.values() for host, namespace in one.mirrors
    )


def _selectors(
    rules: Rules,
    traits: Mapping[str, Traits],
    sidecars: tuple[Applied[Sidecar], ...],
    filters: tuple[Applied[EnvoyFilter], ...],
    plugins: tuple[Plugin, ...],
) -> tuple[Selector, ...]:
    """All labels that a resource tells callers apart by."""
    selectors = {rule.wanted for rule in rules.every() if rule.wanted}
    selectors |= {wanted for one in traits.values() for wanted in one.selectors}
    selectors |= {selector(labels) for labels in (*scoping(sidecars), *patching(filters), *plugging(plugins))}
    return tuple(sorted(selectors))
