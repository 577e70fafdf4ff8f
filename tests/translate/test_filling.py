"""Messages are filled as protobuf's own reader fills them, and refused as it refuses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from meshlite.translate.envoy import schema
from meshlite.translate.translate import translate
from tests.translate import cases

CASES = sorted((Path(__file__).parent / "testdata").glob("*.in.yaml"))
_ROUTE = "envoy.config.route.v3.Route"


def read(name: str, fields: dict[str, Any]) -> Any:
    return json_format.ParseDict(fields, schema.message(name)(), descriptor_pool=schema.pool())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.partition(".")[0])
def test_everything_that_is_emitted(path: Path) -> None:
    for type_url, named in translate(*cases.mesh(cases.load(path))).resources.items():
        for encoded in named.values():
            fields = schema.decode(type_url, encoded.body)
            # Packed messages are compared as messages: an Any's bytes may have their fields in another order.
            ours, theirs = schema.parse(type_url, fields), read(type_url, fields)
            assert json_format.MessageToDict(ours, descriptor_pool=schema.pool()) == (
                json_format.MessageToDict(theirs, descriptor_pool=schema.pool())
            )


@pytest.mark.parametrize(
    "fields",
    [
        {"directResponse": {"status": "200", "body": {"inlineBytes": "aGk="}}},
        {"metadata": {"filter_metadata": {"a": {"n": None, "l": [1, True, "x", {}, []], "d": {"e": 1.5}}}}},
        {"route": {"cluster": "a", "timeout": "1.5s", "priority": 1, "retry_policy": {"num_retries": 2}}},
        {"route": {"cluster": "a", "max_grpc_timeout": None}, "request_headers_to_remove": ["a", "b"]},
        {"match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 1}}}},
        {
            "typed_per_filter_config": {
                "a": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}
            }
        },
    ],
    ids=["bytes", "struct", "enum by number", "null", "empty names", "known type in Any"],
)
def test_unusual_forms(fields: dict[str, Any]) -> None:
    assert schema.parse(_ROUTE, fields) == read(_ROUTE, fields)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"route": {"clutser": "a"}}, "clutser"),
        ({"route": {"cluster": 1}}, "cluster"),
        ({"route": {"cluster": "a", "cluster_header": "b"}}, "cluster_specifier"),
        ({"route": {"retry_policy": {"num_retries": True}}}, "numRetries|num_retries"),
        ({"route": {"retry_policy": {"num_retries": -1}}}, "numRetries|num_retries"),
        ({"route": {"timeout": "soon"}}, "timeout"),
        ({"request_headers_to_remove": "a"}, "request_headers_to_remove"),
    ],
    ids=["unknown", "not text", "one of two", "no number", "out of range", "no duration", "no list"],
)
def test_mistakes_are_refused_with_their_place(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(json_format.ParseError, match=word):
        schema.parse(_ROUTE, fields)
