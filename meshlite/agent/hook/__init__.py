"""Captures a container before its first instruction: a runtime wrapper in the engine asks the agent to."""

from meshlite.agent.hook.install import HookState, NotLeft, install, uninstall
from meshlite.agent.hook.server import HookServer

__all__ = ["HookServer", "HookState", "NotLeft", "install", "uninstall"]
