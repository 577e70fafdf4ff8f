"""What capture may have left on a host after a crash: look for it, say it to a person, clear it away.

Needs no state file and no agent: it looks at mounts, interfaces, tables and hosts files themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meshlite.agent.capture import attached, hosts, links, namespaces, rules
from meshlite.agent.capture.run import Runner
from meshlite.config import Settings

ENGINE_ROOT = Path("/var/lib/docker")
_OUR_TABLE = f"table inet {rules.TABLE}"


@dataclass(frozen=True)
class Leftovers:
    """Everything of ours that is on the host, whether in use or forgotten."""

    mounts: tuple[Path, ...] = ()
    interfaces: tuple[str, ...] = ()
    host_table: bool = False
    namespaces: tuple[int, ...] = ()
    """Processes, one of each namespace that holds our table or link."""
    hosts_files: tuple[Path, ...] = ()

    def sentences(self) -> list[str]:
        """One for each thing, for `doctor`."""
        said = [f"{path} is a mount of a network namespace" for path in self.mounts]
        said += [f"{name} is the host's end of a private link" for name in self.interfaces]
        said += [f"the host's nftables has '{_OUR_TABLE}'"] if self.host_table else []
        said += [f"the network namespace of process {pid} has our rules or link" for pid in self.namespaces]
        said += [f"{path} has names of the mesh in it" for path in self.hosts_files]
        return said

    def __bool__(self) -> bool:
        return bool(self.sentences())


async def look(settings: Settings, engine_root: Path = ENGINE_ROOT) -> Leftovers:
    """Find all there is. Reads only. Raises CaptureError where `nft` cannot be run."""
    runner = Runner()
    return Leftovers(
        mounts=tuple(namespaces.mounted(settings.paths.namespaces)),
        interfaces=tuple(sorted(namespaces.interfaces(rules.HOST_LINKS))),
        host_table=_OUR_TABLE in await runner.run(["nft", "-t", "list", "tables", "inet"]),
        namespaces=tuple([pid for pid in namespaces.by_process().values() if await _is_ours(runner, pid)]),
        hosts_files=tuple(_marked_hosts(settings, engine_root)),
    )


async def sweep(settings: Settings, engine_root: Path = ENGINE_ROOT) -> Leftovers:
    """Clear everything away and return what there was. Connections that are still captured break."""
    found = await look(settings, engine_root)
    runner = Runner()
    for path in found.hosts_files:
        hosts.write(str(path), {})
    for namespace in [*found.mounts, *(Path(f"/proc/{pid}/ns/net") for pid in found.namespaces)]:
        await runner.inside(
            namespace,
            rules=rules.no_rules(),
            batch=links.removal_batch(),
            batch6=links.removal_batch6(),
            force=True,
        )
    for path in found.mounts:
        namespaces.unmount(path)
    if remaining := namespaces.interfaces(rules.HOST_LINKS):
        await runner.run(["ip", "-force", "-batch", "-"], links.deletion_batch(remaining), check=False)
    if found.host_table:
        await runner.nft(rules.no_rules())
    attached.file_of(settings).unlink(missing_ok=True)
    with suppress(OSError):
        settings.paths.namespaces.rmdir()
    return found


async def _is_ours(runner: Runner, pid: int) -> bool:
    """Whether the process's namespace has rules of this host, or a link that ends here.

    Another host may run inside this one, in a container, and have a mesh of its own.
    """
    script = f"nft list table inet {rules.TABLE}; ip -oneline link show dev {rules.LINK}"
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", script]
    shown = await runner.run(command, check=False)
    peer = re.search(rf"{rules.LINK}@if(\d+):", shown)
    return rules.belongs_to(namespaces.own()) in shown or bool(
        peer and namespaces.interface_name(int(peer[1])).startswith(rules.HOST_LINKS)
    )


def _marked_hosts(settings: Settings, engine_root: Path) -> Iterator[Path]:
    """Hosts files with our lines: the engine's, and those we noted ourselves."""
    noted = {Path(item.hosts_file) for item in attached.read(attached.file_of(settings)) if item.hosts_file}
    for path in sorted({*engine_root.glob("containers/*/hosts"), *noted}):
        try:
            if hosts.marked(path.read_text(errors="surrogateescape")):
                yield path
        except OSError:
            continue
