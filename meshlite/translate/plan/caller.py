"""Who calls, as far as it matters: a namespace, and the label selectors that single callers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Selector = tuple[tuple[str, str], ...]
"""Labels that all must be there, sorted, so that equal selectors compare equal."""


@dataclass(frozen=True, slots=True)
class Caller:
    """All workloads of `namespace` for which exactly these of all `selectors` in resources hold.

    `gateway`: the one that calls on behalf of its clients, by itself and not as the workload it may be.
    """

    namespace: str
    selectors: frozenset[Selector] = frozenset()
    gateway: str = ""

    @property
    def name(self) -> str:
        """`shop`, or `shop/app=web,version=v1;tier=front` where selectors single these callers out."""
        whose = f"{self.namespace}@{self.gateway}" if self.gateway else self.namespace
        if not self.selectors:
            return whose
        written = (",".join(f"{key}={value}" for key, value in pairs) for pairs in sorted(self.selectors))
        return f"{whose}/{';'.join(written)}"

    def table(self, port: int) -> str:
        """The name of the route table that these callers follow on a port."""
        return f"{port}/{self.name}"

    def has(self, labels: Mapping[str, str]) -> bool:
        return not labels or selector(labels) in self.selectors


def selector(labels: Mapping[str, str]) -> Selector:
    return tuple(sorted(labels.items()))


def matches(wanted: Iterable[tuple[str, str]], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted)


def caller(namespace: str, labels: Mapping[str, str], selectors: Iterable[Selector]) -> Caller:
    """The group that a workload with these labels belongs to."""
    return Caller(namespace, frozenset(wanted for wanted in selectors if matches(wanted, labels)))
