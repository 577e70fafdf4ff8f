"""Each resource by itself: IST0106 and IST0133, IST0130 and IST0131; and what this version lacks."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.analysis.codes import (
    INEFFECTIVE_MATCH,
    SCHEMA_ERROR,
    SCHEMA_WARNING,
    UNREACHABLE_RULE,
    UNSUPPORTED,
    UNSUPPORTED_PART,
)
from meshlite.model.analysis.scene import Finding, Scene
from meshlite.model.kinds import Kind, find, named
from meshlite.model.validate import lacking, verdict

_CODES = {code.code: code for code in (UNREACHABLE_RULE, INEFFECTIVE_MATCH)}


def schema(scene: Scene) -> Iterator[Finding]:
    for document in scene.documents:
        resource = document.resource
        kind = named(resource.api_version, resource.kind)
        if not isinstance(kind, Kind):
            code = UNSUPPORTED if find(resource.kind) else SCHEMA_ERROR
            yield Finding(code, document, ("kind",), kind)
            continue
        good = True
        for fault in verdict(kind, resource):
            good = good and fault.warning
            plain = SCHEMA_WARNING if fault.warning else SCHEMA_ERROR
            yield Finding(_CODES.get(fault.code, plain), document, fault.path, fault.reason)
        for fault in lacking(kind, resource) if good else ():
            code = UNSUPPORTED_PART if fault.warning else UNSUPPORTED
            yield Finding(code, document, fault.path, fault.reason)
