"""Keeps a small long-lived process small: one malloc arena, and what the start left over given back."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

SETTLED_SECONDS = 10.0
_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8
_TRIM_BYTES = 128 * 1024


def be_frugal() -> None:
    """To be called before threads are started: glibc would give each an arena that never shrinks.

    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """While much is made that stays: the collector would look at all of it again and again in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def give_back_after_start() -> None:
    """What was loaded at the start lives as long as the process: the collector need not look at it again."""
    await asyncio.sleep(SETTLED_SECONDS)
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
