"""How objects of Gateway API point at others: parents, backends, secrets, targets of policies.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#parentreference
"""

from __future__ import annotations

from meshlite.model.gateway_api.forms import (
    Group,
    Kind,
    Namespace,
    ObjectName,
    Port,
    SectionName,
    Weight,
)
from meshlite.model.mesh import GATEWAY_API
from meshlite.model.message import Message


class ParentReference(Message):
    """A Gateway, a ListenerSet, or a service of the mesh; empty `namespace`: the route's own."""

    group: Group = GATEWAY_API
    kind: Kind = "Gateway"
    namespace: Namespace | None = None
    name: ObjectName
    section_name: SectionName | None = None
    port: Port | None = None


class ParentGatewayReference(Message):
    """The Gateway of a ListenerSet; empty `namespace`: the set's own."""

    group: Group = GATEWAY_API
    kind: Kind = "Gateway"
    name: ObjectName
    namespace: Namespace | None = None


class BackendObjectReference(Message):
    group: Group = ""
    kind: Kind = "Service"
    name: ObjectName
    namespace: Namespace | None = None
    port: Port | None = None


class BackendRef(BackendObjectReference):
    """Weights are relative to their sum; 0 sends nothing."""

    weight: Weight = 1


class SecretObjectReference(Message):
    group: Group = ""
    kind: Kind = "Secret"
    name: ObjectName
    namespace: Namespace | None = None


class ObjectReference(Message):
    group: Group
    kind: Kind
    name: ObjectName
    namespace: Namespace | None = None


class LocalObjectReference(Message):
    group: Group
    kind: Kind
    name: ObjectName


class PolicyTargetReference(Message):
    group: Group
    kind: Kind
    name: ObjectName
    section_name: SectionName | None = None
