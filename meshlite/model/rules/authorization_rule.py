"""Istio's verdict on one rule of an AuthorizationPolicy: sources, operations, conditions.

Source: https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from meshlite.model.faults import Fault, suggest
from meshlite.model.located import Path
from meshlite.model.message import Message
from meshlite.model.rules import forms
from meshlite.model.scalars import shown
from meshlite.model.security.authorization_policy import Condition, Rule, Source

Form = Callable[[str], str]


def authorization_rule(rule: Rule, at: Path) -> Iterator[Fault]:
    for name in ("from_", "to"):
        if name in rule.model_fields_set and not getattr(rule, name):
            yield Fault((*at, name.rstrip("_")), "must have an entry, or be left out for any")
    for place, part in enumerate(rule.from_):
        here = (*at, "from", place, "source")
        yield from _values(part.source, _SOURCE_FORMS, here)
        yield from _accounts_alone(part.source, here)
    for place, to in enumerate(rule.to):
        yield from _values(to.operation, _OPERATION_FORMS, (*at, "to", place, "operation"))
    for place, condition in enumerate(rule.when):
        yield from _condition(condition, (*at, "when", place))


def _values(message: Message, listed: Mapping[str, Form], at: Path) -> Iterator[Fault]:
    """Each value by the form of its field; a message that says nothing is a mistake."""
    said = False
    for name, info in type(message).model_fields.items():
        values: tuple[str, ...] = getattr(message, name)
        said = said or bool(values)
        yield from _each(values, listed.get(name.removeprefix("not_"), _word), (*at, info.alias or name))
    if not said:
        yield Fault(at, "must say something: at least one of its fields")


def _each(values: Sequence[str], form: Form, at: Path) -> Iterator[Fault]:
    for place, value in enumerate(values):
        if reason := form(value):
            yield Fault((*at, place), reason)


def _accounts_alone(source: Source, at: Path) -> Iterator[Fault]:
    given = source.model_fields_set
    accounts = given & {"service_accounts", "not_service_accounts"}
    others = given & {"principals", "not_principals", "namespaces", "not_namespaces"}
    if accounts and others:
        yield Fault(at, "serviceAccounts cannot be combined with namespaces or principals")


def _condition(condition: Condition, at: Path) -> Iterator[Fault]:
    form = _attribute(condition.key)
    if isinstance(form, str):
        yield Fault((*at, "key"), form)
        return
    if not (condition.values or condition.not_values):
        yield Fault((*at, "values"), "needs values or notValues")
    yield from _each(condition.values, form, (*at, "values"))
    yield from _each(condition.not_values, form, (*at, "notValues"))


def _attribute(key: str) -> Form | str:
    """The form of the values of an attribute, or why there is no such attribute."""
    if not key:
        return "must not be empty"
    if key in _ATTRIBUTES:
        return _ATTRIBUTES[key]
    if key.startswith(_KEYED):
        name = key.partition("[")[0]
        return _word if re.fullmatch(r"[^\[]+\[.+\]", key) else f"must have the form {name}[name]"
    if key.startswith("destination.labels"):
        return "is no condition: choose workloads by the selector"
    if key in _GONE:
        return _GONE[key]
    known = (*_ATTRIBUTES, *(f"{name}[]" for name in _KEYED[:2]))
    return f"unknown attribute {shown(key)}{suggest(key, known)}"


def _word(text: str) -> str:
    return "" if text else "a value must not be empty"


def _account(text: str) -> str:
    parts = text.split("/")
    if len(text) > 320 or len(parts) > 2 or not all(parts):
        return f"{shown(text)} is not an account: write namespace/account, or account"
    return "an account takes no wildcard" if "*" in text else ""


def _edge_wildcard(text: str) -> str:
    if not text or text == "*":
        return _word(text)
    stars = text.count("*")
    if stars > 1 or (stars and not (text.startswith("*") or text.endswith("*"))):
        return f"{shown(text)}: one * may stand at the beginning or at the end"
    return ""


def _trust_domain(text: str) -> str:
    return f"{shown(text)} is not a trust domain: it holds a /" if "/" in text else _edge_wildcard(text)


def _port(text: str) -> str:
    good = re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= 65535
    return "" if good else f"{shown(text)} is not a port: from 0 to 65535"


def _path(text: str) -> str:
    """A path, with `*` at an end, or a template: {*} is one segment, {**} the rest, as the last template."""
    parts = text.strip("/").split("/")
    template = any(part in text for part in ("{*}", "{**}"))
    rest = False
    for part in parts:
        if part in ("{*}", "{**}"):
            if rest:
                return f"{shown(text)}: nothing of {{*}} and {{**}} may follow {{**}}"
            rest = part == "{**}"
        elif "{" in part or "}" in part:
            return f"{shown(text)}: braces are for {{*}} and {{**}}, each a whole segment"
        elif template and not re.fullmatch(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+", part):
            return f"{shown(text)}: {shown(part)} cannot be a segment beside {{*}} or {{**}}"
    return _word(text)


_SOURCE_FORMS: Mapping[str, Form] = {
    "ip_blocks": forms.address_or_cidr,
    "remote_ip_blocks": forms.address_or_cidr,
    "service_accounts": _account,
    "trust_domains": _trust_domain,
}
_OPERATION_FORMS: Mapping[str, Form] = {"ports": _port, "paths": _path}
_ATTRIBUTES: Mapping[str, Form] = {
    "source.ip": forms.address_or_cidr,
    "remote.ip": forms.address_or_cidr,
    "source.namespace": _word,
    "source.serviceAccount": _account,
    "source.principal": _word,
    "source.trustDomain": _edge_wildcard,
    "request.auth.principal": _word,
    "request.auth.audiences": _word,
    "request.auth.presenter": _word,
    "destination.ip": forms.address_or_cidr,
    "destination.port": _port,
    "connection.sni": _word,
}
_KEYED = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")
_GONE: Mapping[str, str] = {
    "destination.namespace": "is no condition: a policy is for the namespace it stands in",
    "destination.name": "is no condition any more: choose workloads by the selector",
    "destination.user": "is no condition any more: choose workloads by the selector",
}
