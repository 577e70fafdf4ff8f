"""Ports of gateways that cannot be opened, and what to do about it."""

from __future__ import annotations

import pytest

from meshlite.agent.ads import LISTENER, Rejection
from meshlite.agent.gateways import unopened


@pytest.mark.parametrize(
    ("port", "said", "advice"),
    [
        (
            7443,
            "Address already in use",
            "is meshlite's own: choose another port, or move it by ports.server",
        ),
        (8080, "Address already in use", "is taken by another program: stop that, or choose another port"),
        (8080, "permission denied", "cannot be opened: permission denied"),
    ],
)
def test_a_port_that_is_not_to_be_had_says_whose_it_is_and_what_to_do(
    port: int, said: str, advice: str
) -> None:
    name = f"gateway/0.0.0.0_{port}"
    rejection = Rejection(LISTENER, name, "v1", said, 0.0)
    [problem] = unopened({name: ("Gateway/shop/edge",)}, [rejection], {7443: "ports.server in meshlite.yaml"})
    assert problem.resource == "Gateway/shop/edge"
    assert problem.reason.startswith(f"port {port} (0.0.0.0) {advice}")
