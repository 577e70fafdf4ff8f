"""What a node agent does not need from its start on takes no memory: it runs on every host."""

from __future__ import annotations

import subprocess
import sys

LATER = (
    "cryptography",
    "docker",
    "click.testing",
    "rich",
    "meshlite.model.gateway_api",
    "meshlite.model.analysis",
)
"""Imported when there is a certificate that a user brings, a resource of such a kind, or never."""


def test_the_agent_starts_without_what_few_nodes_need() -> None:
    code = f"import sys, meshlite.agent.app; print(sorted(set({LATER!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
