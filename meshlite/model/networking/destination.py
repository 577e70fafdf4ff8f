"""Where traffic goes: a service of the mesh, one of its subsets, one of its ports."""

from __future__ import annotations

from meshlite.model.message import Message
from meshlite.model.scalars import Port, Share


class PortSelector(Message):
    number: Port


class Destination(Message):
    """`host` as users write it, to be resolved in the resource's namespace; `subset` of a DestinationRule."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class Percent(Message):
    """0 to 100, with fractions down to 0.0001."""

    value: Share = 0.0
