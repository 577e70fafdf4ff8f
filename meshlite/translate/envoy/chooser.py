"""The matching tree that gives each connection its filter chain, by port, address and detected protocol.

Built of messages instead of dicts: it has an entry for each address of the mesh, and changes most often.
Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_listener
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshlite.translate.envoy import schema
from meshlite.translate.envoy.predicate import predicate
from meshlite.translate.plan.condition import ALWAYS
from meshlite.translate.plan.listener import (
    ByProtocol,
    Choice,
    Chooser,
    Chosen,
    Judged,
    Named,
    PortChoice,
)
from meshlite.translate.plan.route import Text

_MATCHER = "xds.type.matcher.v3.Matcher"
_IP_MATCHER = "xds.type.matcher.v3.IPMatcher"
_ON_MATCH = f"{_MATCHER}.OnMatch"
_PREDICATE = f"{_MATCHER}.MatcherList.Predicate"
_STRING = "google.protobuf.StringValue"
_INPUTS = schema.PREFIX + "envoy.extensions.matching.common_inputs.network.v3."
_HTTP = ("'h2c'", "'http/1.0'", "'http/1.1'")


Asked = Mapping[str, tuple[tuple[Any | None, str], ...]]
"""By chain: what is asked before it is reached, None for nothing, and the chain that a yes leads to."""


def chooser(chooser: Chooser) -> bytes:
    """The encoded matcher of a listener."""
    asked = {judged.chain: _questions(judged) for judged in chooser.judged}
    found: Any = schema.message(_ON_MATCH)()
    rest = found
    if chooser.ports:
        ports = _tree(found, "DestinationPortInput")
        for port in chooser.ports:
            _port(ports[str(port.port)], port, chooser, asked)
        rest = found.matcher.on_no_match
    _port(rest, PortChoice(0, chooser.otherwise, http=chooser.http), chooser, asked)
    if not found.HasField("matcher") and chooser.judged:
        _act(found.matcher.on_no_match, _only(found.action))
    return bytes(found.matcher.SerializeToString(deterministic=True))


def _only(action: Any) -> str:
    """The chain that everything goes to, since the first question has no other answer."""
    return str(schema.message(_STRING).FromString(action.typed_config.value).value)  # type: ignore[attr-defined]


def _port(found: Any, port: PortChoice, chooser: Chooser, asked: Asked) -> None:
    """The order of questions that PortChoice demands; each level falls through to the next."""
    rest = _addresses(found, port.declared, asked)
    rest = _names(_ranges(rest, port.ranges, asked), port.names, asked)
    rest = _http(rest, port.http, asked) if port.http else rest
    rest = _addresses(rest, port.detected, asked)
    if chooser.fenced is not None:
        rest = _fence(rest, chooser.fenced, chooser.fence, asked)
    _reach(rest, port.otherwise, asked)


def _reach(found: Any, chain: str, asked: Asked) -> None:
    """The chain, for who is not denied."""
    for question, denial in asked.get(chain, ()):
        if question is None:
            _act(found, denial)
            return
        matcher = found.matcher.matcher_list.matchers.add()
        matcher.predicate.CopyFrom(question)
        _act(matcher.on_match, denial)
        found = found.matcher.on_no_match
    _act(found, chain)


def _questions(judged: Judged) -> tuple[tuple[Any | None, str], ...]:
    return tuple(
        (None if test == ALWAYS else schema.parse(_PREDICATE, predicate(test)), denial)
        for test, denial in judged.verdicts
    )


def _addresses(found: Any, chosen: Chosen, asked: Asked) -> Any:
    if not chosen:
        return found
    addresses = _tree(found, "DestinationIPInput")
    for address, chain in chosen:
        _choose(addresses[address], chain, asked)
    return found.matcher.on_no_match


def _ranges(found: Any, chosen: Chosen, asked: Asked) -> Any:
    """By the smallest subnet that the address is in."""
    if not chosen:
        return found
    ranges: Any = schema.message(_IP_MATCHER)()
    for subnet, chain in chosen:
        address, _, length = subnet.partition("/")
        matcher = ranges.range_matchers.add()
        matcher.ranges.add(address_prefix=address).prefix_len.value = int(length)
        _choose(matcher.on_match, chain, asked)
    tree = found.matcher.matcher_tree
    _input(tree, "DestinationIPInput")
    tree.custom_match.name = "envoy.matching.custom_matchers.ip_range_matcher"
    tree.custom_match.typed_config.type_url = schema.PREFIX + _IP_MATCHER
    tree.custom_match.typed_config.value = ranges.SerializeToString(deterministic=True)
    return found.matcher.on_no_match


def _names(found: Any, chosen: Named, asked: Asked) -> Any:
    """By server name, in the order given. Envoy has put what the client sent into lower case."""
    whole = tuple((name, chain) for name, chain in chosen if not name.startswith("*"))
    if whole:
        names = _tree(found, "ServerNameInput")
        for name, chain in whole:
            _reach(names[name], chain, asked)
        found = found.matcher.on_no_match
    for name, chain in chosen[len(whole) :]:
        matcher = found.matcher.matcher_list.matchers.add()
        _wanted(matcher.predicate.single_predicate, name)
        _reach(matcher.on_match, chain, asked)
    return found.matcher.on_no_match if len(chosen) > len(whole) else found


def _http(found: Any, chain: str, asked: Asked) -> Any:
    """By what is spoken."""
    protocols = _tree(found, "ApplicationProtocolInput")
    for protocol in _HTTP:
        _reach(protocols[protocol], chain, asked)
    return found.matcher.on_no_match


def _choose(found: Any, chosen: Choice, asked: Asked) -> None:
    """The first name that fits; Envoy has put what the client sent into lower case."""
    if isinstance(chosen, ByProtocol):
        found, chosen = _http(found, chosen.http, asked), chosen.otherwise
    if isinstance(chosen, str):
        _reach(found, chosen, asked)
        return
    for name, chain in chosen.names:
        matcher = found.matcher.matcher_list.matchers.add()
        _wanted(matcher.predicate.single_predicate, name)
        _reach(matcher.on_match, chain, asked)
    _reach(found.matcher.on_no_match, chosen.otherwise, asked)


def _wanted(single: Any, name: str) -> None:
    """A TLS client asks for a name; `*`: for any or none, `*.x`: for one below x."""
    if name == "*":
        _input(single, "TransportProtocolInput")
        single.value_match.exact = "tls"
        return
    _input(single, "ServerNameInput")
    setattr(single.value_match, "suffix" if name.startswith("*") else "exact", name.lstrip("*"))


def _fence(found: Any, fenced: Text, fence: str, asked: Asked) -> Any:
    matcher = found.matcher.matcher_list.matchers.add()
    single = matcher.predicate.single_predicate
    _input(single, "DestinationIPInput")
    if fenced.kind == "regex":
        single.value_match.safe_regex.google_re2.SetInParent()
        single.value_match.safe_regex.regex = fenced.value
    else:
        setattr(single.value_match, fenced.kind, fenced.value)
    _reach(matcher.on_match, fence, asked)
    return found.matcher.on_no_match


def _tree(found: Any, input: str) -> Any:
    """The map of a tree over one input: exact value -> what to do."""
    _input(found.matcher.matcher_tree, input)
    return found.matcher.matcher_tree.exact_match_map.map


def _input(tree: Any, input: str) -> None:
    tree.input.name = input
    tree.input.typed_config.type_url = _INPUTS + input


def _act(found: Any, chain: str) -> None:
    found.action.name = "chain"
    found.action.typed_config.type_url = schema.PREFIX + _STRING
    found.action.typed_config.value = schema.message(_STRING)(value=chain).SerializeToString()
