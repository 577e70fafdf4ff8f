"""Decides what each rule of an AuthorizationPolicy asks of a caller and its call.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/ and …/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from meshlite.model.security import AuthorizationPolicy, Condition, Operation, Rule, Source
from meshlite.translate.plan import trust
from meshlite.translate.plan.condition import (
    Claim,
    DestinationAddress,
    DestinationPort,
    Header,
    Metadata,
    Path,
    RemoteAddress,
    ServerName,
    SourceAddress,
    Test,
    all_of,
    any_of,
    negated,
)
from meshlite.translate.plan.guard import Clause
from meshlite.translate.plan.resources import Applied
from meshlite.translate.plan.route import Text
from meshlite.translate.plan.trust import Trust

Meaning = Callable[[str], Test]
"""What a written value asks."""

_KEYED = re.compile(r"(?P<name>[^\[]+)\[(?P<rest>.+)\]")
_LISTED = re.compile(r"\[(.*)\]")
_AUTHORITY = (":authority", "host")


def clauses(applied: Applied[AuthorizationPolicy], trusted: Trust) -> tuple[Clause, ...]:
    """One for each rule, in order."""
    resource = applied.resource
    return tuple(
        Clause(
            f"ns[{resource.namespace}]-policy[{resource.name}]-rule[{place}]", *_rule(rule, applied, trusted)
        )
        for place, rule in enumerate(applied.spec.rules)
    )


def _rule(rule: Rule, applied: Applied[AuthorizationPolicy], trusted: Trust) -> tuple[Test, Test]:
    sources = [_source(part.source, applied.namespace, trusted) for part in rule.from_]
    operations = [_operation(part.operation) for part in rule.to]
    conditions = [
        (condition.key, _condition(condition, applied.namespace, trusted)) for condition in rule.when
    ]
    of_call = [test for key, test in conditions if key.startswith(_OF_CALL)]
    of_caller = [test for key, test in conditions if not key.startswith(_OF_CALL)]
    return (
        all_of(*_either(sources), *of_caller),
        all_of(*_either(operations), *of_call),
    )


_OF_CALL = ("destination.", "connection.", "experimental.")


def _either(tests: Sequence[Test]) -> tuple[Test, ...]:
    return (any_of(*tests),) if tests else ()


def _source(source: Source, own: str, trusted: Trust) -> Test:
    return all_of(
        *_field(source.principals, source.not_principals, trusted.principal),
        *_field(source.request_principals, source.not_request_principals, request_principal),
        *_field(source.namespaces, source.not_namespaces, trust.namespace),
        *_field(source.service_accounts, source.not_service_accounts, lambda text: trust.account(text, own)),
        *_field(source.trust_domains, source.not_trust_domains, trusted.trust_domain),
        *_field(source.ip_blocks, source.not_ip_blocks, SourceAddress),
        *_field(source.remote_ip_blocks, source.not_remote_ip_blocks, RemoteAddress),
    )


def _operation(operation: Operation) -> Test:
    return all_of(
        *_field(operation.hosts, operation.not_hosts, _host),
        *_field(operation.methods, operation.not_methods, lambda text: Header(":method", words(text))),
        *_field(operation.paths, operation.not_paths, _path),
        *_field(operation.ports, operation.not_ports, lambda text: DestinationPort(int(text))),
    )


def _field(values: Iterable[str], not_values: Iterable[str], meaning: Meaning) -> tuple[Test, ...]:
    """Any of the values, and none of those excluded; a field that is not written asks nothing."""
    wanted, unwanted = [meaning(value) for value in values], [meaning(value) for value in not_values]
    return (
        *((any_of(*wanted),) if wanted else ()),
        *((negated(any_of(*unwanted)),) if unwanted else ()),
    )


def _condition(condition: Condition, own: str, trusted: Trust) -> Test:
    meaning = _attribute(condition.key, own, trusted)
    return all_of(*_field(condition.values, condition.not_values, meaning))


def _attribute(key: str, own: str, trusted: Trust) -> Meaning:
    plain: dict[str, Meaning] = {
        "source.ip": SourceAddress,
        "remote.ip": RemoteAddress,
        "source.namespace": trust.namespace,
        "source.serviceAccount": lambda text: trust.account(text, own),
        "source.principal": trusted.principal,
        "source.trustDomain": trusted.trust_domain,
        "request.auth.principal": request_principal,
        "request.auth.audiences": lambda text: claim(("aud",), text),
        "request.auth.presenter": lambda text: Claim(("azp",), words(text)),
        "destination.ip": DestinationAddress,
        "destination.port": lambda text: DestinationPort(int(text)),
        "connection.sni": lambda text: ServerName(words(text)),
    }
    if key in plain:
        return plain[key]
    found = _KEYED.fullmatch(key)
    name, rest = (found["name"], found["rest"]) if found else (key, "")
    if name == "request.headers":
        return lambda text: _header(rest, text)
    if name == "request.auth.claims":
        return lambda text: claim(tuple(rest.split("][")), text)
    return lambda text: _metadata(name.removeprefix("experimental."), rest, text)


def _header(name: str, text: str) -> Test:
    return _host(text) if name.lower() in _AUTHORITY else Header(name, words(text))


def claim(keys: tuple[str, ...], text: str) -> Test:
    """A claim that is a string or a list of strings."""
    return any_of(Claim(keys, words(text)), Claim(keys, words(text), listed=True))


def request_principal(text: str) -> Test:
    """`issuer/subject`, divided at the last slash, with `*` at an end; or `*`: anybody with a token."""
    issuer, slash, subject = text.rpartition("/")
    if text == "*":
        return _token(Text("present"), Text("present"))
    if slash:
        issuer_text = words(issuer) if issuer.startswith("*") else Text("exact", issuer)
        return _token(issuer_text, words(subject) if subject.endswith("*") else Text("exact", subject))
    if text.startswith("*"):
        return _token(Text("present"), Text("suffix", text[1:]))
    return _token(words(text), Text("present") if text.endswith("*") else Text("exact"))


def _token(issuer: Text, subject: Text) -> Test:
    return all_of(Claim(("iss",), issuer), Claim(("sub",), subject))


def _host(text: str) -> Test:
    return Header(":authority", words(text), ignore_case=True)


def _path(text: str) -> Test:
    """Templates in Envoy's own words: {*} is a segment, {**} the rest."""
    if "{*}" in text or "{**}" in text:
        return Path(Text("present"), text.replace("{*}", "*").replace("{**}", "**"))
    return Path(words(text))


def _metadata(filter: str, key: str, text: str) -> Test:
    listed = _LISTED.fullmatch(text)
    return Metadata(filter, (key,), words(listed[1] if listed else text), listed is not None)


def words(text: str) -> Text:
    """`*`, `*suffix`, `prefix*`, or the text itself."""
    if text == "*":
        return Text("present")
    if text.startswith("*"):
        return Text("suffix", text[1:])
    return Text("prefix", text[:-1]) if text.endswith("*") else Text("exact", text)
