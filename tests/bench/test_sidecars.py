"""What meshlite is compared with is a configuration that Envoy takes, and that asks who calls."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench import sidecars
from bench.machine import envoy
from bench.sidecar_pair import issue


@pytest.mark.parametrize("side", ["client", "server", "server without RBAC"])
def test_envoy_takes_the_configuration(side: str, tmp_path: Path) -> None:
    issue(tmp_path)
    config = {
        "client": lambda: sidecars.client("10.0.0.2", tmp_path),
        "server": lambda: sidecars.server(tmp_path),
        "server without RBAC": lambda: sidecars.server(tmp_path, rbac=False),
    }[side]()
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    command = [str(envoy()), "--mode", "validate", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_server_asks_for_a_certificate_and_checks_it(tmp_path: Path) -> None:
    (listener,) = sidecars.server(tmp_path)["static_resources"]["listeners"]
    for chain in listener["filter_chains"]:
        context = chain["transport_socket"]["typed_config"]
        assert context["require_client_certificate"] is True
        assert sidecars.CLIENT_IDENTITY in json.dumps(context)
        assert sidecars.CLIENT_IDENTITY in json.dumps(_rules(chain))


def _rules(chain: dict[str, Any]) -> list[Any]:
    """Every RBAC rule in a chain, of its network filters and of its HTTP filters."""
    found: list[Any] = []
    for filter in chain["filters"]:
        config = filter["typed_config"]
        nested = config.get("http_filters", [])
        found += [f["typed_config"]["rules"] for f in (filter, *nested) if "rules" in f["typed_config"]]
    return found
