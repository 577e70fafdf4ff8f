"""What the policies of a workload make of one call, told: who decides it, and what is noted of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import re2

from meshlite.translate.explain.normalization import normalised
from meshlite.translate.plan.condition import (
    All,
    Any,
    Claim,
    DestinationPort,
    Header,
    Leaf,
    Not,
    Path,
    Principal,
    RemoteAddress,
    ServerName,
    SourceAddress,
    Test,
    fits,
    is_leaf,
    within,
)
from meshlite.translate.plan.guard import Clause, Guard, Rules
from meshlite.translate.plan.route import Text

Decision = Literal["allowed", "denied", "asked", "depends"]
"""asked: a provider has the last word; depends: on what is not known of the call."""

_NAME = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]")


@dataclass(frozen=True)
class Calling:
    """One call as its destination would see it.

    `principal`: the caller's SPIFFE URI, empty: it has none. `addresses`: it comes from one of these. `port`:
    the workload's own. `claims`: of its token; None: it carries none. `normalization`: of paths.
    """

    principal: str = ""
    addresses: tuple[str, ...] = ()
    port: int = 0
    host: str = ""
    method: str = "GET"
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, object] | None = None
    http: bool = True
    server_name: str = ""
    normalization: str = "BASE"


@dataclass(frozen=True)
class Judgement:
    """`by`: the policy and rule that decide, empty: none. `status`: HTTP's for a denied request.

    `audited`: rules that note the call. `trial`: what policies that are only tried out would do.
    """

    decision: Decision
    by: str = ""
    why: str = ""
    status: int = 0
    audited: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()


def judge(guard: Guard, call: Calling) -> Judgement:
    """In the order in which the policies are asked."""
    guard = guard if call.http else guard.of_connections()
    audited = tuple(rule(clause.name) for clause in guard.audited if _answer(clause, call))
    trial = _tried(guard.trial, call)
    status = 403 if call.http else 0
    found = _asked(guard, call, status) or _tokens(guard, call) or _ruled(guard.rules, call, status)
    if found.decision == "allowed" and (provider := _provider(guard, call)):
        found = provider
    return Judgement(found.decision, found.by, found.why, found.status, audited, trial)


def policies_of(guard: Guard) -> tuple[tuple[str, bool], ...]:
    """Keys of the policies in a guard, and whether they are tried out only."""
    rules, trial = guard.rules, guard.trial
    asking = (clause for one in guard.asking for clause in one.clauses)
    clauses = (*asking, *guard.audited, *rules.deny, *(rules.allow or ()))
    names = [
        *(_issuer(one.name) for one in guard.issuers),
        *(rule(one.name) for one in clauses),
    ]
    tried = (rule(one.name) for one in (*trial.deny, *(trial.allow or ())))
    found = {name.partition(" ")[0]: False for name in names}
    return tuple(({name.partition(" ")[0]: True for name in tried} | found).items())


def rule(name: str) -> str:
    """The rule that a clause's name stands for, as people write it."""
    found = _NAME.search(name)
    if found is None:
        return name
    return f"AuthorizationPolicy/{found['namespace']}/{found['name']} spec.rules[{found['rule']}]"


def _asked(guard: Guard, call: Calling, status: int) -> Judgement | None:
    """A denial since the provider to be asked is not there."""
    for one in guard.asking:
        for clause in one.clauses:
            if one.provider is None and _answer(clause, call):
                why = f"its provider {one.name} is not there, or not the only one named for the workload"
                return Judgement("denied", rule(clause.name), why, status)
    return None


def _provider(guard: Guard, call: Calling) -> Judgement | None:
    for one in guard.asking:
        for clause in one.clauses:
            if (answer := _answer(clause, call)) is not False:
                why = f"provider {one.name} decides" if answer else _UNSURE
                return Judgement("asked" if answer else "depends", rule(clause.name), why)
    return None


def _tokens(guard: Guard, call: Calling) -> Judgement | None:
    """A denial since the token is of nobody's that the workload trusts, or is missing."""
    if not guard.issuers or not call.http:
        return None
    if call.claims is None:
        needed = next((one for one in guard.issuers if one.required), None)
        why = "a token is required, and the request has none"
        return Judgement("denied", _issuer(needed.name), why, 401) if needed is not None else None
    issuer = call.claims.get("iss")
    mine = [one for one in guard.issuers if one.issuer in ("", issuer)]
    if not mine:
        known = ", ".join(one.issuer for one in guard.issuers)
        why = f"tokens of issuer {issuer} are not taken, only of {known}"
        return Judgement("denied", _issuer(guard.issuers[0].name), why, 401)
    audience = call.claims.get("aud")
    given = (audience,) if isinstance(audience, str) else _listed(audience, ("aud",))
    if not any(not one.audiences or set(one.audiences) & set(given) for one in mine):
        return Judgement("denied", _issuer(mine[0].name), "the token is for another audience", 403)
    return None


