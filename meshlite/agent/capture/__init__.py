"""Captures workloads: namespace mounts, private links, nftables rules, names in hosts files."""

from meshlite.agent.capture.attached import Attached
from meshlite.agent.capture.capture import Capture
from meshlite.agent.capture.leftovers import Leftovers, look, sweep
from meshlite.agent.capture.rules import Mode
from meshlite.agent.capture.run import CaptureError

__all__ = ["Attached", "Capture", "CaptureError", "Leftovers", "Mode", "look", "sweep"]
