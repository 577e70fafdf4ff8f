"""An engine of the test's own, whose configuration may be changed and which may be restarted at will."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshlite.config import Paths, Settings
from meshlite.sources.engine import Engine

PREFIX = Path(os.environ.get("MESHLITE_ENGINE_PREFIX", "/opt/meshlite-engine"))


_PREPARE = """
ip link set lo up
mkdir -p /etc/docker "$0"
mount --bind "$0" /etc/docker
exec "$@"
"""


@dataclass
class PrivateEngine:
    """dockerd in a network namespace of its own, so that its rules and bridges meet nobody else's.

    In its mount namespace, /etc/docker is a folder of the test's.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "sock"

    @property
    def pid_files(self) -> tuple[Path]:
        return (self.folder / "pid",)

    @property
    def daemon_json(self) -> Path:
        return self.folder / "etc" / "daemon.json"

    @property
    def api(self) -> Engine:
        return Engine(self.socket)

    @property
    def settings(self) -> Settings:
        paths = Paths(state=self.folder / "state", run=self.folder / "run", daemon_json=self.daemon_json)
        return Settings(node="node-1", paths=paths)

    def start(self, *flags: str) -> None:
        self.launch(*flags)
        self.wait()

    def launch(self, *flags: str) -> None:
        command = [
            dockerd(),
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'pid'}",
            f"--host=unix://{self.socket}",
            *flags,
        ]
        path = f"{PREFIX}/usr/sbin:{PREFIX}/usr/bin:{os.environ['PATH']}"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-ec", _PREPARE, self.daemon_json.parent, *command],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path},
            )

    def wait(self) -> None:
        """Until it answers."""
        assert self.process is not None
        for _ in range(300):
            if self.docker("info", check=False).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.fail(f"the private engine did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def wait_for_pid(self) -> None:
        """Until it says who it is, which is long before it answers."""
        for _ in range(3000):
            if self.pid_files[0].exists():
                return
            time.sleep(0.01)
        pytest.fail("the private engine did not write its pid file")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["docker", "--host", f"unix://{self.socket}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}"
        return done

    def clear(self) -> None:
        """No container, no file of ours: as at the beginning."""
        if ids := self.docker("ps", "-aq").stdout.split():
            self.docker("rm", "-f", *ids)

    @property
    def default_runtime(self) -> str:
        return self.docker("info", "--format", "{{.DefaultRuntime}}").stdout.strip()

    @property
    def runtimes(self) -> set[str]:
        return set(json.loads(self.docker("info", "--format", "{{json .Runtimes}}").stdout))


def dockerd() -> str:
    for candidate in (PREFIX / "usr/sbin/dockerd", shutil.which("dockerd")):
        if candidate and Path(candidate).exists():
            return str(candidate)
    pytest.fail("no dockerd on this machine; scripts/setup engine installs one")


@contextmanager
def private_engine(image: str) -> Iterator[PrivateEngine]:
    folder = Path(tempfile.mkdtemp(prefix="meshlite-engine-", dir="/var/tmp"))
    made = PrivateEngine(folder)
    try:
        made.start()
        packed = folder / "image.tar"
        subprocess.run(["docker", "save", "-o", packed, image], check=True)
        made.docker("load", "-i", str(packed))
        packed.unlink()
        yield made
        made.clear()
    finally:
        made.stop()
        _unmount_below(folder)
        shutil.rmtree(folder)


def _unmount_below(folder: Path) -> None:
    """What an engine that was ended leaves mounted, e.g. namespaces of its containers."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = line.split()[1]
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
