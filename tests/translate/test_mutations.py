"""Resources shuffled, mutated and mixed: nothing crashes, the bad harm nobody, and Envoy takes the rest."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlite.model.analysis.analyze import analyze
from meshlite.model.analysis.stage import of_mesh
from meshlite.model.mesh import Resource, Snapshot
from meshlite.model.validate import validate
from meshlite.model.wire import ApplyRequest, Document
from meshlite.server.admission import admit
from meshlite.server.door import Door
from meshlite.translate.explain.explain import explain
from meshlite.translate.explain.request import Request
from meshlite.translate.node import NodeView
from meshlite.translate.translate import translate
from tests.translate import cases, envoy

FOLDER = Path(__file__).parent / "testdata"
MESHES = tuple(cases.load(path) for path in sorted(FOLDER.glob("*.in.yaml")))

TEXTS = (
    *("", "*", "a", "/", "(", ".*", "%", "%%", "%X%", "x y", "é", "a\nb", "\x00", "*.shop", "reviews", "v1"),
    *("0s", "1ms", "1s", "90000h", "GET", "5xx", "STRICT", "UNAVAILABLE", "mesh", ":path", "host", "-", "~"),
    "x" * 300,
)
scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from((-1, 0, 1, 2, 100, 503, 600, 8080, 65535, 65536, 2**31 - 1, 2**32, 0.5, 1e-9))
    | st.sampled_from(TEXTS)
    | st.text(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=2),
    max_leaves=4,
)


def patiently(examples: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


def at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def mutated(data: st.DataObject, spec: dict[str, Any], pool: list[Any]) -> dict[str, Any]:
    """With a few parts replaced, by anything, by parts of any resource, or dropped, or doubled."""
    changed = copy.deepcopy(spec)
    for _ in range(data.draw(st.integers(0, 2))):
        inner = places(changed)[1:]
        if not inner:
            break
        *above, last = data.draw(st.sampled_from(inner))
        holder = at(changed, tuple(above))
        what = data.draw(st.sampled_from(("value", "piece", "drop", "double")))
        if what == "drop":
            del holder[last]
        elif what == "double" and isinstance(holder, list):
            holder.insert(0, copy.deepcopy(holder[last]))
        else:
            new = data.draw(values if what == "value" else st.sampled_from(pool))
            holder[last] = copy.deepcopy(new)
    return changed


@st.composite
def meshes(draw: st.DrawFn, kinds: frozenset[str] = frozenset()) -> tuple[Snapshot, NodeView, list[Resource]]:
    """A mesh of the golden cases without resources, and mutated resources of several cases in any order.

    `kinds`: those that are left out.
    """
    data = draw(st.data())
    snapshot, node = cases.mesh({**draw(st.sampled_from(MESHES)), "resources": []})
    written = [
        document
        for case in draw(st.lists(st.sampled_from(MESHES), min_size=1, max_size=2))
        for document in case["resources"]
        if document["kind"] not in kinds
    ]
    specs = [one.get("spec", {}) for one in written]
    pool = [at(spec, place) for spec in specs for place in places(spec)]
    named: dict[str, Resource] = {}
    for number, document in enumerate(draw(st.permutations(written))):
        spec = mutated(data, document.get("spec", {}), pool or [None])
        resource = cases.resource({**document, "spec": spec}, number)
        named[resource.key] = resource
    return snapshot, node, list(named.values())


def applied(resources: list[Resource]) -> tuple[list[Resource], list[Resource]]:
    """Those that `apply` would take, and the others; every refusal has a place and a reason."""
    good, bad = [], []
    for resource in resources:
        verdict = validate(Document(resource=resource, location="it.yaml:1"), to_apply=True)
        assert all(found.field and found.reason for found in verdict.rejections)
        (bad if verdict.rejections else good).append(resource)
    return good, bad


def with_resources(snapshot: Snapshot, resources: list[Resource]) -> Snapshot:
    through = Door().through(tuple(resources), snapshot.services, snapshot.nodes)
    return snapshot.model_copy(update={"resources": through})


@patiently(100)
@given(meshes())
def test_the_bad_harm_nobody_and_nothing_crashes(mesh: tuple[Snapshot, NodeView, list[Resource]]) -> None:
    """A resource that is refused changes nothing, even where an older version has let it in."""
    snapshot, node, resources = mesh
    good, bad = applied(resources)
    everything = with_resources(snapshot, resources)
    analyze(of_mesh(everything))
    sound = with_resources(snapshot, good)
    after, alone = translate(everything, node), translate(sound, node)
    ours = {resource.key for resource in bad if "gateway.networking" not in resource.api_version}
    assert ours <= {problem.resource for problem in after.problems}
    assert after.strict == alone.strict
    assert after.resources == alone.resources
    for workload in snapshot.workloads[:2]:
        for service in snapshot.services:
            explain(sound, workload, Request(service.name, 9080, "/x?y=z"), node.virtual_network)


@patiently(40)
@given(meshes())
def test_admission_judges_each_by_itself(mesh: tuple[Snapshot, NodeView, list[Resource]]) -> None:
    """Whatever is sent together: a rejection is always about the document that it names."""
    snapshot, _, resources = mesh
    _, bad = applied(resources)
    documents = tuple(Document(resource=resource, location="it.yaml:1") for resource in resources)
    request = ApplyRequest(documents=documents, allow_missing_hosts=True)
    _, rejected = admit(request, snapshot)
    assert {found.resource for found in rejected} == {resource.key for resource in bad}


@patiently(25)
@given(meshes(kinds=frozenset({"EnvoyFilter"})))
def test_envoy_takes_what_apply_takes(
    tmp_path_factory: Any, mesh: tuple[Snapshot, NodeView, list[Resource]]
) -> None:
    """All but EnvoyFilters, whose patches are for Envoy alone to judge."""
    snapshot, node, resources = mesh
    good, _ = applied(resources)
    translation = translate(with_resources(snapshot, good), node)
    said = envoy.validate(envoy.bootstrap(cases.shown(translation)), tmp_path_factory.mktemp("envoy"))
    assert said == "", said