def _issuer(name: str) -> str:
    namespace, policy, place = name.split("/")
    return f"RequestAuthentication/{namespace}/{policy} spec.jwtRules[{place}]"


def _ruled(rules: Rules, call: Calling, status: int) -> Judgement:
    for clause in rules.deny:
        answer = _answer(clause, call)
        if answer is not False:
            decision: Decision = "denied" if answer else "depends"
            return Judgement(decision, rule(clause.name), "" if answer else _UNSURE, status)
    if rules.allow is None:
        return Judgement("allowed", why="nobody wrote an ALLOW policy for it, and no DENY matches")
    answers = [(_answer(clause, call), clause) for clause in rules.allow]
    if let := next((rule(clause.name) for answer, clause in answers if answer), ""):
        return Judgement("allowed", let)
    if perhaps := next((rule(clause.name) for answer, clause in answers if answer is None), ""):
        return Judgement("depends", perhaps, _UNSURE)
    names = tuple(dict.fromkeys(rule(clause.name).partition(" ")[0] for clause in rules.allow))
    shown = f": no rule of {', '.join(names)} matches" if names else ", and they have no rules"
    return Judgement("denied", why=f"there are ALLOW policies, and none lets it in{shown}", status=status)


_SPACED = (("scope",), ("permission",))
_UNSURE = "it matches if what is not known here is so: the caller's address, or what filters note"


def _tried(rules: Rules, call: Calling) -> tuple[str, ...]:
    denied = [f"would be denied by {rule(one.name)}" for one in rules.deny if _answer(one, call)]
    if rules.allow is None:
        return tuple(denied)
    allowed = [f"would be allowed by {rule(one.name)}" for one in rules.allow if _answer(one, call)]
    return (*denied, *(allowed or ["would be denied: no ALLOW policy on trial lets it in"]))


def _answer(clause: Clause, call: Calling) -> bool | None:
    """Whether it matches; None: that is not known."""
    return holds(clause.test, call)


def holds(test: Test, call: Calling) -> bool | None:
    """Three-valued: None is for what cannot be known here."""
    if is_leaf(test):
        return _leaf(test, call)
    if isinstance(test, Not):
        found = holds(test.part, call)
        return None if found is None else not found
    assert isinstance(test, All | Any)
    answers = [holds(part, call) for part in test.parts]
    settles = isinstance(test, Any)
    if settles in answers:
        return settles
    return None if None in answers else not settles


def _leaf(leaf: Leaf, call: Calling) -> bool | None:
    match leaf:
        case Principal():
            return fits(leaf.text, call.principal) if call.principal else False
        case SourceAddress():
            return _within(call.addresses, leaf.block)
        case RemoteAddress():
            told = _header("x-forwarded-for", call).rpartition(",")[2].strip()
            return _within((told,) if told else call.addresses, leaf.block)
        case Header():
            return _text(leaf.text, _header(leaf.name, call), leaf.ignore_case)
        case Path():
            path = normalised(call.path.partition("?")[0], call.normalization)
            return _template(leaf.template, path) if leaf.template else fits(leaf.text, path)
        case Claim():
            return _claim(leaf, call)
        case DestinationPort():
            return leaf.number == call.port
        case ServerName():
            return fits(leaf.text, call.server_name)
        case _:
            return None


def _within(addresses: tuple[str, ...], block: str) -> bool | None:
    """None where it is one of several addresses, and not all of them are alike in this."""
    found = {within(address, block) for address in addresses}
    return found.pop() if len(found) == 1 else None


def _header(name: str, call: Calling) -> str:
    pseudo = {":method": call.method, ":authority": call.host, ":path": call.path, ":scheme": "http"}
    known = {key.lower(): value for key, value in call.headers.items()} | pseudo
    return known.get(name.lower(), "")


def _text(text: Text, value: str, ignore_case: bool) -> bool:
    if not ignore_case or text.kind == "regex":
        return fits(text, value)
    return fits(Text(text.kind, text.value.lower()), value.lower())


def _template(template: str, path: str) -> bool:
    """Envoy's: `*` is a segment, `**` any rest."""
    parts = (
        ".*" if part == "**" else "[^/]+" if part == "*" else re.escape(part)
        for part in re.split(r"(\*\*|\*)", template)
    )
    return re2.fullmatch("".join(parts), path) is not None


def _claim(claim: Claim, call: Calling) -> bool:
    value: object = call.claims
    for key in claim.keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if claim.listed:
        return any(fits(claim.text, item) for item in _listed(value, claim.keys))
    return isinstance(value, str) and fits(claim.text, value)


def _listed(value: object, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Items of a list; of `scope` and `permission`, which are lists split by spaces, the words."""
    if isinstance(value, str):
        return tuple(value.split()) if keys in _SPACED else ()
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()
