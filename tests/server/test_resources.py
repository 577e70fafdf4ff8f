"""The stored resources: sequence, generation, history, batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlite.model.mesh import Resource
from meshlite.model.wire import ApplyRequest, Document
from meshlite.server.call import Parts
from meshlite.server.refusal import Refusal
from meshlite.server.resources import KEPT, ResourceBook
from meshlite.server.store import Store
from meshlite.server.store.memory import MemoryStore
from meshlite.server.store.sqlite import open_sqlite
from tests.server.conftest import FakeTime, parts_over


def rule(name: str, namespace: str = "shop", **labels: str) -> Document:
    return Document(
        location="f.yaml:1",
        resource=Resource(
            api_version="networking.istio.io/v1",
            kind="DestinationRule",
            name=name,
            namespace=namespace,
            labels=labels,
            spec={"host": "reviews"},
        ),
    )


def request(*documents: Document, **more: bool) -> ApplyRequest:
    return ApplyRequest(documents=documents, allow_missing_hosts=True, **more)


@pytest.fixture
def book(parts: Parts) -> ResourceBook:
    return parts.resources


async def actions(book: ResourceBook, *documents: Document, **more: bool) -> list[tuple[str, int]]:
    response = await book.apply(request(*documents, **more), "me", guarded=False)
    return [(one.action, one.generation) for one in response.applied]


async def test_created_configured_unchanged(book: ResourceBook) -> None:
    assert await actions(book, rule("a"), rule("b")) == [("created", 1), ("created", 1)]
    assert await actions(book, rule("a", x="1"), rule("b")) == [("configured", 2), ("unchanged", 1)]
    assert await actions(book, rule("a", x="1")) == [("unchanged", 2)]


async def test_the_order_of_first_application_stays(book: ResourceBook) -> None:
    await actions(book, rule("b"), rule("a"))
    await actions(book, rule("c"))
    await actions(book, rule("b", x="1"))
    assert [(one.name, one.sequence) for one in book.select()] == [("b", 1), ("a", 2), ("c", 3)]
    await book.delete("DestinationRule/shop/c", "me")
    await actions(book, rule("c"))
    assert [one.sequence for one in book.select() if one.name == "c"] == [4], "it is the youngest now"


async def test_a_dry_run_tells_and_changes_nothing(book: ResourceBook, parts: Parts) -> None:
    version = parts.registry.snapshots.value.version
    assert await actions(book, rule("a"), dry_run=True) == [("created", 1)]
    assert book.select() == ()
    assert parts.registry.snapshots.value.version == version


async def test_history_has_each_change_newest_first_also_after_deletion(
    book: ResourceBook, time: FakeTime
) -> None:
    key = "DestinationRule/shop/a"
    await actions(book, rule("a"))
    time.passes(60)
    await actions(book, rule("a", x="1"))
    await book.delete(key, "you")
    await actions(book, rule("a", x="2"))
    history = await book.history(key)
    assert [(one.action, one.author, one.resource.generation) for one in history] == [
        ("created", "me", 4),
        ("deleted", "you", 3),
        ("configured", "me", 2),
        ("created", "me", 1),
    ]
    assert history[2].time - history[3].time == 60
    assert history[2].resource.labels == {"x": "1"}
    with pytest.raises(Refusal, match="never was"):
        await book.history("DestinationRule/shop/other")


async def test_history_is_bounded(book: ResourceBook) -> None:
    for number in range(KEPT + 5):
        await actions(book, rule("a", n=str(number)))
    history = await book.history("DestinationRule/shop/a")
    assert [one.resource.generation for one in history] == list(range(KEPT + 5, 5, -1))


async def test_a_stale_document_in_a_batch_stops_the_batch(book: ResourceBook) -> None:
    await actions(book, rule("a"))
    fresh = rule("b").model_copy(update={"resource": rule("b").resource.model_copy(update={"generation": 0})})
    stale = rule("a", x="1").model_copy(
        update={"resource": rule("a", x="1").resource.model_copy(update={"generation": 7})}
    )
    with pytest.raises(Refusal, match="DestinationRule/shop/a") as refusal:
        await book.apply(request(fresh, stale), "me", guarded=True)
    assert refusal.value.body.details == ({"resource": "DestinationRule/shop/a", "expected": 7, "found": 1},)
    assert [one.name for one in book.select()] == ["a"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (rule("../x"), "metadata.name"),
        (rule("A"), "metadata.name"),
        (rule("a", namespace="x/y"), "metadata.namespace"),
        (rule("a", namespace=""), "metadata.namespace"),
    ],
)
async def test_names_that_cannot_be_keys_are_refused(
    book: ResourceBook, document: Document, field: str
) -> None:
    response = await book.apply(request(rule("good"), document), "me", guarded=False)
    assert field in {one.field for one in response.rejected}
    assert book.select() == ()


async def test_the_same_resource_twice_is_refused(book: ResourceBook) -> None:
    response = await book.apply(request(rule("a"), rule("a", x="1")), "me", guarded=False)
    assert ["given twice" in one.reason for one in response.rejected] == [True]


async def test_istios_root_namespace_is_ours(book: ResourceBook) -> None:
    await actions(book, rule("a", namespace="istio-system"))
    assert book.get("DestinationRule/meshlite-system/a").namespace == "meshlite-system"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_all_is_there_after_a_restart(kind: str, tmp_path: Path, time: FakeTime) -> None:
    store: Store = MemoryStore() if kind == "memory" else await open_sqlite(tmp_path / "state.db")
    parts = await parts_over(store, tmp_path, time)
    await actions(parts.resources, rule("b"), rule("a"))
    await actions(parts.resources, rule("b", x="1"))
    if kind == "sqlite":
        await store.close()
        store = await open_sqlite(tmp_path / "state.db")
    again = await parts_over(store, tmp_path, time)
    assert again.resources.select() == parts.resources.select()
    assert again.registry.snapshots.value == parts.registry.snapshots.value
    assert await actions(again.resources, rule("c")) == [("created", 1)]
    assert [one.sequence for one in again.resources.select()] == [1, 2, 3]
    await store.close()
