"""What a host looks like before `up` and after `down`, as facts that can be compared byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

DAEMON_JSON = Path("/etc/docker/daemon.json")
PARTS = ("meshlite", "envoy")


def facts() -> dict[str, object]:
    """Rules, links, mounts, hosts files, processes, sockets, daemon.json: all without volatile counters."""
    return {
        # Sorted: the engine itself puts its rules in another order when it reloads or restarts.
        "nft ruleset": sorted(output("nft", "--stateless", "list", "ruleset").splitlines()),
        "rules in namespaces": {name: rules(pid) for name, pid in running().items()},
        "interfaces in namespaces": {name: interfaces(pid) for name, pid in running().items()},
        "our links": [line for line in output("ip", "-o", "link").splitlines() if ": ml-" in line],
        "our mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "meshlite" in line],
        "hosts files": {start: file.read_bytes() for start, file in hosts_files().items()},
        "processes": sorted(processes()),
        "our sockets": sorted(s for s in Path("/proc/net/unix").read_text().split() if "meshlite" in s),
        "listening ports": sorted(listening()),
        "daemon.json": DAEMON_JSON.read_bytes() if DAEMON_JSON.exists() else None,
        "default runtime": output("docker", "info", "-f", "{{.DefaultRuntime}}"),
        "run folder": Path("/run/meshlite").exists(),
    }


def running() -> dict[str, int]:
    """Process id of every running container, by name."""
    ids = output("docker", "ps", "-q").split()
    found = json.loads(output("docker", "inspect", *ids)) if ids else []
    return {container["Name"]: container["State"]["Pid"] for container in found}


def hosts_files() -> dict[str, Path]:
    """By container and start: at each start the engine writes the file anew, maybe with another address."""
    ids = output("docker", "ps", "-q").split()
    found = json.loads(output("docker", "inspect", *ids)) if ids else []
    return {
        f"{container['Name']} {container['State']['StartedAt']}": Path(container["HostsPath"])
        for container in found
        if container["HostsPath"]
    }


def rules(pid: int) -> str:
    return inside(pid, "nft", "--stateless", "list", "ruleset")


def interfaces(pid: int) -> list[str]:
    return sorted(line.split(":")[1] for line in inside(pid, "ip", "-o", "link").splitlines())


def inside(pid: int, *command: str) -> str:
    return output("nsenter", f"--net=/proc/{pid}/ns/net", *command)


def processes() -> list[str]:
    """Command lines of this checkout's long-running processes, but for other tests'."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        text = b" ".join(words).decode(errors="replace").strip()
        if "/pytest-of-" in text or sys.prefix not in text:
            continue
        if "-m meshlite" in text or Path(words[0].decode(errors="replace")).name == "envoy":
            found.append(text)
    return found


def listening() -> list[str]:
    lines = output("ss", "-Hltn").splitlines()
    return [line.split()[3] for line in lines if line.split()[3].endswith((":7443", ":15020", ":15008"))]


def output(*command: str) -> str:
    """What the command printed; AssertionError with its words if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
