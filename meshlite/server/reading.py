"""Texts of a request -> documents; what cannot be read is told by file and line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshlite.model.documents import UNKNOWN, Reading, read
from meshlite.model.wire import Document, Rejection, Text


def read_all(texts: Iterable[Text], namespace: str, projects: Sequence[str]) -> Reading:
    """All texts in order. A document that names no namespace gets `namespace`, else the only project.

    Where there is none or more than one, it is rejected.
    """
    place = namespace or (projects[0] if len(projects) == 1 else "")
    readings = [read(one.text, one.name, place) for one in texts]
    documents = [document for reading in readings for document in reading.documents]
    rejections = [rejection for reading in readings for rejection in reading.rejections]
    rejections += [_nowhere(one, projects) for one in documents if not one.resource.namespace]
    return Reading(
        tuple(document for document in documents if document.resource.namespace),
        tuple(rejections),
        tuple(warning for reading in readings for warning in reading.warnings),
    )


def _nowhere(document: Document, projects: Sequence[str]) -> Rejection:
    listed = ", ".join(projects)
    why = f"several projects are in the mesh: {listed}" if projects else "no project is in the mesh"
    return Rejection(
        resource=f"{document.resource.kind_key}/{UNKNOWN}/{document.resource.name}",
        where=document.location,
        field="metadata.namespace",
        reason=f"is missing, and {why}; say which: -n NAMESPACE, or metadata.namespace in the file",
    )
