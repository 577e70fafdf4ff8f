"""Attaches to network namespaces: mount, private link, rules, names. A restarted agent goes on with them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from meshlite.agent.capture import attached, hosts, links, namespaces, rules
from meshlite.agent.capture.announcements import Announcements
from meshlite.agent.capture.attached import Attached
from meshlite.agent.capture.rewrites import Rewrites
from meshlite.agent.capture.rules import Mode, Proxy
from meshlite.agent.capture.run import CaptureError, Runner
from meshlite.config import Settings
from meshlite.model.names import virtual_network6
from meshlite.model.workload import Found, NetworkNamespace
from meshlite.watch import Watch

log = logging.getLogger(__name__)

DRAINING = "draining"
LOST = "lost"
"""Instead of a digest: the namespace drains; somebody else changed its rules."""


class Capture:
    """All captured namespaces of this host. Calls for the same namespace wait for each other."""

    def __init__(self, settings: Settings) -> None:
        ports = settings.ports
        self._virtual_network6 = virtual_network6(settings.virtual_network, settings.virtual_network6)
        self._proxy = Proxy(
            ports.outbound,
            ports.inbound,
            settings.proxy_mark,
            namespaces.own(),
            settings.link_network,
            (settings.virtual_network, self._virtual_network6),
        )
        self._folder = settings.paths.namespaces
        self._file = attached.file_of(settings)
        self._link_network = settings.link_network
        self._virtual_network = settings.virtual_network
        self._runner = Runner()
        self._held: dict[str, Attached] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._announcements = Announcements(self._lose)
        self._names: dict[str, Mapping[str, Sequence[str]]] = {}
        self._rewrites = Rewrites(self._name_again)
        self.losses: Watch[int] = Watch(0)
        """How often rules were found changed by others; `set_mode` then loads them again."""

    @property
    def attached(self) -> Mapping[str, Attached]:
        return MappingProxyType(self._held)

    async def start(self) -> None:
        """Protect the links, go on with what a former agent held, and clear away what no longer lives."""
        await self._runner.nft(rules.host_rules(self._proxy))
        present = namespaces.interfaces(rules.HOST_LINKS)
        for item in attached.read(self._file):
            if namespaces.inode(item.path) == item.namespace and item.interface in present:
                self._held[item.key] = item
                await self._resume(item)
        await self._clear_unknown(present)
        self._save()

    async def attach(
        self, found: Found, mode: Mode | None = None, replicas: Mapping[str, str] | None = None
    ) -> Attached:
        """Mount the workload's namespace and give it a private link. Raises CaptureError.

        Nothing changes for the workload yet, except with a `mode`: then its rules are loaded in the same go,
        as is right for one that does not run yet. What is attached already is returned as it is.
        """
        if found.namespace is None:
            raise CaptureError(
                f"{found.workload.name}: {found.workload.reason or 'has no network namespace'}"
            )
        async with self._locks[found.namespace.key]:
            if held := self.of_namespace(found.namespace.key):
                return held
            item = self._held[found.workload.id] = self._mount(found, found.namespace)
            text, digest = self._rules(mode, found.bound, replicas or {}) if mode else ("", "")
            try:
                await self._make_link(item, text, any(":" in one for one in found.interfaces))
            except BaseException:
                namespaces.unmount(Path(item.path))
                del self._held[item.key]
                raise
            item = self._held[item.key] = replace(item, rules=digest, linked=True)
            self._announcements.listen(item.key, item.path)
            self._save()
            return item

    async def set_mode(
        self,
        key: str,
        mode: Mode,
        bound: Mapping[int, str] | None = None,
        replicas: Mapping[str, str] | None = None,
    ) -> bool:
        """Capture the namespace's traffic from now on; False where that is so already.

        `bound`: ports of apps that listen on one address of their own; `replicas`: virtual address -> where
        UDP and ICMP for it go. Call it once the listeners are open:
        from here on a connection without one is refused.
        """
        return await self._load(key, *self._rules(mode, bound or {}, replicas or {}))

    async def write_names(self, key: str, entries: Mapping[str, Sequence[str]]) -> bool:
        """Make `entries` (address -> names) the mesh's part of its hosts file, and keep it there, whoever
        writes the file anew; True where it changed."""
        file = self._held[key].hosts_file
        if not file:
            return False
        self._names[file] = entries
        self._rewrites.watch(file)
        return hosts.write(file, entries)

    async def drain(self, key: str) -> None:
        """It leaves the mesh and lives on: new connections go direct, captured ones live until they end."""
        self._take_names(self._held[key])
        if self._held[key].rules:
            await self._load(key, rules.drain_rules(self._proxy), DRAINING)

    async def detach(self, key: str) -> None:
        """Rules, link, mount and names go; connections still captured break. Unknown keys are fine."""
        item = self._held.get(key)
        if item is None:
            return
        async with self._locks[item.namespace]:
            self._take_names(item)
            self._announcements.end(key)
            await self._release(Path(item.path))
            self._held.pop(key, None)
            self._save()

    async def check(self) -> None:
        """Put back what others took away since: the host's table, mounts of namespaces that live."""
        if f"table inet {rules.TABLE}" not in await self._runner.run(["nft", "-t", "list", "tables", "inet"]):
            log.warning("the host's rules for private links were gone; loading them again")
            await self._runner.nft(rules.host_rules(self._proxy))
        for item in self._held.values():
            source = f"/proc/{item.pid}/ns/net"
            if namespaces.inode(item.path) != item.namespace == namespaces.inode(source):
                log.warning("mounting a namespace again that somebody unmounted: %s", item.path)
                namespaces.mount(source, Path(item.path))

    def _name_again(self, file: str) -> None:
        if file in self._names:
            hosts.write(file, self._names[file])

    def _take_names(self, item: Attached) -> None:
        self._rewrites.end(item.hosts_file)
        self._names.pop(item.hosts_file, None)
        hosts.write(item.hosts_file, {})

    async def _resume(self, item: Attached) -> None:
        """Listen again, and see what became of the rules while nobody did."""
        self._announcements.listen(item.key, item.path)
        enter = ["nsenter", f"--net={item.path}"]
        present = await self._runner.run([*enter, "nft", "-t", "list", "tables", "inet"], check=False)
        if item.rules and f"table inet {rules.TABLE}" not in present:
            self._lose(item.key)

    def _lose(self, key: str) -> None:
        item = self._held.get(key)
        if item is not None and item.rules not in ("", DRAINING, LOST):
            log.warning(
                "the rules of a captured workload were changed by somebody else; loading them again: %s", key
            )
            self._held[key] = replace(item, rules=LOST)
            self.losses.set(self.losses.value + 1)

    def close(self) -> None:
        """Hear of nothing any more; what is captured stays so."""
        for item in self._held.values():
            self._announcements.end(item.key)
            self._rewrites.end(item.hosts_file)

    async def _release(self, path: Path) -> None:
        """A namespace as it was before us; fine where it is gone already."""
        await self._runner.inside(
            path,
            rules=rules.no_rules(),
            batch=links.removal_batch(),
            batch6=links.removal_batch6(),
            force=True,
        )
        namespaces.unmount(path)

    def _mount(self, found: Found, namespace: NetworkNamespace) -> Attached:
        workload = found.workload
        path = self._folder / workload.id
        try:
            namespaces.mount(namespace.path, path)
        except OSError as error:
            raise CaptureError(f"{workload.name}: its namespace cannot be mounted: {error}") from error
        taken = {item.link for item in self._held.values()}
        link = links.plan(workload.id, self._link_network, taken)
        return Attached(
            key=workload.id,
            namespace=namespace.key,
            pid=namespace.pid,
            path=str(path),
            link=link.address,
            interface=link.interface,
            hosts_file=found.hosts_file,
            ipv6=namespace.ipv6,
            linked=False,
        )

    def of_namespace(self, inode: str) -> Attached | None:
        """What is attached of this namespace."""
        return next((item for item in self._held.values() if item.namespace == inode), None)

    def _rules(self, mode: Mode, bound: Mapping[int, str], replicas: Mapping[str, str]) -> tuple[str, str]:
        """The text for nftables, and its digest."""
        text = rules.namespace_rules(rules.Capture(self._proxy, mode, bound, replicas))
        return text, hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    async def _make_link(self, item: Attached, text: str, ipv6: bool) -> None:
        if namespaces.inode(item.path) != item.namespace:
            raise CaptureError(f"{item.key}: its process ended meanwhile")
        if namespaces.has_interface(item.pid, rules.LINK):
            await self._runner.inside(
                Path(item.path),
                batch=links.removal_batch(),
                batch6=links.removal_batch6(),
                rules=rules.no_rules(),
                force=True,
            )
        link = links.Link(item.interface, item.link, links.host_address(self._link_network))
        batch = links.namespace_batch(link, f"/proc/{os.getpid()}/ns/net", self._virtual_network)
        batch6 = links.fallback6(self._virtual_network6) if ipv6 else ""
        await self._runner.inside(Path(item.path), batch=batch, batch6=batch6, rules=text)
        await self._runner.ip(links.host_batch(link))

    async def _load(self, key: str, text: str, digest: str) -> bool:
        async with self._locks[self._held[key].namespace]:
            item = self._held[key]
            if item.rules == digest:
                return False
            with self._announcements.ours(key):
                try:
                    await self._runner.inside(Path(item.path), rules=text)
                except CaptureError:
                    await self._runner.inside(Path(item.path), rules=rules.anew(text))
            self._held[key] = replace(item, rules=digest)
            self._save()
            return True

    async def _clear_unknown(self, present: set[str]) -> None:
        """Mounts and links that nobody holds."""
        known = {item.path for item in self._held.values()}
        for path in namespaces.mounted(self._folder):
            if str(path) not in known:
                await self._release(path)
        stray = present - {item.interface for item in self._held.values()}
        if stray:
            await self._runner.run(["ip", "-force", "-batch", "-"], links.deletion_batch(stray), check=False)

    def _save(self) -> None:
        attached.write(self._file, self._held.values())
