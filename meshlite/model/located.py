"""YAML and JSON text -> plain values that know their lines.

Scalars are what Go's YAML makes of them for Kubernetes and Istio: YAML 1.1, so that y, yes, on, n, no, off
are booleans and 010 is 8, except that timestamps, `=` and 1:30 stay strings.
Source: https://pkg.go.dev/sigs.k8s.io/yaml#YAMLToJSON
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from yaml.composer import Composer
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner
from yaml.tokens import ScalarToken

MAX_CHARACTERS = 4 * 2**20
MAX_NODES = 200_000
"""Per document, aliases counted as often as they are used: an alias bomb ends here."""
MAX_DEPTH = 100

Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_NAMED: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"\.(?:nan|NaN|NAN)|[-+]?\.(?:inf|Inf|INF)")
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")


class Malformed(ValueError):
    """Text that is no YAML, or no YAML that we take; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


@dataclass(frozen=True)
class Located:
    """One document: JSON-like data, the line it starts on, and the line of everything in it by path."""

    value: object
    line: int
    lines: dict[Path, int] = field(default_factory=dict)


def load(text: str) -> Iterator[Located | Malformed]:
    """Each document that is not empty; a malformed one hides no other that is set off by `---`."""
    if len(text) > MAX_CHARACTERS:
        yield Malformed(1, 1, f"longer than {MAX_CHARACTERS // 2**20} Mi characters; split the file")
        return
    starts = [0, *(found.start() for found in _SEPARATOR.finditer(text)), len(text)]
    line = 1
    for start, end in pairwise(starts):
        part = text[start:end]
        if start or not _is_preamble(part):
            yield from _load_part(_spaced(part), line)
        line += len(_BREAK.findall(part))


def _is_preamble(part: str) -> bool:
    return all(not line.strip() or line.lstrip()[0] in "#%" for line in part.splitlines())


def _spaced(part: str) -> str:
    """JSON may be indented with tabs, YAML may not; valid JSON has no tab inside its strings."""
    if "\t" in part and part.lstrip()[:1] in ("{", "["):
        try:
            json.loads(part)
        except (ValueError, RecursionError):
            return part
        return part.replace("\t", " ")
    return part


def _load_part(part: str, first_line: int) -> Iterator[Located | Malformed]:
    loader: _Loader | None = None
    try:
        loader = _Loader(part, first_line)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                builder = _Builder(first_line)
                value = builder.build(node, (), 0)
                yield Located(value, builder.line(node), builder.lines)
    except Malformed as malformed:
        yield malformed
    except ReaderError as error:
        before = _BREAK.split(part[: error.position])
        yield Malformed(
            first_line + len(before) - 1, len(before[-1]) + 1, "this character is not allowed in YAML"
        )
    except MarkedYAMLError as error:
        yield _malformed(error, first_line)
    except (YAMLError, ValueError, OverflowError):
        line, column = (loader.line, loader.column) if loader else (0, 0)
        yield Malformed(first_line + line, column + 1, "cannot be read: no such character, tag or directive")


