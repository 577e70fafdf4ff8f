"""Decides what is done with a request that a rule of a VirtualService takes, part by part of the rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from meshlite.model.networking import (
    CorsPolicy,
    Destination,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRoute,
    Percent,
)
from meshlite.model.rules.http_route import GRPC_STATUS
from meshlite.translate.plan.cluster import LoadBalancer
from meshlite.translate.plan.match import text
from meshlite.translate.plan.route import (
    MILLION,
    Cors,
    Fault,
    Forward,
    HashKey,
    HeaderChange,
    HeaderChanges,
    Mirror,
    Redirect,
    Respond,
    Retry,
    Target,
    Text,
)

_WELL_KNOWN_PORT = {"http": 80, "https": 443}


def forward(
    rule: HTTPRoute,
    targets: tuple[Target, ...],
    retry: Retry | None,
    mirrors: tuple[Mirror, ...],
    hash_keys: tuple[HashKey, ...],
) -> Forward:
    """The rule's routing part; a host set for the whole rule comes before one set for a destination."""
    rewrite = rule.rewrite
    regex = rewrite.uri_regex_rewrite if rewrite is not None else None
    host = (rewrite.authority if rewrite is not None else "") or new_host(rule.headers)
    return Forward(
        targets=targets,
        timeout=rule.timeout,
        retry=retry,
        prefix=rewrite.uri if rewrite is not None and regex is None else "",
        pattern=regex.match if regex is not None else "",
        substitution=regex.rewrite if regex is not None else "",
        host=host or (targets[0].host if len(targets) == 1 else ""),
        mirrors=mirrors,
        hash_keys=hash_keys,
    )


def retry(spec: HTTPRetry | None, default: Retry) -> Retry | None:
    """Nothing said: the default. `attempts` 0: none. What is said over the default, part by part."""
    if spec is None:
        return default
    if not spec.attempts:
        return None
    conditions = [part.strip() for part in spec.retry_on.split(",") if part.strip()]
    codes = tuple(int(part) for part in conditions if part.isdigit())
    on = [part for part in conditions if not part.isdigit()]
    if codes and "retriable-status-codes" not in on:
        on.append("retriable-status-codes")
    return Retry(
        spec.attempts,
        ",".join(on) or default.on,
        codes,
        spec.per_try_timeout,
        spec.backoff,
        other_hosts=default.other_hosts
        if spec.retry_ignore_previous_hosts is None
        else spec.retry_ignore_previous_hosts,
        other_priorities=bool(spec.retry_remote_localities),
    )


def kept_on_host(retry: Retry, balancer: LoadBalancer) -> Retry:
    """With consistent hashing a retry goes where the hash says, also if that is the same host."""
    if balancer.kind not in ("ring_hash", "maglev"):
        return retry
    return replace(retry, other_hosts=False)


def hash_keys(*balancers: LoadBalancer) -> tuple[HashKey, ...]:
    """What the destinations of a route want requests to be spread by, each once."""
    keys = (balancer.hash_key for balancer in balancers)
    return tuple(dict.fromkeys(key for key in keys if key is not None))


def mirrors(rule: HTTPRoute) -> Iterator[tuple[Destination, int]]:
    """Destinations of copies, each with its share; a share of 0 means none."""
    if rule.mirror is not None:
        if rule.mirror_percentage is None and rule.mirror_percent is not None:
            share = rule.mirror_percent * MILLION // 100
        else:
            share = _share(rule.mirror_percentage, MILLION)
        if share:
            yield rule.mirror, share
    for mirror in rule.mirrors:
        if share := _share(mirror.percentage, MILLION):
            yield mirror.destination, share


def redirect(spec: HTTPRedirect, port: int) -> Redirect:
    wanted = spec.port or (port if spec.derive_port == "FROM_REQUEST_PORT" else 0)
    if wanted == _WELL_KNOWN_PORT[spec.scheme or "http"]:
        wanted = 0
    return Redirect(
        spec.redirect_code or 301, spec.authority, spec.uri, spec.prefix_rewrite, spec.scheme, wanted
    )


def respond(spec: HTTPDirectResponse) -> Respond:
    body = spec.body
    if body is None:
        return Respond(spec.status)
    return Respond(spec.status, body.string.encode() if body.string is not None else body.bytes or b"")


def fault(spec: HTTPFaultInjection | None) -> Fault | None:
    if spec is None:
        return None
    delay, abort = spec.delay, spec.abort
    length = delay.fixed_delay if delay is not None else None
    share = 0
    if delay is not None and length is not None:
        share = _share(delay.percentage, delay.percent * MILLION // 100)
    http = abort.http_status if abort is not None else None
    grpc = GRPC_STATUS.index(abort.grpc_status) if abort is not None and abort.grpc_status else None
    aborts = _share(abort.percentage, 0) if abort is not None and (http or grpc is not None) else 0
    if not (share or aborts):
        return None
    return Fault(length if share else None, share, http if aborts else None, grpc if aborts else None, aborts)


def cors(spec: CorsPolicy | None) -> Cors | None:
    if spec is None:
        return None
    origins = tuple(text(origin) for origin in spec.allow_origins)
    return Cors(
        origins or tuple(Text("exact", origin) for origin in spec.allow_origin),
        ",".join(spec.allow_methods),
        ",".join(spec.allow_headers),
        ",".join(spec.expose_headers),
        str(int(spec.max_age.total_seconds())) if spec.max_age is not None else "",
        spec.allow_credentials,
        spec.unmatched_preflights != "IGNORE",
    )


def header_changes(*specs: Headers | None) -> HeaderChanges:
    """All changes in order; the host is changed otherwise, see `new_host`."""
    given = [spec for spec in specs if spec is not None]
    return HeaderChanges(
        _change([spec.request for spec in given if spec.request is not None]),
        _change([spec.response for spec in given if spec.response is not None]),
    )


def new_host(spec: Headers | None) -> str:
    """The host that header operations ask for; `set` comes before `add`."""
    operations = spec.request if spec is not None else None
    if operations is None:
        return ""
    named = [value for values in (operations.set, operations.add) for value in _hosts(values)]
    return named[0] if named else ""


def _hosts(values: Mapping[str, str]) -> Iterator[str]:
    return (value for name, value in sorted(values.items()) if _is_host(name))


def _is_host(name: str) -> bool:
    return name.lower() in (":authority", "host")


def _change(operations: list[HeaderOperations]) -> HeaderChange:
    return HeaderChange(
        tuple(pair for one in operations for pair in _changeable(one.set)),
        tuple(pair for one in operations for pair in _changeable(one.add)),
        tuple(name for one in operations for name in one.remove if _is_changeable(name)),
    )


def _changeable(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in sorted(values.items()) if _is_changeable(name))


def _is_changeable(name: str) -> bool:
    return not (name.startswith(":") or _is_host(name))


def _share(percent: Percent | None, absent: int) -> int:
    return absent if percent is None else round(percent.value * MILLION / 100)
