"""Istio's verdict on a Telemetry: providers, tags, overrides, filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshlite.model.faults import Fault
from meshlite.model.located import Path
from meshlite.model.mesh import Resource
from meshlite.model.rules import forms
from meshlite.model.rules.targets import targets
from meshlite.model.telemetry import CustomTag, MetricsOverrides, ProviderRef, Telemetry, Tracing

_SPEC: Path = ("spec",)
_EMPTY = "must not be empty"


def telemetry(spec: Telemetry, resource: Resource) -> Iterator[Fault]:
    yield from targets(spec)
    if len(spec.tracing) > 1:
        yield Fault((*_SPEC, "tracing", 1), "only one entry of tracing has an effect", warning=True)
    for place, tracing in enumerate(spec.tracing):
        yield from _tracing(tracing, (*_SPEC, "tracing", place))
    for place, metrics in enumerate(spec.metrics):
        at: Path = (*_SPEC, "metrics", place)
        yield from _providers(metrics.providers, (*at, "providers"))
        for number, override in enumerate(metrics.overrides):
            yield from _override(override, (*at, "overrides", number))
    for place, logging in enumerate(spec.access_logging):
        at = (*_SPEC, "accessLogging", place)
        yield from _providers(logging.providers, (*at, "providers"))
        if logging.filter and (reason := forms.expression(logging.filter.expression)):
            yield Fault((*at, "filter", "expression"), reason)


def _providers(providers: Sequence[ProviderRef], at: Path) -> Iterator[Fault]:
    for place, provider in enumerate(providers):
        if not provider.name:
            yield Fault((*at, place, "name"), _EMPTY)


def _tracing(tracing: Tracing, at: Path) -> Iterator[Fault]:
    if len(tracing.providers) > 1:
        yield Fault((*at, "providers", 1), "only the first provider has an effect", warning=True)
    yield from _providers(tracing.providers, (*at, "providers"))
    for name, tag in tracing.custom_tags.items():
        if not name:
            yield Fault((*at, "customTags", name), "a tag needs a name")
        yield from _tag(tag, (*at, "customTags", name))


def _tag(tag: CustomTag, at: Path) -> Iterator[Fault]:
    given = {
        ("literal", "value"): tag.literal.value if tag.literal else None,
        ("environment", "name"): tag.environment.name if tag.environment else None,
        ("header", "name"): tag.header.name if tag.header else None,
        ("formatter", "value"): tag.formatter.value if tag.formatter else None,
    }
    for path, value in given.items():
        if value == "":
            yield Fault((*at, *path), _EMPTY)


def _override(override: MetricsOverrides, at: Path) -> Iterator[Fault]:
    if override.match and override.match.custom_metric == "":
        yield Fault((*at, "match", "customMetric"), _EMPTY)
    for name, tag in override.tag_overrides.items():
        here = (*at, "tagOverrides", name)
        if not name:
            yield Fault(here, "a tag without a name has no effect", warning=True)
        if tag.operation == "UPSERT" and not tag.value:
            yield Fault((*here, "value"), "is required: what the tag is to be")
        elif tag.operation == "REMOVE" and tag.value is not None:
            yield Fault((*here, "value"), "is for operation UPSERT only")
