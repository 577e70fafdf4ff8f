"""The OpenAPI document of a table of routes. Pure.

Form: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from meshlite.model.wire import Error
from meshlite.server.auth import Role
from meshlite.server.call import Route

_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "Over TLS people send a bearer token and nodes show their certificate; on the server's local socket root "
    "and group meshlite are admin. "
    "Every answer that is not 2xx has an Error as its body, unless said otherwise."
)


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """OpenAPI 3.1, as JSON values."""
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "meshlite server", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "person": {"type": "http", "scheme": "bearer", "description": "from POST /v1/access"},
                "node": {"type": "mutualTLS", "description": "a node's certificate from POST /v1/nodes/join"},
            },
        },
    }


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """(model, "validation" or "serialization") -> reference; and all definitions."""
    wanted: dict[Any, None] = {(Error, "serialization"): None}
    for route in routes:
        if route.body is not None:
            wanted[route.body, "validation"] = None
        for answer in (route.answer, *route.also.values()):
            if answer is not None:
                wanted[answer, "serialization"] = None
    references, definitions = models_json_schema(tuple(wanted), ref_template=_REF)
    return dict(references), definitions["$defs"]


def _operation(route: Route, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [*_parameters(route)],
        "responses": _responses(route, schemas),
        "x-allowed": sorted(route.allow),
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    people, nodes = (
        route.allow & {Role.VIEWER, Role.OPERATOR, Role.ADMIN},
        route.allow & {Role.NODE, Role.OWN_NODE},
    )
    if people or nodes:
        operation["security"] = [{"person": []}] * bool(people) + [{"node": []}] * bool(nodes)
    return operation


def _parameters(route: Route) -> Iterable[dict[str, Any]]:
    text = {"type": "string"}
    for name in re.findall(r"\{(\w+)\}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": text}
    for place, described in (("query", route.query), ("header", route.headers)):
        for name, description in described.items():
            yield {"name": name, "in": place, "description": description, "schema": text}


def _responses(route: Route, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    def content(model: type[BaseModel], media: str) -> dict[str, Any]:
        return {media: {"schema": schemas[model, "serialization"]}}

    responses: dict[str, Any] = {}
    if route.answer is None:
        responses["204"] = {"description": "done"}
    else:
        responses["200"] = {"description": "done", "content": content(route.answer, route.media)}
    for status, model in route.also.items():
        responses[str(status)] = {"description": "refused", "content": content(model, route.media)}
    responses["default"] = {"description": "refused", "content": content(Error, "application/json")}
    return responses
