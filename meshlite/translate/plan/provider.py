"""Decides how a declared provider of authorization is reached, and what is said to it and by it.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from meshlite.model.provider import (
    EnvoyExternalAuthorizationGrpcProvider,
    EnvoyExternalAuthorizationHttpProvider,
    ExtensionProvider,
)
from meshlite.translate.plan.catalog import Catalog
from meshlite.translate.plan.guard import Provider
from meshlite.translate.plan.resources import Told

_TIMEOUT = timedelta(seconds=600)
_ON_ERROR = 403


def providers(declared: Iterable[ExtensionProvider], services: Catalog) -> tuple[tuple[Provider, ...], Told]:
    """Those for authorization; one whose service is not in the mesh has no cluster, and is told of."""
    found = tuple(_providers(declared, services))
    told = tuple(
        (f"ExtensionProvider/{one.name}", f"service {one.authority} is not in the mesh: calls are denied")
        for one in found
        if not one.cluster
    )
    return found, told


def _providers(declared: Iterable[ExtensionProvider], services: Catalog) -> Iterator[Provider]:
    for one in declared:
        if one.envoy_ext_authz_http is not None:
            yield _http(one.name, one.envoy_ext_authz_http, services)
        elif one.envoy_ext_authz_grpc is not None:
            yield _grpc(one.name, one.envoy_ext_authz_grpc, services)


def _cluster(service: str, port: int, services: Catalog) -> tuple[str, str]:
    """The cluster, and the name it is called by. `namespace/host` is as good as the host."""
    host = service.rpartition("/")[2]
    known = services.services.get(host)
    return (f"outbound|{port}||{host}" if known is not None and port in known.ports else ""), host


def _http(name: str, spec: EnvoyExternalAuthorizationHttpProvider, services: Catalog) -> Provider:
    cluster, host = _cluster(spec.service, spec.port, services)
    body = spec.include_request_body_in_check
    return Provider(
        name,
        "http",
        cluster,
        host,
        spec.timeout or _TIMEOUT,
        spec.fail_open,
        int(spec.status_on_error or _ON_ERROR),
        spec.clear_route_cache,
        spec.path_prefix,
        _lower(spec.include_request_headers_in_check or spec.include_headers_in_check),
        tuple(sorted(spec.include_additional_headers_in_check.items())),
        _lower(spec.headers_to_upstream_on_allow),
        _lower(spec.headers_to_downstream_on_deny),
        _lower(spec.headers_to_downstream_on_allow),
        body.max_request_bytes if body is not None else 0,
        body is not None and body.allow_partial_message,
        body is not None and body.pack_as_bytes,
    )


def _grpc(name: str, spec: EnvoyExternalAuthorizationGrpcProvider, services: Catalog) -> Provider:
    cluster, host = _cluster(spec.service, spec.port, services)
    body = spec.include_request_body_in_check
    return Provider(
        name,
        "grpc",
        cluster,
        host,
        spec.timeout or _TIMEOUT,
        spec.fail_open,
        int(spec.status_on_error or _ON_ERROR),
        spec.clear_route_cache,
        body=body.max_request_bytes if body is not None else 0,
        partial_body=body is not None and body.allow_partial_message,
        body_as_bytes=body is not None and body.pack_as_bytes,
    )


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
