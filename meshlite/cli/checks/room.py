"""Checks of what must be free and in order: ports, disk, clock, and nothing left of an earlier crash."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import meshlite
from meshlite.cli.checks.finding import Finding, fail, ok, run, warn
from meshlite.cli.failure import Failure
from meshlite.cli.processes import recorded
from meshlite.cli.settings import agent_of
from meshlite.config import Settings

MEBIBYTE = 1024 * 1024
SCARCE, TOO_LITTLE = 1024 * MEBIBYTE, 100 * MEBIBYTE


def ports(settings: Settings) -> Finding:
    ours = {
        "server": recorded(settings.paths.run / "server.pid"),
        "agent": recorded(settings.paths.run / "agent.pid"),
    }
    wanted = {
        "server": (settings.server_address, settings.ports.server),
        "agent": ("127.0.0.1", settings.ports.agent),
    }
    taken = [
        f"{port} ({name})" for name, (host, port) in wanted.items() if not ours[name] and not free(host, port)
    ]
    if taken:
        advice = "find by whom: ss -ltnp; or set other ports in meshlite.yaml"
        return fail(f"used by somebody else: {', '.join(taken)}", advice)
    used = [name for name in wanted if ours[name]]
    return ok("free" if not used else f"used by meshlite's own {' and '.join(used)}")


def free(host: str, port: int) -> bool:
    """Whether a listener could be opened there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def disk(settings: Settings) -> Finding:
    place = next(path for path in (settings.paths.state, *settings.paths.state.parents) if path.exists())
    left = shutil.disk_usage(place).free
    text = f"{left // MEBIBYTE} MiB free for {settings.paths.state}"
    if left < TOO_LITTLE:
        return fail(text, "make room: the server refuses changes it cannot store")
    return warn(text, "make room soon") if left < SCARCE else ok(text)


SKEW_SECONDS = 30.0
"""From here on a clock that differs from the server's is told of."""


def clock(settings: Settings) -> Finding:
    """Certificates are dated: a clock before this program's own time, or hosts out of step, breaks them."""
    built = Path(meshlite.__file__).stat().st_mtime
    if time.time() < built - 86400:
        return fail(
            f"the clock says {time.strftime('%F')}, before this program was installed", "set the clock"
        )
    if Path("/run/systemd/system").is_dir():
        done = run(["timedatectl", "show", "--property", "NTPSynchronized", "--value"])
        if done.text == "no":
            return warn("not synchronised", "needed once there are several hosts: timedatectl set-ntp true")
    if (skew := _skew(settings)) is not None and abs(skew) >= SKEW_SECONDS:
        where = "ahead of" if skew > 0 else "behind"
        advice = "certificates are dated, and from 300 s on they are refused: timedatectl set-ntp true"
        return warn(f"{abs(skew):.0f} s {where} the server's", advice)
    return ok(time.strftime("%F %T %Z"))


def _skew(settings: Settings) -> float | None:
    """Seconds by which the agent, where one runs, finds this clock ahead of the server's."""
    try:
        found = agent_of(settings).get("/v1/status", timeout=5.0).get("clock", {}).get("skew_seconds")
    except Failure:
        return None
    return float(found) if found is not None else None


def leftovers(settings: Settings) -> Finding:
    if recorded(settings.paths.run / "agent.pid"):
        return ok("the agent is running and minds what it made")
    if os.geteuid() != 0:
        return warn("only root can look for them", "sudo meshlite doctor")
    from meshlite.agent.sweep import leftovers as look

    found = list(look(settings))
    if not found:
        return ok("none")
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return warn(f"of an earlier run: {shown}", "meshlite down removes them; meshlite up takes them over")
