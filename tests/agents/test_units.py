"""What an operator installs: units that systemd takes, scripts that shells and Ruby can read."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENTS = ROOT / "agents"
UNITS = sorted(AGENTS.rglob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit_without_a_word(unit: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_proxy_outlives_the_agent() -> None:
    service = section(AGENTS / "meshlite-agent.service", "Service")
    assert service["KillMode"] == "process"
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_the_agent_has_no_mount_namespace_of_its_own() -> None:
    """Its mounts keep workloads' namespaces and must be the host's; these options would hide them from it."""
    service = section(AGENTS / "meshlite-agent.service", "Service")
    hiding = (
        "Protect",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "ReadOnly",
        "ReadWrite",
        "Bind",
        "Root",
    )
    assert not [key for key in service if key.startswith(hiding)]


def test_the_server_is_nearly_powerless() -> None:
    service = section(AGENTS / "meshlite-server.service", "Service")
    assert service["CapabilityBoundingSet"] == "CAP_CHOWN"
    assert service["NoNewPrivileges"] == "yes"


def test_the_vagrantfile_is_ruby_and_names_scripts_that_exist() -> None:
    done = run("ruby", "-c", str(ROOT / "Vagrantfile"))
    assert done.returncode == 0, done.stderr
    named = {
        word.strip('",') for word in (ROOT / "Vagrantfile").read_text().split() if "agents/vagrant/" in word
    }
    assert named
    assert all((ROOT / name).stat().st_mode & 0o111 for name in named)


def section(unit: Path, name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser[name]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is missing; scripts/setup test installs it")
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
