"""Questions about a connection, asked while its chain is chosen: before any byte goes either way.

Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_listener
"""

from __future__ import annotations

from typing import Any

from meshlite.translate.envoy.rbac import PRINCIPAL, SOURCE_TEXT, cidr, text_match
from meshlite.translate.envoy.schema import typed
from meshlite.translate.plan import condition
from meshlite.translate.plan.condition import (
    DestinationPort,
    Principal,
    RemoteAddress,
    ServerName,
    SourceAddress,
    Test,
)
from meshlite.translate.plan.route import Text

_INPUTS = "envoy.extensions.matching.common_inputs.network.v3"
_IP = "envoy.extensions.matching.input_matchers.ip.v3.Ip"


def predicate(test: Test) -> dict[str, Any]:
    """Of a test that holds for connections and is neither always nor never true."""
    match test:
        case condition.All(parts):
            return {"and_matcher": {"predicate": [predicate(part) for part in parts]}}
        case condition.Any(parts):
            return {"or_matcher": {"predicate": [predicate(part) for part in parts]}}
        case condition.Not(part):
            return {"not_matcher": predicate(part)}
        case Principal(text):
            return _asked(_filter_state(PRINCIPAL), value_match=_text(text))
        case SourceAddress(block) | RemoteAddress(block):
            ip = typed(_IP, {"cidr_ranges": [cidr(block)], "stat_prefix": "meshlite"})
            within = {"name": "ip", "typed_config": ip}
            return _asked(_filter_state(SOURCE_TEXT), custom_match=within)
        case ServerName(text):
            return _asked(_input("ServerNameInput"), value_match=_text(text))
        case DestinationPort(number):
            return _asked(_input("DestinationPortInput"), value_match={"exact": str(number)})
    raise AssertionError(test)


def _asked(source: dict[str, Any], **how: Any) -> dict[str, Any]:
    return {"single_predicate": {"input": source, **how}}


def _input(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": typed(f"{_INPUTS}.{name}", fields)}


def _filter_state(key: str) -> dict[str, Any]:
    return _input("FilterStateInput", key=key)


def _text(text: Text) -> dict[str, Any]:
    """The matching API has a string matcher of its own, whose regular expressions name their engine."""
    match = text_match(text)
    if "safe_regex" in match:
        return {"safe_regex": {"google_re2": {}, **match["safe_regex"]}}
    return match
