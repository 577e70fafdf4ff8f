"""Whatever a document says, it is judged and never crashes; and what passes can be parsed."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meshlite.model.documents import read
from meshlite.model.kinds import find
from meshlite.model.located import Located, Malformed, load
from meshlite.model.scalars import read_duration, write_duration
from meshlite.model.validate import parse, validate
from tests.model.resources import document
from tests.model.test_destination_rule import GOOD as RULE
from tests.model.test_virtual_service import GOOD as SERVICE

POLICY = """
selector: {matchLabels: {a: b}}
action: DENY
rules:
- from: [{source: {namespaces: [a, 'b*'], notIpBlocks: [10.0.0.0/8], trustDomains: ['*.x']}}]
  to: [{operation: {paths: ['/{*}/x', '/y*'], ports: ['80'], notMethods: [GET]}}]
  when: [{key: 'request.headers[a]', values: [b]}, {key: source.ip, notValues: [10.0.0.1]}]
"""
TOKENS = """
targetRefs: [{kind: Service, name: a}]
jwtRules:
- {issuer: a, audiences: [b], jwksUri: 'https://a/b', fromHeaders: [{name: x, prefix: y}], timeout: 5s}
- {issuer: b, jwks: '{"keys": []}', outputClaimToHeaders: [{header: a, claim: b}], presence: REQUIRED}
"""
TELEMETRY = """
tracing: [{providers: [{name: a}], randomSamplingPercentage: 5, customTags: {a: {literal: {value: b}}}}]
metrics: [{overrides: [{match: {metric: ALL_METRICS}, tagOverrides: {a: {operation: REMOVE}}}]}]
accessLogging: [{filter: {expression: response.code >= 400}, match: {mode: CLIENT}}]
"""
GOOD = (
    document("VirtualService", SERVICE.replace(", authority: other", "")),
    document("DestinationRule", RULE),
    document("PeerAuthentication", "selector: {matchLabels: {a: b}}\nportLevelMtls: {80: {mode: STRICT}}"),
    document("AuthorizationPolicy", POLICY),
    document("RequestAuthentication", TOKENS),
    document("Telemetry", TELEMETRY),
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)


def nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)


values = st.recursive(scalars, nested)
json_values = st.recursive(
    finite | st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(), nested
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(value)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    if place:
        holder[place[-1]] = new
    return changed


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_mutated_resource_is_judged(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(GOOD))
    spec: Any = good.resource.spec
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(spec)[1:]))
        other = data.draw(st.sampled_from(places(spec)))
        piece = spec
        for key in other:
            piece = piece[key]
        spec = put(spec, place, data.draw(values | st.just(piece)))
    changed = good.model_copy(update={"resource": good.resource.model_copy(update={"spec": spec})})
    verdict = validate(changed)
    kind = find(good.resource.kind)
    assert kind is not None
    assert kind.spec is not None
    if not verdict.rejections:
        parsed = parse(changed.resource, kind.spec)
        assert (
            kind.spec.model_validate_json(parsed.model_dump_json(by_alias=True, exclude_unset=True)) == parsed
        )
    for found in verdict.rejections:
        assert found.field
        assert found.reason
        assert found.where.startswith("it.yaml:")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:- \n\t[]{}&*!|>'\"#,%?@`~<=\\0\ud800é\x00"), max_size=60))
def test_any_text_is_read(text: str) -> None:
    for item in load(text):
        assert isinstance(item, Located | Malformed)
    read(text, "x.yaml")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_yaml_is_read(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([SERVICE, RULE]))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    read(text[:start] + data.draw(st.text(max_size=4)) + text[end:], "x.yaml")


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_json_means_itself(value: object) -> None:
    [found] = load(json.dumps({"a": value}, indent="\t"))
    assert isinstance(found, Located)
    assert found.value == {"a": value}


@given(st.integers(0, 10**12))
def test_durations_are_read_as_written(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert read_duration(write_duration(duration)) == duration
