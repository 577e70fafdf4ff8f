"""Text is read as Kubernetes and Istio read it, and everything in it knows its line."""

from __future__ import annotations

import json

import pytest

from meshlite.model.located import MAX_NODES, Located, Malformed, load


def value(text: str) -> object:
    [document] = load(text)
    assert isinstance(document, Located), document
    return document.value


def malformed(text: str) -> Malformed:
    [problem] = [item for item in load(text) if isinstance(item, Malformed)]
    return problem


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", True),
        ("On", True),
        ("y", True),
        ("off", False),
        ("N", False),
        ("'yes'", "yes"),
        ("yesterday", "yesterday"),
        ("010", 8),
        ("0o17", 15),
        ("08", 8.0),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("+5", 5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.10", 1.1),
        ("v1.0", "v1.0"),
        ("1.2.3.4", "1.2.3.4"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("=", "="),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
        ("!custom text", "text"),
        ("12345678901234567890123", 12345678901234567890123),
        ("[1.2.3.4, 001:db8::]", ["1.2.3.4", "001:db8::"]),
        ("[db8::, x]", ["db8::", "x"]),
        ("{a: 1, b: [x:y]}", {"a": 1, "b": ["x:y"]}),
        (r'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (r'"\ud83d"', "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_scalars_mean_what_go_makes_of_them(written: str, meant: object) -> None:
    assert value(f"key: {written}\n") == {"key": meant}


def test_keys_are_strings() -> None:
    assert value("80: a\n1.0: b\n2.5: c\n'on': d\n") == {"80": "a", "1": "b", "2.5": "c", "on": "d"}


def test_every_value_knows_its_line() -> None:
    [document] = load(
        "# comment\n---\nspec:\n  hosts:\n  - a\n  - b\n  http: [{name: x,\n    timeout: 1s}]\n"
    )
    assert isinstance(document, Located)
    assert document.line == 3
    assert document.lines["spec", "hosts", 1] == 6
    assert document.lines["spec", "http", 0, "name"] == 7
    assert document.lines["spec", "http", 0, "timeout"] == 8


def test_anchors_and_merges() -> None:
    text = "base: &base {mode: STRICT, port: 1}\none: {<<: *base, port: 2}\ntwo: *base\n"
    assert value(text) == {
        "base": {"mode": "STRICT", "port": 1},
        "one": {"mode": "STRICT", "port": 2},
        "two": {"mode": "STRICT", "port": 1},
    }
    assert value("{<<: [{a: 1}, {a: 2, b: 2}], c: 3}") == {"a": 1, "b": 2, "c": 3}
    assert value('{"<<": 1}') == {"<<": 1}


def test_json_with_tabs() -> None:
    data = {"a": [1, 2.5, True, None, "x:\ty"], "b": {"c": "\N{GRINNING FACE}", "d": ""}}
    assert value(json.dumps(data, indent="\t")) == data


def test_empty_documents_and_end_marks() -> None:
    documents = list(load("# nothing\n---\na: 1\n...\n---\n---\n# still nothing\n---\nb: 2\n"))
    assert [item.value for item in documents if isinstance(item, Located) and item.value is not None] == [
        {"a": 1},
        {"b": 2},
    ]


def test_one_malformed_document_hides_no_other() -> None:
    first, broken, last = load("a: 1\n---\nb: [1\n---\nc: 3\n")
    assert isinstance(first, Located)
    assert isinstance(broken, Malformed)
    assert isinstance(last, Located)
    assert (last.value, last.line) == ({"c": 3}, 5)


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, 3, "c is given twice; first in line 3"),
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a: 1\n b: 2\n", 2, 3, "mapping values"),
        ("a: 'open\n", 2, 1, "end of stream"),
        ("a: *missing\n", 1, 4, "undefined alias"),
        ("on: 1\n", 1, 1, "boolean"),
        ("? [a]\n: 1\n", 1, 3, "key"),
        ("a: .inf\n", 1, 4, "JSON"),
        ("a: !!int x\n", 1, 4, "not a int"),
        ("a: !!binary aGk=\n", 1, 4, "base64"),
        ("a: 1\nb: \x01\n", 2, 4, "not allowed"),
        ('a: "\\U99999999"\n', 1, 7, "no such character"),
        ("a: &a [*a]\n", 1, 7, "itself"),
        ("a: &a\n  <<: *a\n", 1, 4, "itself"),
        ("x: 1\n---\n" + "[" * 300, 3, 101, "nested deeper"),
    ],
)
def test_what_is_malformed_is_said_with_its_place(text: str, line: int, column: int, word: str) -> None:
    problem = malformed(text)
    assert word in problem.reason
    assert problem.line == line
    assert abs(problem.column - column) <= 3


@pytest.mark.parametrize("shape", ["[%s]", "{<<: [%s]}"])
def test_an_alias_bomb_is_refused(shape: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{level}: &a{level} " + shape % ",".join([f"*a{level - 1}"] * 10) for level in range(1, 12)]
    assert "aliases" in malformed("\n".join(lines)).reason


def test_a_huge_text_is_refused_unread() -> None:
    assert "split" in malformed("a: " + "x" * (5 * 2**20)).reason
    assert MAX_NODES < 10**6
