"""What stands between callers and a workload: who may do what there. Values only.

In this order: providers that are asked, tokens, what is noted, what is denied, what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from meshlite.translate.plan.condition import (
    ALWAYS,
    HTTP,
    NEVER,
    Leaf,
    Metadata,
    Principal,
    Test,
    all_of,
    any_of,
    fits,
    leaves,
    negated,
    of_connections,
    rewritten,
    settled,
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A rule of a policy, by the name that denials and statistics give it: whose call, and which."""

    name: str
    source: Test
    operation: Test

    @property
    def test(self) -> Test:
        return all_of(self.source, self.operation)

    def changed(self, change: Callable[[Leaf], Test]) -> Clause:
        return replace(
            self, source=rewritten(self.source, change), operation=rewritten(self.operation, change)
        )

    @property
    def impossible(self) -> bool:
        return NEVER in (self.source, self.operation)

    def of_connections(self) -> Clause:
        source, operation = of_connections(self.source), of_connections(self.operation)
        return Clause(self.name, all_of(*_said(source)), all_of(*_said(operation)))

    @property
    def http(self) -> bool:
        """Whether it asks for what only HTTP has."""
        asked = (*leaves(self.source), *leaves(self.operation))
        return any(isinstance(leaf, HTTP) for leaf in asked)


def _said(test: Test | None) -> tuple[Test, ...]:
    return () if test is None else (test,)


Clauses = tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """`allow` None: nobody wrote an ALLOW policy, so what is not denied is allowed."""

    deny: Clauses = ()
    allow: Clauses | None = None

    @property
    def empty(self) -> bool:
        return not self.deny and self.allow is None

    def settled(self, port: int | None, addresses: tuple[str, ...]) -> Rules:
        return self.changed(lambda leaf: settled(leaf, port, addresses))

    def changed(self, change: Callable[[Leaf], Test]) -> Rules:
        """With the leaves of its tests changed; clauses that then match nothing are left out."""
        allow = None if self.allow is None else _changed(self.allow, change)
        return Rules(_changed(self.deny, change), allow)

    def by(self, principal: str) -> Rules:
        """For a caller whose identity is known."""

        def answer(leaf: Leaf) -> Test:
            if isinstance(leaf, Principal):
                return ALWAYS if fits(leaf.text, principal) else NEVER
            return leaf

        made = self.changed(answer)
        allowed = made.allow is not None and any(one.test == ALWAYS for one in made.allow)
        return Rules(made.deny) if allowed else made

    def of_connections(self) -> Rules:
        """ALLOW never matches by what only HTTP has; DENY is for more, since it does without."""
        allow = None if self.allow is None else tuple(one for one in self.allow if not one.http)
        return Rules(_of_connections(self.deny), allow)


def _of_connections(clauses: Clauses) -> Clauses:
    return tuple(clause.of_connections() for clause in clauses)


def _changed(clauses: Clauses, change: Callable[[Leaf], Test]) -> Clauses:
    found = (clause.changed(change) for clause in clauses)
    return tuple(clause for clause in found if not clause.impossible)


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that decides calls. `cluster` empty: it is not there, so what it should decide is denied.

    Names of headers, in lower case, may begin or end with `*`: `in_check` are those of the request that it is
    shown, `upstream` those of an allowing answer that go to the workload, `on_deny` and `on_allow` those that
    go to the caller. `body`: how many bytes of it are shown, 0: none.
    """

    name: str
    kind: Literal["http", "grpc"]
    cluster: str
    authority: str
    timeout: timedelta
    fail_open: bool = False
    status_on_error: int = 403
    clear_route_cache: bool = False
    path_prefix: str = ""
    in_check: tuple[str, ...] = ()
    added: tuple[tuple[str, str], ...] = ()
    upstream: tuple[str, ...] = ()
    on_deny: tuple[str, ...] = ()
    on_allow: tuple[str, ...] = ()
    body: int = 0
    partial_body: bool = False
    body_as_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Calls that match a clause are put to the provider; None: it is not to be had, so they are denied."""

    name: str
    provider: Provider | None
    clauses: Clauses


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are good, and where they are carried. `keys`: a JSON Web Key Set.

    `headers`: (name, prefix). `outputs`: (header, claim). `spaced`: claims that are lists split by spaces.
    """

    name: str
    issuer: str
    audiences: tuple[str, ...]
    keys: str
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    payload_header: str = ""
    outputs: tuple[tuple[str, str], ...] = ()
    forward: bool = False
    spaced: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """`trial`: what would be denied and allowed by policies that are tried out. `audited`: what is noted."""

    rules: Rules = Rules()
    trial: Rules = Rules()
    audited: Clauses = ()
    asking: tuple[Asking, ...] = ()
    issuers: tuple[Issuer, ...] = ()

    @property
    def empty(self) -> bool:
        return self == NOTHING

    @property
    def plain(self) -> bool:
        """It only allows and denies, which the caller's side does on its own."""
        return self == Guard(self.rules)

    def settled(self, port: int | None, addresses: tuple[str, ...]) -> Guard:
        """With what is known of the called side answered; `port` None: it is not known before the call."""
        return self._changed(lambda leaf: settled(leaf, port, addresses))

    def of_strangers(self) -> Guard:
        """For callers of whom none has an identity of the mesh."""
        return self._changed(lambda leaf: NEVER if isinstance(leaf, Principal) else leaf)

    def _changed(self, change: Callable[[Leaf], Test]) -> Guard:
        if self == NOTHING:
            return self
        asking = tuple(replace(one, clauses=_changed(one.clauses, change)) for one in self.asking)
        return replace(
            self,
            rules=self.rules.changed(change),
            trial=self.trial.changed(change),
            audited=_changed(self.audited, change),
            asking=tuple(one for one in asking if one.clauses),
        )

    def of_connections(self) -> Guard:
        """What of it holds for a connection that is not HTTP. Only gRPC providers judge connections."""
        asking = tuple(
            replace(one, clauses=_of_connections(one.clauses))
            for one in self.asking
            if one.provider is not None and one.provider.kind == "grpc"
        )
        unasked = tuple(clause for one in self.asking if one.provider is None for clause in one.clauses)
        rules = self.rules.of_connections()
        denied = replace(rules, deny=(*_of_connections(unasked), *rules.deny))
        return Guard(denied, self.trial.of_connections(), _of_connections(self.audited), asking)


NOTHING = Guard()

Verdicts = tuple[tuple[Test, str], ...]
"""What to ask of a connection in this order, and the policy that denies it if the answer is yes."""


def verdicts(rules: Rules) -> Verdicts:
    """The rules of connections, as questions that each end in a denial."""
    found = [(_asked(clause), clause.name) for clause in rules.deny]
    if rules.allow is not None:
        found.append((negated(any_of(*(_asked(clause) for clause in rules.allow))), UNALLOWED))
    return tuple((test, name) for test, name in found if test != NEVER)


def _asked(clause: Clause) -> Test:
    """Where a chain is chosen, no filter has noted anything yet."""
    return rewritten(clause.test, lambda leaf: NEVER if isinstance(leaf, Metadata) else leaf)


UNALLOWED = "none"
"""Stands for a policy's name where no ALLOW policy lets a call in; it is Envoy's word, too."""
