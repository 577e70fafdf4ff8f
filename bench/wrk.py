"""wrk, the HTTP load generator, with one thread: its command and its answer (https://github.com/wg/wrk)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_BYTES = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


@dataclass(frozen=True)
class Measured:
    """What one run says. `p50` in microseconds, `bytes_per_second` with headers, `failed` in wrk's words."""

    requests: int
    requests_per_second: float
    p50: float
    bytes_per_second: float
    failed: str = ""


def command(url: str, host: str, connections: int, seconds: float) -> list[str]:
    """wrk takes whole seconds only."""
    load = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    return ["wrk", *load, "-H", f"Host: {host}", url]


def parse(text: str) -> Measured:
    """wrk's answer. ValueError with its text where it is not one, for instance because nothing answered."""
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s|m|h)\b", text)
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)([KMGT]?)B", text)
    if not (requests and rate and half and transfer):
        raise ValueError(f"wrk says nothing that can be read: {text.strip() or 'not a word'}")
    failed = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text)
    return Measured(
        int(requests[1]),
        float(rate[1]),
        float(half[1]) * _MICROSECONDS[half[2]],
        float(transfer[1]) * _BYTES[transfer[2]],
        failed[0] if failed else "",
    )
