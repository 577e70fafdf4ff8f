"""The time, passed in: wall time for what people and certificates read, monotonic time for leases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """In seconds. `wall` counts since 1970 and may jump; `monotonic` never does, and sleeps with the host."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    async def until(self, moment: float) -> None:
        """Wait for a wall time. It may jump, so this looks every minute rather than sleep long."""
        while (left := moment - self.wall()) > 0:  # noqa: ASYNC110 (nothing tells when a clock was set)
            await asyncio.sleep(min(left, 60.0))
