"""What the store holds: one table for each kind of record, its key prefix and its form (JSON)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from meshlite.model.mesh import KeySet, NodeRecord, Resource, Service
from meshlite.model.wire import Access, AuditEntry, Event, Issued, Report, Revision
from meshlite.model.workload import Frozen

Record = TypeVar("Record", bound=BaseModel)


class StoredNode(Frozen):
    """A node. `joined`: when it last joined, 0 for never. `namespaces`: see wire.TokenRequest.

    `silent`: since when, 0 while it is alive. `shown`: it is part of the snapshot.
    """

    record: NodeRecord
    joined: float = 0.0
    namespaces: tuple[str, ...] | None = None
    silent: float = 0.0
    shown: bool = True


class StoredService(Frozen):
    """A service and its address, kept for good. `shown`: it is part of the snapshot.

    `idle`: since when nothing stands behind it (seconds since 1970), 0 while something does.
    """

    service: Service
    shown: bool = True
    idle: float = 0.0


class StoredToken(Frozen):
    """A join token. Its key is the hash of its secret, which nobody keeps."""

    namespaces: tuple[str, ...] | None
    node: str
    expires: float
    uses: int
    created: float = 0.0
    author: str = ""
    pin: str = ""
    """Of the root that it names; empty: by a version that had one root only."""


class StoredAccess(Frozen):
    """A person's access. Its key is their name; of the bearer token there is the hash of its secret only."""

    access: Access
    digest: str
    pin: str = ""
    """As in StoredToken."""


class Counter(Frozen):
    """The last sequence number given to a resource."""

    last: int = 0


@dataclass(frozen=True)
class Table(Generic[Record]):
    """A key prefix and the form of the values below it."""

    prefix: str
    form: type[Record]

    def key(self, name: str) -> str:
        return self.prefix + name


NODES = Table("nodes/", StoredNode)  # by name
WORKLOADS = Table("workloads/", Report)  # by node
SERVICES = Table("services/", StoredService)  # by FQDN
RESOURCES = Table("resources/", Resource)  # by Resource.key
KEY_SETS = Table("keysets/", KeySet)  # by URI
COUNTERS = Table("counters/", Counter)  # "sequence"
HISTORY = Table("history/", Revision)  # by Resource.key and generation
TOKENS = Table("tokens/", StoredToken)  # by SHA-256 of the secret
CERTIFICATES = Table("certificates/", Issued)  # by serial number

AUDIT = Table("audit/", AuditEntry)  # by number, twelve digits
ACCESS = Table("access/", StoredAccess)  # by name
EVENTS = Table("events/", Event)  # by number, twelve digits

MIRRORED: tuple[Table[Any], ...] = (NODES, WORKLOADS, SERVICES, RESOURCES, KEY_SETS, COUNTERS, ACCESS)
"""Those that the server keeps in memory too: what the snapshot is made from, and who may call."""
