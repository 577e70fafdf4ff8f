"""Has the rules and the hosts file of an attached workload follow what the mesh says and Envoy has."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Set

from meshlite.agent import ads
from meshlite.agent.capture import Attached, Capture, CaptureError, Mode
from meshlite.agent.damped import Damped
from meshlite.agent.picture import Names, Picture
from meshlite.agent.xds import XdsServer

log = logging.getLogger(__name__)


class Follower:
    """One for all attachments. `reasons` has why one is not captured or is behind, by its key."""

    def __init__(self, capture: Capture, xds: XdsServer, reasons: dict[str, str]) -> None:
        self._capture, self._xds, self._reasons = capture, xds, reasons
        self._replicas: dict[str, Damped[Mapping[str, str]]] = {}

    def refused(self, key: str) -> bool:
        """Whether Envoy refuses to listen for it; `reasons` says why."""
        names = {f"outbound/{key}", f"inbound/{key}"}
        found = (r for r in self._xds.rejections if r.type_url == ads.LISTENER and r.name in names)
        refusal = next((rejection.reason for rejection in found), "")
        if refusal:
            self._reasons[key] = f"the node proxy refuses its listener: {refusal}"
        return bool(refusal)

    async def follow(self, key: str, picture: Picture, names: Names) -> bool:
        """True where its rules and names are now as they should be: it is captured."""
        held = self._capture.attached.get(key)
        if held is None:
            return False
        policy = picture.translation.strict[key]
        try:
            mode = Mode(policy.default, policy.exceptions, policy.gateways)
            await self._capture.set_mode(key, mode, picture.bound(held), self._replicas_for(held, picture))
            await self._capture.write_names(key, names)
        except (CaptureError, OSError, KeyError) as error:
            # A container that ends in this moment is no news.
            if key in self._capture.attached:
                self._reasons[key] = str(error)
                log.warning("a workload's capture is behind: %s", error, extra={"fields": {"workload": key}})
            return False
        self._reasons.pop(key, None)
        return True

    def forget(self, known: Set[str]) -> None:
        """All but these are gone."""
        for key in self._replicas.keys() - known:
            del self._replicas[key]

    @property
    def due(self) -> float | None:
        """When (monotonic) to look again at those that wait, if any does."""
        return min((one.due for one in self._replicas.values() if one.due), default=None)

    def _replicas_for(self, held: Attached, picture: Picture) -> Mapping[str, str]:
        """Where its UDP goes. A change costs a program in every namespace; those that come together wait."""
        newest = picture.peers.of(held.namespace)
        return self._replicas.setdefault(held.key, Damped(newest)).follow(newest, time.monotonic())
