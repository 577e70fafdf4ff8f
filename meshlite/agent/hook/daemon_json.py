"""What to write into the engine's daemon.json to enter and to leave it. Pure: bytes in, bytes out.

Source: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
"""

from __future__ import annotations

import json
from typing import Any

RUNTIME = "meshlite.runc.v2"
"""A container records the name of its runtime for ever. containerd takes the last two parts of a dotted name
that it does not know for the name of a shim (containerd-shim-runc-v2), so such a container still starts when
meshlite has long left the engine."""

DEFAULT = "default-runtime"
RUNTIMES = "runtimes"


def entered(original: bytes | None, wrapper: str) -> bytes:
    """The file with our runtime in it and as the default. Raises ValueError where it cannot be understood."""
    config = parse(original)
    config[RUNTIMES] = {**config.get(RUNTIMES, {}), RUNTIME: {"path": wrapper}}
    config[DEFAULT] = RUNTIME
    return _dump(config)


def parting(target: bytes | None, former: str) -> bytes:
    """`target`, the file to be, with what it leaves out said aloud: a reload does not unset absent keys."""
    config = parse(target)
    return _dump({**config, DEFAULT: config.get(DEFAULT, former), RUNTIMES: config.get(RUNTIMES, {})})


def without_ours(current: bytes, original: bytes | None) -> bytes:
    """A file that was edited since we entered it: everything of others stays, ours goes.

    `original` says whether the default runtime was named before us.
    """
    config, before = parse(current), parse(original)
    runtimes = {name: value for name, value in config.get(RUNTIMES, {}).items() if name != RUNTIME}
    config.pop(RUNTIMES, None)
    if runtimes or RUNTIMES in before:
        config[RUNTIMES] = runtimes
    if config.get(DEFAULT) == RUNTIME:
        config.pop(DEFAULT)
        if DEFAULT in before:
            config[DEFAULT] = before[DEFAULT]
    return _dump(config)


def names_us(content: bytes | None) -> bool:
    """Whether our runtime stands in the file."""
    config = parse(content)
    return config.get(DEFAULT) == RUNTIME or RUNTIME in config.get(RUNTIMES, {})


def wrapper(content: bytes | None) -> str:
    """The path of the wrapper that the file names for our runtime; empty where it names none."""
    entry = parse(content).get(RUNTIMES, {}).get(RUNTIME)
    return str(entry.get("path", "")) if isinstance(entry, dict) else ""


def parse(content: bytes | None) -> dict[str, Any]:
    """The configuration; empty where there is no file. Raises ValueError with what is wrong."""
    if content is None or not content.strip():
        return {}
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get(RUNTIMES, {}), dict):
        raise ValueError("it is not a JSON object with an object under 'runtimes'")
    return config


def _dump(config: dict[str, Any]) -> bytes:
    return json.dumps(config, indent=4).encode() + b"\n"
