"""A WebAssembly module by hand: it says which interface it speaks, and does nothing.

Source: https://webassembly.github.io/spec/core/binary/modules.html and https://github.com/proxy-wasm/spec
"""

from __future__ import annotations


def _section(number: int, *items: bytes) -> bytes:
    body = bytes([len(items)]) + b"".join(items)
    return bytes([number, len(body)]) + body


def _export(name: str, kind: int, index: int) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind, index])


NOTHING, ALLOCATE = b"\x60\x00\x00", b"\x60\x01\x7f\x01\x7f"
MODULE = (
    b"\0asm\x01\0\0\0"
    + _section(1, NOTHING, ALLOCATE)
    + _section(3, b"\x00", b"\x01")
    + _section(5, b"\x00\x01")
    + _section(
        7,
        _export("memory", 2, 0),
        _export("proxy_abi_version_0_2_1", 0, 0),
        _export("proxy_on_memory_allocate", 0, 1),
    )
    + _section(10, b"\x02\x00\x0b", b"\x04\x00\x41\x00\x0b")
)
