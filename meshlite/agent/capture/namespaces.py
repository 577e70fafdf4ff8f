"""Bind mounts of network namespaces at paths of our own, which the node proxy opens and which pin them.

The engine's own folder is open to root only, and /proc/<pid>/ns/net ends with the process.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

MS_BIND = 4096
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path) -> None:
    """Bind the namespace file `source` at `target`; the folder is made so that any user can pass through it.

    Raises OSError, FileNotFoundError where the process behind `source` is gone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o711)
    target.touch(mode=0o444)
    if _libc.mount(source.encode(), str(target).encode(), b"none", MS_BIND, None) != 0:
        error = ctypes.get_errno()
        target.unlink(missing_ok=True)
        raise OSError(error, os.strerror(error), source)


def unmount(target: Path) -> None:
    """Take the mount and its file away; fine where they are gone. Users of the namespace keep it alive."""
    _libc.umount2(str(target).encode(), MNT_DETACH)
    target.unlink(missing_ok=True)


def inode(path: str | Path) -> str:
    """The namespace behind a path, as text; "" where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return str(found.st_ino) if found.st_dev == _namespace_device() else ""


def mounted(folder: Path) -> list[Path]:
    """Everything in the folder of our mounts, whether still mounted or only a file left behind."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def interfaces(prefix: str) -> set[str]:
    """Names of network interfaces in our own namespace that begin so."""
    return {name for _, name in socket.if_nameindex() if name.startswith(prefix)}


def interface_name(index: int) -> str:
    """The interface of that number in our own namespace; "" where there is none."""
    return dict(socket.if_nameindex()).get(index, "")


def own() -> str:
    """The inode of the namespace we run in ourselves."""
    return inode(f"/proc/{os.getpid()}/ns/net")


def has_interface(pid: int, name: str) -> bool:
    """Whether the process's namespace has an interface of that name; False where the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
    except OSError:
        return False
    return any(line.partition(":")[0].strip() == name for line in lines)


def by_process(proc: Path = Path("/proc")) -> dict[str, int]:
    """All network namespaces that processes live in, ours not: inode -> one of the processes."""
    found: dict[str, int] = {}
    for pid in (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        if key := inode(proc / str(pid) / "ns" / "net"):
            found.setdefault(key, pid)
    found.pop(own(), None)
    return found


def _namespace_device() -> int:
    return os.stat("/proc/self/ns/net").st_dev
