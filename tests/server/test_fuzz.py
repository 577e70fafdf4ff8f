"""What the OpenAPI file allows, and what it does not: whatever is sent, the server answers and stays whole.

Requests are made from the served file. Nothing may be answered 5xx, or leave a traceback.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from meshlite.config import Settings
from tests.server.conftest import settings_in
from tests.server.test_process import START, LocalConnection

CALLS = 8
"""For each operation."""
SECONDS = 10.0
"""What is not tried by then is not tried: a slow machine tries less."""
Schema = dict[str, Any]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(
    [
        "",
        "web-1",
        "shop",
        "VirtualService",
        "DestinationRule",
        "reviews",
        "a" * 300,
        "..",
        "%2e",
        "é",
        "*",
        "\x00",
    ]
)
NEVER_ENDS = {"/v1/snapshots"}
"""Its own test reads it."""


def like(schema: Schema, known: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit the schema, mostly."""
    if "$ref" in schema:
        return like(known[schema["$ref"].rsplit("/", 1)[1]], known, depth)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return st.one_of([like(one, known, depth) for one in schema[choice]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "string":
            return WORDS | st.text(max_size=30)
        case "integer":
            return st.integers(-1, 70_000) | st.integers()
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            if depth > 4:
                return st.just([])
            return st.lists(like(schema.get("items", {}), known, depth + 1), max_size=2)
        case "object" if "properties" in schema:
            return _object(schema, known, depth)
        case "object":
            return st.dictionaries(WORDS, JUNK, max_size=3)
    return JUNK


def _object(schema: Schema, known: Schema, depth: int) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", ()))
    fields = {
        name: like(one, known, depth + 1)
        for name, one in schema["properties"].items()
        if depth < 5 or name in required
    }
    must = {name: field for name, field in fields.items() if name in required}
    may = {name: field for name, field in fields.items() if name not in required}
    return st.fixed_dictionaries(must, optional=may)


def request(path: str, method: str, operation: Schema, known: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Method, URL, headers and body of a call that the file describes."""
    names = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    places = {
        kind: [one["name"] for one in operation["parameters"] if one["in"] == kind]
        for kind in ("query", "header")
    }
    body: st.SearchStrategy[Any] = st.none()
    if content := operation.get("requestBody"):
        fitting = like(content["content"]["application/json"]["schema"], known)
        body = st.one_of(fitting, fitting, fitting, JUNK).map(lambda value: json.dumps(value).encode())
        body |= st.binary(max_size=40)
    plain = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=10)
    return st.fixed_dictionaries(
        {
            "method": st.just(method.upper()),
            "path": st.just(path),
            "names": st.fixed_dictionaries({name: WORDS | st.text(max_size=8) for name in names}),
            "query": st.dictionaries(
                st.sampled_from([*places["query"], "unknown"]), WORDS | st.text(max_size=6)
            ),
            "headers": st.dictionaries(st.sampled_from([*places["header"], "Accept"]), plain),
            "body": body,
        }
    )


class Fuzzed:
    """A server as a process, and what its file describes."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._socket = settings.paths.admin_socket
        self.log = log
        self.known: Schema = {}
        self.operations: list[tuple[str, str, Schema]] = []
        described = json.loads(self.send("GET", "/v1/openapi.json", {}, None)[1])
        self.known = described["components"]["schemas"]
        for path, methods in described["paths"].items():
            self.operations += [
                (path, method, one) for method, one in methods.items() if path not in NEVER_ENDS
            ]

    def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        connection = LocalConnection(self._socket)
        try:
            connection.request(method, url, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzz")
    made, log = settings_in(folder), folder / "log"
    with log.open("wb") as errors:
        server = subprocess.Popen([sys.executable, "-c", START, made.model_dump_json()], stderr=errors)
    try:
        deadline = time.monotonic() + 60
        while "meshlite server ready" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Fuzzed(made, log)
    finally:
        server.kill()
        server.wait()


def test_whatever_is_sent_is_answered_and_never_with_a_fault_of_ours(fuzzed: Fuzzed) -> None:
    end, statuses = time.monotonic() + SECONDS, Counter[int]()
    for operation in random.sample(fuzzed.operations, len(fuzzed.operations)):
        if time.monotonic() < end:
            statuses += tried(fuzzed, operation)
    assert statuses, "not one call"
    assert "Traceback" not in fuzzed.log.read_text()
    assert fuzzed.send("GET", "/v1/health", {}, None)[0] == 200


def tried(fuzzed: Fuzzed, operation: tuple[str, str, Schema]) -> Counter[int]:
    """How often which status was answered."""
    statuses = Counter[int]()

    @settings(
        max_examples=CALLS,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(request(*operation, fuzzed.known))
    def ask(wanted: dict[str, Any]) -> None:
        path = wanted["path"].format(**{k: quote(v, safe="") for k, v in wanted["names"].items()})
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in wanted["query"].items())
        url = f"{path}?{query}" if query else path
        status, body = fuzzed.send(wanted["method"], url, wanted["headers"], wanted["body"])
        statuses[status] += 1
        assert status < 500, (wanted, body)
        if status >= 400 and status != 422:
            assert json.loads(body)["error"]

    ask()
    return statuses
