"""ReferenceGrant: who in other namespaces may point at objects of this one.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from meshlite.model.gateway_api.forms import Group, Kind, Namespace, ObjectName
from meshlite.model.message import Message


class ReferenceGrantFrom(Message):
    group: Group
    kind: Kind
    namespace: Namespace


class ReferenceGrantTo(Message):
    """Without `name`: every object of the kind."""

    group: Group
    kind: Kind
    name: ObjectName | None = None


class ReferenceGrant(Message):
    """Each of `from_` may point at each of `to`."""

    from_: Annotated[tuple[ReferenceGrantFrom, ...], Field(min_length=1, max_length=16)]
    to: Annotated[tuple[ReferenceGrantTo, ...], Field(min_length=1, max_length=16)]
