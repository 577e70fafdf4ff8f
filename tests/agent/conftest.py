"""Fixtures of this folder."""

from tests.agent.envoys import settings

__all__ = ["settings"]
