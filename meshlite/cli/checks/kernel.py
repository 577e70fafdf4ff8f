"""Checks of what the kernel allows: root, capabilities, namespaces, nftables, veth, cgroups."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from meshlite.cli.checks.finding import Finding, fail, ok, run, warn
from meshlite.config import Settings

OLDEST_KERNEL = (5, 10)
NEEDED_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""Capability -> bit. Source: linux/capability.h"""

PROBE = """
table inet meshlite_probe {
  chain output { type nat hook output priority -100; tcp flags & (fin|syn|rst|ack) == syn meta mark 0x1 return
    ip daddr 127.0.0.0/8 return
    meta l4proto tcp redirect to :15001; }
  chain inbound { type nat hook prerouting priority -100; meta l4proto tcp redirect to :15006; }
  chain input { type filter hook input priority 0; tcp dport 15001 ct status dnat accept
    tcp dport 15001 reject with tcp reset; }
  chain raw { type filter hook prerouting priority -300; iifname "mesh0" notrack; }
}
"""
"""A rule set with every feature that capture uses; it is loaded into a namespace that ends with the check."""


def root(settings: Settings) -> Finding:
    if os.geteuid() == 0:
        return ok("running as root")
    return warn(
        "not running as root: some checks cannot look", "sudo meshlite doctor; up and down need root too"
    )


def capabilities(settings: Settings) -> Finding:
    bounding = re.search(r"^CapBnd:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    mask = int(bounding.group(1), 16) if bounding else 0
    missing = [name for name, bit in NEEDED_CAPABILITIES.items() if not mask >> bit & 1]
    if missing:
        return fail(
            f"{', '.join(missing)} cannot be had here",
            "run on the host, or give the container these capabilities",
        )
    return ok("the two that the node proxy needs can be had")


def kernel(settings: Settings) -> Finding:
    release = os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if not numbers or (int(numbers[1]), int(numbers[2])) < OLDEST_KERNEL:
        oldest = ".".join(str(part) for part in OLDEST_KERNEL)
        return warn(f"Linux {release}, older than {oldest}, the oldest known to work", "use a newer kernel")
    return ok(f"Linux {release}")


def nftables(settings: Settings) -> Finding:
    if not shutil.which("nft"):
        return fail("the program nft is not installed", "apt-get install nftables")
    probe = run(["unshare", "--net", "nft", "-f", "-"], PROBE)
    if probe.code:
        why = " ".join(probe.text.split())[:200]
        return fail(
            f"rules cannot be loaded: {why}",
            "load the kernel modules nf_tables, nft_redir, nft_ct, nft_reject_inet",
        )
    return ok(run(["nft", "--version"]).text)


def links(settings: Settings) -> Finding:
    missing = [program for program in ("ip", "nsenter", "unshare") if not shutil.which(program)]
    if missing:
        return fail(f"not installed: {', '.join(missing)}", "apt-get install iproute2 util-linux")
    probe = run(["unshare", "--net", "ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"])
    if probe.code:
        return fail(f"a veth pair cannot be made: {probe.text}", "load the kernel module veth")
    return ok("veth pairs can be made")


def cgroups(settings: Settings) -> Finding:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return ok("version 2")
    if Path("/sys/fs/cgroup/unified/cgroup.controllers").exists():
        return ok("hybrid: version 1 with version 2 under unified/")
    if Path("/sys/fs/cgroup").is_dir():
        return warn("version 1", "fine for containers; systemd units in the mesh will need version 2")
    return fail("no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup")
