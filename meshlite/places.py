"""Where the processes of this host have their sockets and state: what asking them takes to know.

Apart from `config.py`, which checks every setting: that takes longer than a question and its answer.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FILE = Path("/etc/meshlite/meshlite.yaml")
STATE, RUN = Path("/var/lib/meshlite"), Path("/run/meshlite")
NODE_FILE = "node"
"""In the state folder: this host's name in the mesh since its first start, and which machine that was."""
NODE_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$"
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class Folders:
    """`state` survives a reboot; `run` does not and holds sockets, mounts and pid files."""

    state: Path = STATE
    run: Path = RUN

    @property
    def admin_socket(self) -> Path:
        """Where the server serves the command line."""
        return self.run / "admin.sock"

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"


@dataclass(frozen=True)
class Places:
    """This host's name in the mesh, and its folders; the same as in `Settings` of the same sources."""

    node: str
    paths: Folders


def located(file: Path | None, environ: Mapping[str, str]) -> Places:
    """From the settings file and the environment, where no more of them is looked at than that.

    Raises ValueError where the file is not what `config.load` would take; that says why.
    """
    path = file or Path(environ.get("MESHLITE_CONFIG", DEFAULT_FILE))
    values = _written(path) if file is not None or path.exists() else {}
    paths = values.get("paths") or {}
    if not isinstance(paths, dict):
        raise ValueError(f"{path}: paths: expected keys and values")
    state = environ.get("MESHLITE_STATE_DIR", paths.get("state", STATE))
    run = environ.get("MESHLITE_RUN_DIR", paths.get("run", RUN))
    node = environ.get("MESHLITE_NODE", values.get("node"))
    if not (isinstance(state, str | Path) and isinstance(run, str | Path) and isinstance(node, str | None)):
        raise ValueError(f"{path}: node and paths must be text")
    folders = Folders(Path(state), Path(run))
    if not (folders.state.is_absolute() and folders.run.is_absolute()):
        raise ValueError(f"{path}: paths must be absolute")
    return Places(node_of(folders.state) if node is None else node, folders)


def node_of(state: Path) -> str:
    """This host's name in the mesh where no setting gives it: the one it had before, else the host's."""
    return kept_node(state) or socket.gethostname()


def kept_node(state: Path) -> str:
    """The name that was kept here, by this machine; empty where there is none."""
    try:
        name, machine = (state / NODE_FILE).read_text().split()
    except (OSError, ValueError):
        return ""
    return name if machine == _machine() and re.fullmatch(NODE_NAME, name) else ""


def keep_node(state: Path, name: str) -> None:
    """Have the host go by this name from now on, whatever it is called itself. Raises OSError.

    For root's eyes: a machine's id is nobody's business (machine-id(5)).
    """
    if kept_node(state) == name:
        return
    file = state / NODE_FILE
    fresh = file.with_name(f"{NODE_FILE}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(f"{name} {_machine()}\n")
    fresh.replace(file)


def _machine() -> str:
    """Which machine this is: a copy of the state on another one does not take the first one's name along."""
    try:
        return "".join(_MACHINE_ID.read_text().split()) or "-"
    except (OSError, ValueError):
        return "-"


def _written(path: Path) -> dict[str, object]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values


def from_process(file: Path | None = None) -> Places:
    """`located` with this process's environment."""
    return located(file, os.environ)
