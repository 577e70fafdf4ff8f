"""How the person runs this program, so that commands shown to be typed next work as printed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def shortest(path: Path) -> Path:
    """A path as a person in the current folder would type it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def command(root: bool = False, environ: Mapping[str, str] = os.environ) -> str:
    """`meshlite` where the shell finds this very program by that name, else the path of it from here.

    `root`: what follows needs root; `sudo` stands before it where the person came by sudo, or is not root.
    """
    program = _program(environ)
    came_by_sudo = bool(environ.get("SUDO_USER")) or os.geteuid() != 0
    return f"sudo {program}" if came_by_sudo and (root or _socket_is_closed(environ)) else program


def _program(environ: Mapping[str, str]) -> str:
    own = Path(sys.executable).parent / "meshlite"
    found = shutil.which("meshlite", path=environ.get("PATH", ""))
    if found and (not own.exists() or Path(found).resolve() == own.resolve()):
        return "meshlite"
    return str(shortest(own)) if own.exists() else f"{shortest(Path(sys.executable))} -m meshlite"


def _socket_is_closed(environ: Mapping[str, str]) -> bool:
    """Whether the person behind sudo could not ask the server without it: group meshlite may."""
    import grp
    import pwd

    name = environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    try:
        return name not in grp.getgrnam("meshlite").gr_mem
    except KeyError:
        return True
