"""Where something runs: region, zone, subzone, from wide to narrow.

Source: https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
HOSTNAME = "kubernetes.io/hostname"
"""Labels by which `failoverPriority` names a place; Kubernetes puts the first and last on its nodes."""

PATTERN = r"^$|^[^/*]+(/[^/*]+){0,2}$"
"""`region`, `region/zone` or `region/zone/subzone`, as settings and workloads write it."""


class Locality(NamedTuple):
    """Empty parts are not known."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that say the same; those of unknown parts are not there."""
        named = zip((REGION, ZONE, SUBZONE), self, strict=True)
        return {name: part for name, part in named if part}


def locality(text: str) -> Locality:
    """`eu/eu-1/rack-a` or its beginning -> its parts."""
    return Locality(*text.split("/", 2))


def fits(place: Locality, written: str) -> bool:
    """Whether `place` lies in `written`, where `*` and what is left out take anything."""
    region, zone, subzone = locality(written)
    return (
        region in ("*", place.region)
        and zone in ("*", "", place.zone)
        and subzone in ("*", "", place.subzone)
    )
