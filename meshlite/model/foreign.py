"""Documents that are not Istio's: which are passed over with a word, which are refused."""

from __future__ import annotations

_WORKLOADS = frozenset(
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob")
)
_INSTEAD: dict[str, str] = {
    **dict.fromkeys(_WORKLOADS, "meshlite takes workloads from Docker"),
    "Service": "meshlite knows services from their workloads",
    "Endpoints": "meshlite knows endpoints from their workloads",
    "EndpointSlice": "meshlite knows endpoints from their workloads",
    "ServiceAccount": "a workload's identity is its service's, or its label meshlite.service-account",
    "Namespace": "a namespace is a Compose project, or the label meshlite.namespace",
    "ConfigMap": "give files to containers by Compose",
    "Secret": "give secrets to containers by Compose",
    "Ingress": "its routes have no effect here",
    "NetworkPolicy": "its rules have no effect here",
}
_KUBERNETES_GROUPS = frozenset(("", "apps", "batch", "autoscaling", "policy", "extensions"))
_EXPERIMENTS = "gateway.networking.x-k8s.io"


def skipped(group: str, kind: str) -> str:
    """Why a document of Kubernetes or of Istio's installer is passed over; empty for any other."""
    if group == "install.istio.io":
        return f"{kind} installs Istio; meshlite has its own settings"
    if group in _KUBERNETES_GROUPS or group.endswith(".k8s.io"):
        return f"{kind} is Kubernetes' own; {_INSTEAD.get(kind, 'meshlite works without Kubernetes')}"
    return ""


def refused(group: str, kind: str) -> str:
    """Why a document of somebody else's API is refused."""
    if group == _EXPERIMENTS:
        return f"{kind} is an experiment of Gateway API and not supported by this version of meshlite"
    return f"{kind} of {group} is not known to meshlite"
