"""What is analysed: resources, and the services and workloads that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from meshlite.model.analysis.codes import Code
from meshlite.model.kinds import KINDS
from meshlite.model.located import Path
from meshlite.model.made import made_from
from meshlite.model.message import Message
from meshlite.model.names import ROOT_NAMESPACE, fqdn
from meshlite.model.wire import Document

T = TypeVar("T", bound=Message)
T_co = TypeVar("T_co", bound=Message, covariant=True)
_SPECS = {kind.key: kind.spec for kind in KINDS if kind.spec is not None}


@dataclass(frozen=True)
class SceneWorkload:
    """Something that runs. `services`: FQDNs of those it is behind. Some gateways open any port."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    opens_any_port: bool = False


@dataclass(frozen=True)
class SceneService:
    """A name callers use. `ports`: its own -> the workload's. `export_to`: who sees it; empty: all."""

    namespace: str
    name: str
    ports: Mapping[int, int] = field(default_factory=dict)
    export_to: tuple[str, ...] = ()

    @property
    def fqdn(self) -> str:
        return fqdn(self.name, self.namespace)


@dataclass(frozen=True)
class MeshFacts:
    """Of the mesh's settings, what analysis asks for."""

    access_log_by_default: bool = True
    addresses_allocated: bool = True
    lightstep_providers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Subject(Generic[T_co]):
    """A resource under analysis, with its typed spec and where it stands."""

    document: Document
    spec: T_co

    @property
    def namespace(self) -> str:
        return self.document.resource.namespace

    @property
    def name(self) -> str:
        return self.document.resource.name

    @property
    def key(self) -> str:
        return self.document.resource.key

    @property
    def title(self) -> str:
        """Its name for people; of what was made the kinds and names that it was made from."""
        written = made_from(self.document.resource.annotations)
        return ", ".join(key.replace("/", " ", 1) for key in written) or f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Finding:
    """`absent`: something is missing that may be elsewhere, where the scene is not all there is."""

    code: Code
    document: Document
    path: Path
    reason: str
    absent: bool = False


def finding(code: Code, subject: Subject[T], path: Path, reason: str, absent: bool = False) -> Finding:
    return Finding(code, subject.document, path, reason, absent)


@dataclass(frozen=True)
class Scene:
    """Resources first applied first. `complete`: what is not here is nowhere.

    `secrets`: (namespace, name) -> what is wrong with it, or ""; None where nobody can say.
    """

    documents: tuple[Document, ...]
    services: tuple[SceneService, ...] = ()
    workloads: tuple[SceneWorkload, ...] = ()
    namespaces: frozenset[str] = frozenset()
    secrets: Mapping[tuple[str, str], str] | None = None
    mesh: MeshFacts = MeshFacts()
    complete: bool = False
    root_namespace: str = ROOT_NAMESPACE
    typed: Callable[[Document], Message | None] = field(default_factory=lambda: typed_spec, compare=False)
    """What gives a document's spec; may remember."""

    def all(self, spec: type[T]) -> tuple[Subject[T], ...]:
        """Those of a kind whose fields and types are right, in order."""
        if spec not in self._subjects:
            typed = ((one, self.typed(one)) for one in self._by_kind.get(spec.__name__, ()))
            self._subjects[spec] = tuple(
                Subject(one, found) for one, found in typed if isinstance(found, spec)
            )
        return self._subjects[spec]

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Document]]:
        grouped: dict[str, list[Document]] = {}
        for document in self.documents:
            grouped.setdefault(document.resource.kind, []).append(document)
        return grouped

    @cached_property
    def _subjects(self) -> dict[type[Message], tuple[Subject[Any], ...]]:
        """Those that were asked for."""
        return {}

    def selected(self, labels: Mapping[str, str], namespace: str = "") -> Iterator[SceneWorkload]:
        """Workloads with all of `labels`; of one namespace, or of any."""
        for workload in self.workloads:
            if namespace in ("", workload.namespace) and labels.items() <= workload.labels.items():
                yield workload


def typed_spec(document: Document) -> Message | None:
    """None for one whose fields or types are not right."""
    model = _SPECS.get(document.resource.kind_key)
    if model is None:
        return None
    try:
        return model.model_validate(document.resource.spec)
    except ValidationError:
        return None


def shown_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def listed(titles: Iterable[str]) -> str:
    return ", ".join(sorted(set(titles)))
