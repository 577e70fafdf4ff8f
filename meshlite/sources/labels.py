"""What a container's own labels say to the mesh, and what of it makes no sense. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from meshlite.model.faults import suggest
from meshlite.model.locality import PATTERN
from meshlite.model.rate_limit import RateLimit
from meshlite.model.rules import forms
from meshlite.model.scalars import shown

Labels = Mapping[str, str]

OWN = "meshlite."
FOR_THE_MESH = "meshlite.labels."
"""Labels that begin so are the workload's for the mesh only: `meshlite.labels.team` -> `team`."""
EXPORT_TO = ("meshlite.export-to", "networking.istio.io/exportTo")
"""Labels that say in which namespaces its service is seen; the second is Istio's name of it."""
ENABLE = "meshlite.enable"
RATE_LIMIT = "meshlite.rate-limit"
_KNOWN = ("enable", "export-to", "locality", "namespace", "ports", "rate-limit", "service", "version")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def of_workload(labels: Labels) -> dict[str, str]:
    """The labels that policies and subsets choose by."""
    own = {key: value for key, value in labels.items() if not key.startswith(("com.docker.", OWN))}
    return own | {
        key.removeprefix(FOR_THE_MESH): value for key, value in labels.items() if key.startswith(FOR_THE_MESH)
    }


def clean(name: str) -> str:
    """A name fit for one part of a host name: `My.App` -> `my-app`."""
    return re.sub(r"[^a-z0-9_-]", "-", name.lower()).strip("-") or "unnamed"


def enable(labels: Labels) -> tuple[bool | None, str]:
    """Its word on membership, and what is wrong with it; None: as its project."""
    written = labels.get(ENABLE, "")
    said = _FLAGS.get(written.lower())
    if said is None and written:
        return None, f"label {ENABLE}: {shown(written)} is neither true nor false; its project decides"
    return said, ""


def locality(labels: Labels) -> tuple[str, str]:
    """Where it says it runs, and what is wrong with that. Istio's own label has dots for slashes."""
    written = labels.get("meshlite.locality") or labels.get("istio-locality", "").replace(".", "/")
    if re.match(PATTERN, written):
        return written, ""
    return "", f"its locality {shown(written)} is not region/zone/subzone"


def rate_limit(labels: Labels) -> tuple[str, str]:
    """How many requests it takes, and what is wrong with that."""
    written = labels.get(RATE_LIMIT, "")
    if not written or RateLimit.of(written) is not None:
        return written, ""
    return (
        "",
        f"label {RATE_LIMIT}: {shown(written)} is no limit like 100/s, 30/m or 1000/h; there is none",
    )


def export_to(labels: Labels, namespace: str) -> tuple[tuple[str, ...], str]:
    """Where its service is seen, and what is wrong with that; what makes no sense hides it from others."""
    name = next((name for name in EXPORT_TO if labels.get(name)), "")
    places = tuple(filter(None, (place.strip() for place in labels.get(name, "").split(","))))
    if complaint := forms.export_to(places, namespace, hideable=True):
        return (".",), f"label {name}: {complaint}; its service is seen in its own namespace only"
    return places, ""


def complaints(labels: Labels) -> list[str]:
    """Labels of ours that nobody knows, and names that are no names."""
    found = []
    for label in sorted(label for label in labels if label.startswith(OWN)):
        name, written = label.removeprefix(OWN), labels[label]
        taken = clean(written) if name in ("service", "namespace") and written else written
        if taken != written:
            found.append(f"label {label}: {shown(written)} is no host name; it is {shown(taken)} here")
        elif name not in _KNOWN and not (label.startswith(FOR_THE_MESH) and label != FOR_THE_MESH):
            found.append(f"label {shown(label)} says nothing to the mesh{suggest(name, _KNOWN)}")
    return found
