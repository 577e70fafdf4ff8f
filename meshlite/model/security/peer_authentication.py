"""PeerAuthentication: whether a workload takes plaintext.

Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from typing import Annotated, Literal

from meshlite.model.message import Message
from meshlite.model.scalars import Port, by_number
from meshlite.model.selector import WorkloadSelector

_Mode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]
Mode = Annotated[_Mode, by_number(_Mode)]


class MutualTLS(Message):
    """UNSET inherits: from the workload's policy, the namespace's, the mesh's; finally PERMISSIVE."""

    mode: Mode = "UNSET"


class PeerAuthentication(Message):
    """`port_level_mtls` is keyed by the workload's own port.

    Without a selector it is for the whole namespace; in the root namespace, for the whole mesh.
    """

    selector: WorkloadSelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[Port, MutualTLS] | None = None
