"""Small meshes for tests, written in YAML, and what Envoy is told about them, for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from meshlite.model import external
from meshlite.model.mesh import KeySet, MeshSettings, NodeRecord, Resource, Service, Snapshot
from meshlite.model.names import fqdn, virtual_address
from meshlite.model.provider import ExtensionProvider
from meshlite.model.workload import Port, Workload
from meshlite.server.door import Door
from meshlite.translate.envoy import schema
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.translation import Translation

NODE = "node-a"


def port(text: str) -> Port:
    """`http:9080`, or `9080` for one whose protocol is to be detected."""
    protocol, _, number = text.rpartition(":")
    return Port(number=int(number), protocol=protocol or "auto", origin="label" if protocol else "exposed")


NODE_FIELDS = ("link", "ipv6", "host")
"""Fields of a workload in a case that say how this node reaches it."""


def workload(fields: dict[str, Any]) -> Workload:
    """A workload with the defaults of a healthy container on this node, in namespace shop."""
    name = fields["name"]
    given = {key: value for key, value in fields.items() if key not in (*NODE_FIELDS, "ports")}
    defaults = {"id": f"{name}-id", "node": NODE, "service": name, "namespace": "shop"}
    ports = [port(str(text)) for text in fields.get("ports", [])]
    return Workload.model_validate({**defaults, **given, "ports": ports})


def attachments(case: dict[str, Any]) -> tuple[Attachment, ...]:
    """One for each captured workload."""
    return tuple(
        Attachment(
            key=str(4000 + place),
            path=f"/run/meshlite/netns/{fields['name']}",
            link=fields["link"],
            owner=(found := workload(fields)).id,
            workloads=(found.id,),
            ipv6=fields.get("ipv6", True),
        )
        for place, fields in enumerate(case["workloads"])
        if "link" in fields
    )


def resource(document: dict[str, Any], sequence: int) -> Resource:
    meta = document.get("metadata", {})
    return Resource(
        api_version=document["apiVersion"],
        kind=document["kind"],
        name=meta["name"],
        namespace=meta.get("namespace", "shop"),
        annotations=meta.get("annotations", {}),
        labels=meta.get("labels", {}),
        spec=document.get("spec", {}),
        sequence=sequence,
    )


def services(workloads: tuple[Workload, ...]) -> tuple[Service, ...]:
    found: dict[tuple[str, str], Service] = {}
    for name, namespace in sorted({(one.service, one.namespace) for one in workloads}):
        taken = {service.address for service in found.values()}
        address = virtual_address(fqdn(name, namespace), "240.240.0.0/16", taken)
        found[name, namespace] = Service(name=name, namespace=namespace, address=address)
    return tuple(found.values())


def mesh(case: dict[str, Any]) -> tuple[Snapshot, NodeView]:
    """Snapshot and node view. A workload with `link` is captured, one with `host` is the host's own.

    `nodes`: the hosts there are, where calls to others are carried. `settings` are the mesh's, `keySets` keys
    by URL, `locality` the node's.
    """
    nodes = tuple(NodeRecord.model_validate(fields) for fields in case.get("nodes", []))
    workloads = tuple(workload(fields) for fields in case["workloads"])
    written = tuple(resource(document, place) for place, document in enumerate(case.get("resources", [])))
    known = services(workloads)
    resources = Door().through(written, known, ())
    taken = {service.address for service in known}
    hosts = external.allocate(external.read(resources), "240.240.0.0/16", taken, ())
    snapshot = Snapshot(
        services=known,
        workloads=workloads,
        resources=resources,
        hosts=hosts,
        nodes=nodes,
        settings=settings(case.get("settings", {})),
        key_sets=tuple(KeySet(uri=uri, keys=keys) for uri, keys in case.get("keySets", {}).items()),
    )
    host = {workload(fields).id: fields["host"] for fields in case["workloads"] if "host" in fields}
    view = NodeView(NODE, attachments(case), host_workloads=host, locality=case.get("locality", ""))
    return snapshot, view


def settings(written: dict[str, Any]) -> MeshSettings:
    found = (ExtensionProvider.model_validate(one) for one in written.get("extensionProviders", ()))
    return MeshSettings(extension_providers=tuple(found))


def load(path: Path) -> dict[str, Any]:
    """A case file: one YAML document with `workloads`, and each resource as a document of its own."""
    first, *documents = (document for document in yaml.safe_load_all(path.read_text()) if document)
    return {**first, "resources": documents}


def shown(translation: Translation) -> dict[str, Any]:
    """Decoded resources by type and name, problems, and strict ports."""
    kinds = {
        "listeners": schema.LISTENER,
        "routes": schema.ROUTES,
        "clusters": schema.CLUSTER,
        "endpoints": schema.ENDPOINTS,
    }
    return {
        kind: {
            name: schema.decode(type_url, encoded.body)
            for name, encoded in translation.resources[type_url].items()
        }
        for kind, type_url in kinds.items()
    } | {
        "problems": [f"{problem.resource}: {problem.reason}" for problem in translation.problems],
        "strict": {
            key: {"default": policy.default, "exceptions": sorted(policy.exceptions)}
            for key, policy in translation.strict.items()
        },
    }
