"""The server's own figures, in Prometheus' text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from meshlite.server.call import Parts
from meshlite.server.rotation import expiries

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Samples = Iterator[tuple[Mapping[str, str], float]]


async def exposition(parts: Parts) -> str:
    """All of them, as they are now."""
    issued, snapshot = await parts.enrolment.issued(), parts.registry.snapshots.value
    nodes = Counter("alive" if node.alive else "silent" for node in parts.registry.nodes())
    kinds = Counter(resource.kind for resource in parts.resources.select())
    expiring = min((one.not_after for one in issued), default=0.0)
    lines = [
        *_family("certificates_issued_total", "counter", "Since the server started.", parts.enrolment.signed),
        *_family("certificates_valid", "gauge", "Signed and not yet expired.", len(issued)),
        *_family(
            "certificate_next_expiry_timestamp_seconds", "gauge", "Of those; 0: there is none.", expiring
        ),
        *_labelled(
            "authority_expiry_timestamp_seconds",
            "When authorities end to be valid.",
            (({"state": state, "subject": name}, end) for state, name, end in expiries(parts.rotation.book)),
        ),
        *_labelled("nodes", "Nodes by state.", (({"state": s}, nodes[s]) for s in ("alive", "silent"))),
        *_labelled("resources", "Stored resources.", (({"kind": k}, n) for k, n in sorted(kinds.items()))),
        *_family("workloads", "gauge", "Workloads in the snapshot.", len(snapshot.workloads)),
        *_family("services", "gauge", "Services in the snapshot.", len(snapshot.services)),
        *_family("streams", "gauge", "Readers of the snapshot stream.", len(parts.streams)),
        *_family(
            "stream_lag_seconds",
            "gauge",
            "How long the slowest reader has been without the newest snapshot.",
            parts.streams.lag(),
        ),
        *_family("requests_throttled_total", "counter", "Answered 429.", parts.throttle.refused),
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, help: str, value: float) -> Iterator[str]:
    yield f"# HELP meshlite_server_{name} {help}"
    yield f"# TYPE meshlite_server_{name} {kind}"
    yield f"meshlite_server_{name} {value:.12g}"


def _labelled(name: str, help: str, samples: Samples) -> Iterator[str]:
    yield f"# HELP meshlite_server_{name} {help}"
    yield f"# TYPE meshlite_server_{name} gauge"
    for labels, value in samples:
        inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        yield f"meshlite_server_{name}{{{inside}}} {value:.12g}"
