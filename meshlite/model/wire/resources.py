"""Messages on resources: read, judged, applied, listed, analysed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.mesh import Resource
from meshlite.model.wire.registry import AnalysisMessage
from meshlite.model.workload import Frozen

_Time = Annotated[float, Field(description="seconds since 1970")]


class Document(Frozen):
    """One resource as read from a file, with where it stood. Sent by `apply`."""

    resource: Resource
    location: str = Field(default="", description="file:line of the document")
    lines: dict[str, int] = Field(default={}, description="field path, as in Rejection.field -> its line")


class Text(Frozen):
    """YAML or JSON as it is in a file; `name` is what messages call it."""

    text: str
    name: str = "-"


class Rejection(Frozen):
    """Why a document was refused: `where` is file:line, `field` a path in it, `reason` a sentence."""

    resource: str
    where: str = ""
    field: str = ""
    reason: str


_NAMESPACE_OF_TEXTS = "of documents in `texts` that name none; empty: the only meshed project"


class ReadRequest(Frozen):
    """POST /v1/documents: which resources are these?"""

    texts: tuple[Text, ...]
    namespace: str = Field(default="", description=_NAMESPACE_OF_TEXTS)


class ReadResponse(Frozen):
    """Keys in order, what is no resource of the mesh and passed over, and what cannot be read."""

    keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()


class ApplyRequest(Frozen):
    """POST /v1/resources: all or nothing. `dry_run` says what would happen and changes nothing.

    Resources as `documents`, or as `texts`, which the server reads.
    """

    documents: tuple[Document, ...] = ()
    texts: tuple[Text, ...] = ()
    namespace: str = Field(default="", description=_NAMESPACE_OF_TEXTS)
    dry_run: bool = False
    allow_missing_hosts: bool = Field(default=False, description="take hosts and subsets nobody has yet")


class Applied(Frozen):
    """What became of one document. With `dry_run`: what would become of it."""

    key: str
    action: Literal["created", "configured", "unchanged"]
    generation: int
    warnings: tuple[str, ...] = ()


class ApplyResponse(Frozen):
    """200: all documents are in `applied`, in the order sent. 422: `rejected` says why nothing was.

    `warnings`: what in `texts` is no resource of the mesh and was passed over.
    """

    applied: tuple[Applied, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    warnings: tuple[str, ...] = ()


class KindNames(Frozen):
    """A kind as people and keys call it. `cluster_wide`: its objects are in the root namespace."""

    key: str
    name: str
    words: tuple[str, ...]
    cluster_wide: bool


class Kinds(Frozen):
    """GET /v1/kinds"""

    kinds: tuple[KindNames, ...]


class Resources(Frozen):
    """GET /v1/resources, first applied first."""

    resources: tuple[Resource, ...]


class AnalysisRequest(Frozen):
    """POST /v1/analysis: what would be wrong, were the documents applied."""

    documents: tuple[Document, ...]


class Analysis(Frozen):
    """GET /v1/analysis, POST /v1/analysis: errors first."""

    messages: tuple[AnalysisMessage, ...]


Action = Literal["created", "configured", "deleted"]


class Revision(Frozen):
    """One change of a resource: what it became, or for "deleted" what it was last."""

    time: _Time
    action: Action
    author: str = Field(description="who, e.g. uid 0 on the local socket")
    resource: Resource


class History(Frozen):
    """GET …/history of a resource: the last 20 changes, newest first, deletions too."""

    revisions: tuple[Revision, ...]
