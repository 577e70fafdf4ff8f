"""The text that capture hands to nft and ip, against golden files; `REFRESH_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from meshlite.agent.capture import links, rules
from meshlite.agent.capture.rules import Capture, Mode, Proxy

GOLDEN = Path(__file__).parent / "golden"
PROXY = Proxy(host="4026531840")

CASES = {
    "permissive": rules.namespace_rules(Capture(PROXY)),
    "strict": rules.namespace_rules(Capture(PROXY, Mode(strict=True))),
    "strict-but-9090": rules.namespace_rules(Capture(PROXY, Mode(strict=True, exceptions=frozenset({9090})))),
    "permissive-but-9090": rules.namespace_rules(Capture(PROXY, Mode(exceptions=frozenset({9090, 80})))),
    "bound": rules.namespace_rules(Capture(PROXY, Mode(strict=True), {9080: "172.18.0.3", 80: "172.18.0.3"})),
    "other-ports": rules.namespace_rules(Capture(Proxy(20001, 20006, 0x1234, "1"))),
    "drain": rules.drain_rules(PROXY),
    "host": rules.host_rules(PROXY),
    "none": rules.no_rules(),
}


@pytest.mark.parametrize("name", CASES)
def test_rules_are_as_reviewed(name: str) -> None:
    file = GOLDEN / f"{name}.nft"
    if os.environ.get("REFRESH_GOLDEN"):
        file.write_text(CASES[name])
    assert file.read_text() == CASES[name]


def test_no_golden_file_is_left_without_its_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.nft")} == set(CASES)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="only root can have nft check rules")
@pytest.mark.parametrize("name", CASES)
def test_nft_takes_the_rules(name: str) -> None:
    checked = subprocess.run(
        ["unshare", "--net", "nft", "--check", "-f", "-"], input=CASES[name], text=True, capture_output=True
    )
    assert checked.returncode == 0, checked.stderr


def test_text_is_the_same_whatever_the_order_of_ports() -> None:
    one = Capture(PROXY, Mode(exceptions=frozenset([1, 2, 3])), {1: "a", 2: "b"})
    other = Capture(PROXY, Mode(exceptions=frozenset([3, 2, 1])), {2: "b", 1: "a"})
    assert rules.namespace_rules(one) == rules.namespace_rules(other)


def test_a_link_keeps_its_address_for_the_same_key_and_avoids_taken_ones() -> None:
    first = links.plan("a-1", "169.254.0.0/16", set())
    assert links.plan("a-1", "169.254.0.0/16", set()) == first
    second = links.plan("a-1", "169.254.0.0/16", {first.address})
    assert second.address != first.address
    assert (second.interface, second.host) == (first.interface, "169.254.0.1")
    assert len(first.interface) <= 15, "the kernel's limit"


def test_links_never_take_reserved_addresses() -> None:
    taken: set[str] = set()
    for number in range(3000):
        address = links.plan(f"w{number}", "169.254.0.0/16", taken).address
        assert address not in taken
        assert address.split(".")[2] not in ("0", "169", "255"), address
        taken.add(address)


def test_a_full_network_is_said() -> None:
    taken = {f"10.9.1.{last}" for last in range(256)}
    with pytest.raises(ValueError, match=r"no free link address left in 10\.9\.0\.0/22"):
        links.plan("a", "10.9.0.0/22", taken | {f"10.9.2.{last}" for last in range(256)})


def test_hardware_addresses_are_local_and_differ() -> None:
    batch = links.namespace_batch(links.plan("a", "169.254.0.0/16", ()), "/proc/1/ns/net", "240.240.0.0/16")
    one, other = [word for word in batch.split() if word.count(":") == 5]
    assert one != other
    assert one.startswith("02:")
    assert other.startswith("02:")
