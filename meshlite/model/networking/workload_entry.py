"""WorkloadEntry: one endpoint that no source finds, such as a program on a machine without an agent.

Source: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

from meshlite.model.message import Message
from meshlite.model.scalars import Port, UInt32


class WorkloadEntry(Message):
    """`address`: an IP address, a host name (to be resolved), or `unix://` and a path.

    `ports`: a service port's name -> the endpoint's own port. `weight` 0: 1, as of every endpoint.
    `service_account` gives it an identity. `locality`: region/zone/subzone.
    """

    address: str = ""
    ports: dict[str, Port] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: UInt32 = 0
    service_account: str = ""
