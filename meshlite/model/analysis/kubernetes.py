"""Services, pods, namespaces and secrets of Kubernetes in files, taken for the services and workloads meant.

Nothing of them is applied: they say what the resources beside them refer to.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshlite.model.analysis.credentials import wrong_with
from meshlite.model.analysis.scene import SceneService, SceneWorkload
from meshlite.model.documents import objects
from meshlite.model.located import Located, load
from meshlite.model.names import canonical_namespace, fqdn

_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
_GROUPS = ("v1", "apps/v1", "batch/v1")
_LOCALITY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


@dataclass(frozen=True)
class World:
    """What files say of services and workloads; `empty`: nothing, so that they may be elsewhere."""

    services: tuple[SceneService, ...]
    workloads: tuple[SceneWorkload, ...]
    namespaces: frozenset[str]
    secrets: Mapping[tuple[str, str], str]

    @property
    def empty(self) -> bool:
        return not (self.services or self.workloads)


@dataclass(frozen=True)
class _Object:
    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    value: Mapping[str, Any]


def world(texts: Iterable[str], namespace: str, now: float) -> World:
    """`namespace`: of objects that name none; `now`: seconds since 1970, to know expired certificates."""
    found = [one for text in texts for one in _objects(text, namespace)]
    services = [one for one in found if one.kind == "Service"]
    nodes = {one.name: one.labels for one in found if one.kind == "Node"}
    pods = [_workload(one, one.labels, one.spec, services, nodes) for one in found if one.kind == "Pod"]
    for one in found:
        if one.kind in _TEMPLATED:
            template = _mapping(one.spec.get("template"))
            labels = _strings(_mapping(template.get("metadata")).get("labels"))
            if not any(
                pod.namespace == one.namespace and labels.items() <= pod.labels.items() for pod in pods
            ):
                pods.append(_workload(one, labels, _mapping(template.get("spec")), services, nodes))
    namespaces = {one.name if one.kind == "Namespace" else one.namespace for one in found}
    return World(
        tuple(map(_service, services)),
        tuple(pods),
        frozenset(map(canonical_namespace, namespaces)),
        {(one.namespace, one.name): _secret(one, now) for one in found if one.kind == "Secret"},
    )


def _objects(text: str, namespace: str) -> Iterator[_Object]:
    for item in load(text):
        for part in objects(item) if isinstance(item, Located) else ():
            value = part.value
            if not isinstance(value, dict) or value.get("apiVersion") not in _GROUPS:
                continue
            metadata = _mapping(value.get("metadata"))
            yield _Object(
                str(value.get("kind")),
                canonical_namespace(str(metadata.get("namespace") or namespace)),
                str(metadata.get("name")),
                _strings(metadata.get("labels")),
                _mapping(value.get("spec")),
                value,
            )


def _service(one: _Object) -> SceneService:
    ports = {}
    for port in one.spec.get("ports") or ():
        entry = _mapping(port)
        number, target = entry.get("port"), entry.get("targetPort")
        if isinstance(number, int):
            ports[number] = target if isinstance(target, int) else number
    exported = _strings(_mapping(one.value.get("metadata")).get("annotations")).get(
        "networking.istio.io/exportTo"
    )
    scopes = tuple(part.strip() for part in exported.split(",")) if exported else ()
    return SceneService(one.namespace, one.name, ports, scopes)


def _workload(
    one: _Object,
    labels: Mapping[str, str],
    spec: Mapping[str, Any],
    services: Iterable[_Object],
    nodes: Mapping[str, Mapping[str, str]],
) -> SceneWorkload:
    """With the locality of its node among its labels, so that subsets may ask for it."""
    node = nodes.get(str(spec.get("nodeName")), {})
    locality = {key: node[key] for key in _LOCALITY if node.get(key)}
    chosen = frozenset(
        fqdn(service.name, service.namespace)
        for service in services
        if service.namespace == one.namespace
        and (wanted := _strings(service.spec.get("selector")))
        and wanted.items() <= labels.items()
    )
    return SceneWorkload(one.namespace, one.name, {**labels, **locality}, chosen)


def _secret(one: _Object, now: float) -> str:
    data = {}
    for key, text in _strings(one.value.get("data")).items():
        try:
            data[key] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return f"{key} is not base64"
    plain = _strings(one.value.get("stringData"))
    return wrong_with({**data, **{key: text.encode() for key, text in plain.items()}}, now)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in _mapping(value).items()}
