"""What the agent holds of each captured namespace, and the file that lets a restarted agent go on with it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from meshlite.config import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attached:
    """One captured namespace.

    `key` is the owner's workload id; `namespace` the inode as text; `path` our mount of it; `link` its
    address on the private link, `interface` the host's end; `linked`: the link is made, so the address can be
    dialled; `rules` a digest of what nftables holds there, empty before any were loaded.
    """

    key: str
    namespace: str
    pid: int
    path: str
    link: str
    interface: str
    hosts_file: str = ""
    ipv6: bool = False
    rules: str = ""
    linked: bool = True


def file_of(settings: Settings) -> Path:
    """Where it is kept: beside the mounts, since both end with the machine's run."""
    return settings.paths.run / "capture.json"


def read(file: Path) -> tuple[Attached, ...]:
    """What a former agent held; nothing where the file is absent or of another make."""
    try:
        return tuple(Attached(**item) for item in json.loads(file.read_text()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        log.warning("what was captured before is not known: %s: %s", file, error)
        return ()


def write(file: Path, held: Iterable[Attached]) -> None:
    """Replace the file as a whole; a crash leaves the old one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as opened:
        opened.write(json.dumps([asdict(item) for item in held]))
    os.replace(fresh, file)
