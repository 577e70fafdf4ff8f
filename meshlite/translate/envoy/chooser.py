"""The matching tree that gives each connection its filter chain, by port, address and detected protocol.

Built of messages instead of dicts: it has an entry for each address of the mesh, and changes most often.
Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_listener
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy import schema
from meshlite.translate.plan.listener import ByName, Chooser, Chosen, Named, PortChoice
from meshlite.translate.plan.route import Text

_MATCHER = "xds.type.matcher.v3.Matcher"
_IP_MATCHER = "xds.type.matcher.v3.IPMatcher"
_ON_MATCH = f"{_MATCHER}.OnMatch"
_STRING = "google.protobuf.StringValue"
_INPUTS = schema.PREFIX + "envoy.extensions.matching.common_inputs.network.v3."
_HTTP = ("'h2c'", "'http/1.0'", "'http/1.1'")


def chooser(chooser: Chooser) -> bytes:
    """The encoded matcher of a listener."""
    found: Any = schema.message(_ON_MATCH)()
    rest = found
    if chooser.ports:
        ports = _tree(found, "DestinationPortInput")
        for port in chooser.ports:
            _port(ports[str(port.port)], port, chooser)
        rest = found.matcher.on_no_match
    _port(rest, PortChoice(0, chooser.otherwise, http=chooser.http), chooser)
    return bytes(found.matcher.SerializeToString(deterministic=True))


def _port(found: Any, port: PortChoice, chooser: Chooser) -> None:
    """The order of questions that PortChoice demands; each level falls through to the next."""
    rest = _addresses(found, port.declared)
    rest = _names(_ranges(rest, port.ranges), port.names)
    if port.http:
        protocols = _tree(rest, "ApplicationProtocolInput")
        for protocol in _HTTP:
            _act(protocols[protocol], port.http)
        rest = rest.matcher.on_no_match
    rest = _addresses(rest, port.detected)
    if chooser.fenced is not None:
        rest = _fence(rest, chooser.fenced, chooser.fence)
    _act(rest, port.otherwise)


def _addresses(found: Any, chosen: Chosen) -> Any:
    if not chosen:
        return found
    addresses = _tree(found, "DestinationIPInput")
    for address, chain in chosen:
        _choose(addresses[address], chain)
    return found.matcher.on_no_match


def _ranges(found: Any, chosen: Chosen) -> Any:
    """By the smallest subnet that the address is in."""
    if not chosen:
        return found
    ranges: Any = schema.message(_IP_MATCHER)()
    for subnet, chain in chosen:
        address, _, length = subnet.partition("/")
        matcher = ranges.range_matchers.add()
        matcher.ranges.add(address_prefix=address).prefix_len.value = int(length)
        _choose(matcher.on_match, chain)
    tree = found.matcher.matcher_tree
    _input(tree, "DestinationIPInput")
    tree.custom_match.name = "envoy.matching.custom_matchers.ip_range_matcher"
    tree.custom_match.typed_config.type_url = schema.PREFIX + _IP_MATCHER
    tree.custom_match.typed_config.value = ranges.SerializeToString(deterministic=True)
    return found.matcher.on_no_match


def _names(found: Any, chosen: Named) -> Any:
    """By server name, in the order given. Envoy has put what the client sent into lower case."""
    whole = tuple((name, chain) for name, chain in chosen if not name.startswith("*"))
    if whole:
        names = _tree(found, "ServerNameInput")
        for name, chain in whole:
            _act(names[name], chain)
        found = found.matcher.on_no_match
    for name, chain in chosen[len(whole) :]:
        matcher = found.matcher.matcher_list.matchers.add()
        _asked(matcher.predicate.single_predicate, name)
        _act(matcher.on_match, chain)
    return found.matcher.on_no_match if len(chosen) > len(whole) else found


def _choose(found: Any, chosen: str | ByName) -> None:
    """The first name that fits; Envoy has put what the client sent into lower case."""
    if isinstance(chosen, str):
        _act(found, chosen)
        return
    for name, chain in chosen.names:
        matcher = found.matcher.matcher_list.matchers.add()
        _asked(matcher.predicate.single_predicate, name)
        _act(matcher.on_match, chain)
    _act(found.matcher.on_no_match, chosen.otherwise)


def _asked(predicate: Any, name: str) -> None:
    """A TLS client asks for a name; `*`: for any or none, `*.x`: for one below x."""
    if name == "*":
        _input(predicate, "TransportProtocolInput")
        predicate.value_match.exact = "tls"
        return
    _input(predicate, "ServerNameInput")
    setattr(predicate.value_match, "suffix" if name.startswith("*") else "exact", name.lstrip("*"))


def _fence(found: Any, fenced: Text, fence: str) -> Any:
    matcher = found.matcher.matcher_list.matchers.add()
    predicate = matcher.predicate.single_predicate
    _input(predicate, "DestinationIPInput")
    if fenced.kind == "regex":
        predicate.value_match.safe_regex.google_re2.SetInParent()
        predicate.value_match.safe_regex.regex = fenced.value
    else:
        setattr(predicate.value_match, fenced.kind, fenced.value)
    _act(matcher.on_match, fence)
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
