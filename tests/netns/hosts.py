"""Two hosts of one mesh: network namespaces with an agent and an Envoy each, joined by a cable, and a server.

Workloads are boxes on a bridge of their host; both bridges have the same addresses. The files source stands
in for the engine. Agents and server are the real processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from meshlite.agent import launch_plan, proxy
from meshlite.config import Paths, Settings
from tests.netns.world import Box, box, inside, run

PATIENCE = 60.0
"""Seconds within which what must come has come, also on a slow machine."""

CABLE = "10.99.0"


@dataclass
class Host:
    """`number`: the last part of its address on the cable."""

    name: str
    number: int
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)

    @property
    def space(self) -> str:
        return f"ml-{self.folder.parent.name[-8:]}-{self.name}"

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.space

    @property
    def address(self) -> str:
        return f"{CABLE}.{self.number}"

    @property
    def settings(self) -> Settings:
        paths = Paths(state=self.folder / "state", run=self.folder / "run")
        return Settings(node=self.name, paths=paths)

    @property
    def environ(self) -> dict[str, str]:
        own = {"MESHLITE_STATE_DIR": str(self.folder / "state"), "MESHLITE_RUN_DIR": str(self.folder / "run")}
        return {**os.environ, **own}

    def start(self, part: str, *options: str) -> None:
        """`server` or `agent`."""
        config = {
            "node": self.name,
            "address": self.address,
            "workloads": str(self.folder / "workloads"),
            "hook": False,
            "proxy_concurrency": 1,
            "paths": {"docker_socket": str(self.folder / "no-engine.sock")},
            **self.options,
        }
        file = self.folder / "meshlite.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "meshlite", "--config", str(file), part, *options]
        with (self.folder / f"{part}.log").open("ab") as log:
            self.started[part] = subprocess.Popen(
                ["ip", "netns", "exec", self.space, *command], env=self.environ, stdout=log, stderr=log
            )

    def ask(self, socket: str, path: str, body: object = None) -> Any:
        """What the server (`admin`) or the agent (`agent`) of this host answers; None where there is none."""
        command = [
            "curl",
            "-sS",
            "--max-time",
            "20",
            "--unix-socket",
            str(self.folder / "run" / f"{socket}.sock"),
        ]
        if body is not None:
            command += ["-X", "POST", "-H", "content-type: application/json", "-d", json.dumps(body)]
        done = subprocess.run([*command, f"http://meshlite{path}"], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None

    def declare(self, name: str, **fields: object) -> None:
        """A workload that lives in the box of that name; with `service` in fields, of that service."""
        made = self.boxes[name]
        entry = {
            "service": name,
            "namespace": "test",
            "name": f"{name}-{self.name}",
            "addresses": [made.v4],
            "pid": made.process.pid,
            "hosts_file": made.hosts_file,
            **fields,
        }
        fresh = self.folder / "fresh"
        fresh.write_text(yaml.safe_dump(entry))
        fresh.rename(self.folder / "workloads" / f"{name}.yaml")

    def withdraw(self, name: str) -> None:
        (self.folder / "workloads" / f"{name}.yaml").unlink()

    @property
    def proxied(self) -> bool:
        status = self.ask("agent", "/v1/status")
        return bool(status and status["proxy"]["pid"])

    @property
    def captured(self) -> bool:
        """Whether all its workloads are, and its Envoy refuses nothing."""
        status = self.ask("agent", "/v1/status")
        return bool(status) and not status["rejected"] and all(one["captured"] for one in status["workloads"])

    def logs(self) -> str:
        files = [*self.folder.glob("*.log"), *(self.folder / "state" / "log").glob("*.log")]
        return "\n".join(f"--- {self.name}/{one.name}\n{one.read_text()[-3000:]}" for one in files)

    def end(self) -> None:
        for process in self.started.values():
            process.kill()
            process.wait()
        proxy.remove(launch_plan.plan_of(self.settings))


def address_of(where: Box, name: str) -> str:
    """The virtual address in the box's hosts file; empty while it is not there."""
    for line in Path(where.hosts_file).read_text().splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name in names:
            return address
    return ""


def wait(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true answer."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


async def soon(condition: Callable[[], Any], what: str = "") -> Any:
    """The same, while servers of the test's own loop go on."""
    async with asyncio.timeout(PATIENCE):
        while not (found := condition()):  # noqa: ASYNC110 - other processes cannot be waited for
            await asyncio.sleep(0.05)
    return found


@dataclass
class Estate:
    """Host `a` has the server."""

    a: Host
    b: Host

    def apply(self, text: str) -> None:
        self._verb("apply", "-f", "-", text=text)

    def delete(self, kind: str, *names: str) -> None:
        for name in names:
            self._verb("delete", kind, name)

    def _verb(self, verb: str, *rest: str, text: str = "") -> None:
        file = self.a.folder / "meshlite.yaml"
        command = [sys.executable, "-m", "meshlite", "--config", str(file), verb, "-n", "test", *rest]
        done = subprocess.run(command, input=text, env=self.a.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def cut(self, broken: bool = True) -> None:
        """Take the cable between the hosts away, or put it back."""
        run(f"ip -n {self.b.space} link set cable {'down' if broken else 'up'}")


@contextmanager
def estate(boxes: dict[str, tuple[str, ...]], **options: object) -> Iterator[Estate]:
    """`boxes`: names by host, `a` and `b`. `options`: settings of both."""
    folder = Path(tempfile.mkdtemp(prefix="meshlite-"))
    folder.chmod(0o755)
    hosts = [Host(name, number, folder / name, dict(options)) for number, name in enumerate("ab", 1)]
    made = Estate(*hosts)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for host in hosts:
            stack.enter_context(_host(host, boxes[host.name]))
        run(f"ip link add cable netns {made.a.space} type veth peer name cable netns {made.b.space}")
        for host in hosts:
            run(f"ip -n {host.space} addr add {host.address}/24 dev cable")
            run(f"ip -n {host.space} link set cable up")
        made.a.options["server_address"] = made.a.address
        made.b.options["server"] = f"https://{made.a.address}:7443"
        try:
            made.a.start("server")
            wait(lambda: made.a.ask("admin", "/v1/health"), "the server")
            token = folder / "token"
            token.write_text(made.a.ask("admin", "/v1/tokens", {"node": "b"})["token"])
            made.a.start("agent")
            made.b.start("agent", "--token-file", str(token))
            for host in hosts:
                wait(lambda host=host: host.proxied, f"the node proxy of {host.name}")
            yield made
        except BaseException as error:
            error.add_note("\n".join(host.logs() for host in hosts))
            raise


@contextmanager
def _host(host: Host, names: tuple[str, ...]) -> Iterator[None]:
    (host.folder / "workloads").mkdir(parents=True)
    run(f"ip netns add {host.space}")
    with ExitStack() as stack:
        stack.callback(run, f"ip netns del {host.space}")
        stack.callback(host.end)
        with inside(host.path):
            for command in (
                "ip link set lo up",
                "ip link add br0 type bridge",
                "ip addr add 10.77.0.1/24 dev br0",
                "ip addr add fd77::1/64 dev br0 nodad",
                "ip link set br0 up",
                "sysctl -qw net.ipv4.ip_forward=1",
            ):
                run(command)
            for number, name in enumerate(names, 2):
                made = stack.enter_context(box(name, number))
                made.hosts_file = str(host.folder / f"{name}.hosts")
                Path(made.hosts_file).write_text("127.0.0.1 localhost\n")
                host.boxes[name] = made
        yield
