"""The descriptors of Envoy's messages as files, each read when a message of it is first asked for.

Of some 500 files a node needs a third; those that nobody asks for stay bytes.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


class DescriptorFiles:
    """What `DescriptorPool(descriptor_db=…)` asks. Names of files and of symbols; KeyError: there is none."""

    def __init__(self, files: Mapping[str, bytes], packages: Mapping[str, list[str]]) -> None:
        """`files`: name -> a FileDescriptorProto's bytes; `packages`: package -> names of its files."""
        self._files, self._packages = files, packages

    @classmethod
    def unpacked(cls, packed: bytes) -> DescriptorFiles:
        """From a compressed FileDescriptorSet."""
        files: dict[str, bytes] = {}
        packages: defaultdict[str, list[str]] = defaultdict(list)
        for file in FileDescriptorSet.FromString(zlib.decompress(packed)).file:
            files[file.name] = file.SerializeToString()
            packages[file.package].append(file.name)
        return cls(files, packages)

    def FindFileByName(self, name: str) -> FileDescriptorProto:
        return FileDescriptorProto.FromString(self._files[name])

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:
        package = symbol
        while package:
            package, _, _ = package.rpartition(".")
            first = symbol[len(package) :].lstrip(".").partition(".")[0]
            for name in self._packages.get(package, ()):
                file = self.FindFileByName(name)
                if first in _top(file):
                    return file
        raise KeyError(symbol)


def _top(file: FileDescriptorProto) -> set[str]:
    """Names of what a file itself declares in its package."""
    messages, enums = (one.name for one in file.message_type), (one.name for one in file.enum_type)
    return {*messages, *enums, *(one.name for one in file.service)}