def _malformed(error: MarkedYAMLError, first_line: int) -> Malformed:
    mark: Mark | None = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    reason = ", ".join(text for text in (error.problem, error.context) if text) or "cannot be read"
    if error.context and error.context_mark and error.context_mark.line != line:
        reason += f" that begins in line {first_line + error.context_mark.line}"
    if "'\\t'" in reason:
        reason = "a tab where YAML wants spaces"
    return Malformed(first_line + line, column + 1, reason)


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML up to nodes, with Go's rules for what a plain scalar is."""

    def __init__(self, text: str, first_line: int) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.first_line = first_line
        self.depth = 0

    def compose_node(self, parent: Node | None, index: object) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            line, column = self.first_line + mark.line, mark.column + 1
            raise Malformed(line, column, f"nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)  # type: ignore[arg-type]
        self.depth -= 1
        return node

    def scan_plain(self) -> ScalarToken:
        """In `[001:db8::]` the last colon is part of the scalar, since no blank follows it."""
        token: ScalarToken = super().scan_plain()
        if (
            self.flow_level
            and token.end_mark.index == self.index
            and self.peek() == ":"
            and self.peek(1) in ",]}"
        ):
            self.forward()
            token.value += ":"
            token.end_mark = self.get_mark()
        return token

    def resolve(self, kind: type[Node], value: str | None, implicit: object) -> str:
        if kind is not ScalarNode or not isinstance(implicit, tuple) or not implicit[0]:
            return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        return _TAG + _plain_tag(value or "")


def _plain_tag(text: str) -> str:
    if text in _NAMED:
        return "null" if _NAMED[text] is None else "bool"
    if text == "<<":
        return "merge"
    plain = text.replace("_", "") if text[0] in "+-0123456789" else text
    if _INTEGER.fullmatch(plain) and len(plain) <= 100:
        return "int"
    return "float" if _FLOAT.fullmatch(plain) or _INFINITE.fullmatch(text) else "str"


class _Builder:
    """Nodes -> values, noting lines on the way."""

    def __init__(self, first_line: int) -> None:
        self.first_line = first_line
        self.lines: dict[Path, int] = {}
        self.open: set[int] = set()
        self.nodes = 0

    def line(self, node: Node) -> int:
        return self.first_line + node.start_mark.line

    def refuse(self, node: Node, reason: str) -> Malformed:
        return Malformed(self.line(node), node.start_mark.column + 1, reason)

    def count(self, node: Node, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self.refuse(node, "too large once its aliases are written out")

    def build(self, node: Node, path: Path, depth: int) -> object:
        self.count(node, depth)
        if id(node) in self.open:
            raise self.refuse(node, "an anchor that contains itself")
        self.lines.setdefault(path, self.line(node))
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        self.open.add(id(node))
        value: object
        if isinstance(node, SequenceNode):
            value = [self.build(item, (*path, place), depth + 1) for place, item in enumerate(node.value)]
        else:
            value = self.mapping(node, path, depth)
        self.open.discard(id(node))
        return value

    def mapping(self, node: Node, path: Path, depth: int) -> dict[str, object]:
        own: dict[str, tuple[Node, Node]] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged.append(value_node)
                continue
            key = self.key(key_node)
            if key in own:
                raise self.refuse(key_node, f"{key} is given twice; first in line {self.line(own[key][0])}")
            own[key] = (key_node, value_node)
        values: dict[str, object] = {}
        for key, (key_node, value_node) in own.items():
            self.lines[(*path, key)] = self.line(key_node)
            values[key] = self.build(value_node, (*path, key), depth + 1)
        for source in merged:
            self.merge(source, values, path, depth)
        return values

    def merge(self, source: Node, values: dict[str, object], path: Path, depth: int) -> None:
        """`<<`: what the mapping does not say itself, it takes from another, or the first of several."""
        sources = source.value if isinstance(source, SequenceNode) else [source]
        for other in sources:
            if not isinstance(other, MappingNode):
                raise self.refuse(source, "<< must name a mapping, or a list of mappings")
            if id(other) in self.open:
                raise self.refuse(source, "an anchor that contains itself")
            self.open.add(id(other))
            said = set(values)
            for key_node, value_node in other.value:
                self.count(key_node, depth)
                if key_node.tag == _TAG + "merge":
                    self.merge(value_node, values, path, depth + 1)
                elif (key := self.key(key_node)) not in said:
                    self.lines[(*path, key)] = self.line(key_node)
                    values[key] = self.build(value_node, (*path, key), depth + 1)
            self.open.discard(id(other))

    def key(self, node: Node) -> str:
        value = self.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, bool):
            raise self.refuse(node, f"YAML reads the key {node.value} as a boolean: put it in quotes")
        if value is None:
            raise self.refuse(node, "a key must be a string")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value)

    def scalar(self, node: ScalarNode) -> object:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "binary":
            raise self.refuse(node, "!!binary is not supported: write base64 text without the tag")
        plain = tag if tag == _plain_tag(text) else ""
        if tag == "float" and _plain_tag(text) == "int":
            return float(_integer(text))
        match tag:
            case "int" if plain:
                return _integer(text)
            case "float" if plain:
                number = float(text.replace("_", "")) if not _INFINITE.fullmatch(text) else math.inf
                if math.isinf(number):
                    raise self.refuse(node, f"{text} is not a number that JSON knows")
                return number
            case "bool" | "null" if plain:
                return _NAMED[text]
            case "int" | "float" | "bool" | "null":
                raise self.refuse(node, f"{text} is not a {tag}")
            case _:
                return _whole(text)


def _integer(text: str) -> int:
    plain = text.replace("_", "").lower()
    digits = plain.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    number = int(digits, 8) if octal else int(digits, 0)
    return -number if plain.startswith("-") else number


def _whole(text: str) -> str:
    """JSON writes characters beyond 16 bits as two halves; a half on its own becomes U+FFFD."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
