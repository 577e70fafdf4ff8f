"""The store's contract, kept by every kind of store; and what only the SQLite file can promise."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from meshlite.server.store import Change, Conflict, Entry, Store, Unavailable
from meshlite.server.store.memory import MemoryStore
from meshlite.server.store.sqlite import MIGRATIONS, open_sqlite


async def _memory(_folder: Path) -> Store:
    return MemoryStore()


async def _sqlite(folder: Path) -> Store:
    return await open_sqlite(folder / "state.db")


STORES: dict[str, Callable[[Path], Awaitable[Store]]] = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = await STORES[request.param](tmp_path)
    yield store
    await store.close()


async def test_what_was_put_is_there(store: Store) -> None:
    assert await store.get("nodes/a") is None
    revision = await store.commit([Change("nodes/a", b"one")])
    assert await store.get("nodes/a") == Entry("nodes/a", b"one", revision)


async def test_scan_gives_exactly_the_prefix_in_key_order(store: Store) -> None:
    keys = ["nodes/b", "nodes/a", "nodes/a/b", "nodes/é", "nodesx", "node", "services/a"]
    await store.commit([Change(key, b"") for key in keys])
    found = [entry.key for entry in await store.scan("nodes/")]
    assert found == ["nodes/a", "nodes/a/b", "nodes/b", "nodes/é"]
    assert len(await store.scan("")) == len(keys)


async def test_revision_of_a_key_changes_with_every_write_of_it_only(store: Store) -> None:
    await store.commit([Change("a", b"1"), Change("b", b"1")])
    before = {entry.key: entry.revision for entry in await store.scan("")}
    await store.commit([Change("a", b"1")])
    after = {entry.key: entry.revision for entry in await store.scan("")}
    assert after["a"] > before["a"]
    assert after["b"] == before["b"]


async def test_expected_revision_must_match(store: Store) -> None:
    first = await store.commit([Change("a", b"1", expected=0)])
    with pytest.raises(Conflict) as conflict:
        await store.commit([Change("a", b"2", expected=0)])
    assert conflict.value.keys == ("a",)
    await store.commit([Change("a", b"2", expected=first)])
    with pytest.raises(Conflict):
        await store.commit([Change("a", None, expected=first)])
    assert (await store.get("a") or pytest.fail("gone")).value == b"2"


async def test_a_conflict_anywhere_in_a_batch_changes_nothing(store: Store) -> None:
    await store.commit([Change("a", b"1"), Change("b", b"1")])
    stale = [Change("b", b"2", expected=999), Change("d", b"", expected=7)]
    with pytest.raises(Conflict) as conflict:
        await store.commit([Change("a", None), Change("c", b"new"), *stale])
    assert conflict.value.keys == ("b", "d")
    assert [(entry.key, entry.value) for entry in await store.scan("")] == [("a", b"1"), ("b", b"1")]


async def test_deleting_is_final_and_a_new_key_has_a_new_revision(store: Store) -> None:
    first = await store.commit([Change("a", b"1")])
    await store.commit([Change("a", None, expected=first)])
    assert await store.get("a") is None
    await store.commit([Change("missing", None)])
    again = await store.commit([Change("a", b"1", expected=0)])
    assert again > first


async def test_a_key_twice_in_a_batch_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        await store.commit([Change("a", b"1"), Change("a", b"2")])


async def test_racing_writers_never_lose_an_update(store: Store) -> None:
    await store.commit([Change("counter", b"0")])

    async def add_one() -> None:
        while True:
            entry = await store.get("counter")
            assert entry is not None
            try:
                change = Change("counter", str(int(entry.value) + 1).encode(), entry.revision)
                await store.commit([change])
                return
            except Conflict:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(25):
            tasks.create_task(add_one())
    assert (await store.get("counter") or pytest.fail("gone")).value == b"25"


async def test_a_caller_who_stops_waiting_does_no_harm(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        commit = tasks.create_task(store.commit([Change("a", b"1"), Change("b", b"1")]))
        await asyncio.sleep(0)
        commit.cancel()
    assert len(await store.scan("")) in (0, 2)
    await store.commit([Change("c", b"1")])


# --- the SQLite file ---


async def test_state_and_revisions_survive_a_restart(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    await store.commit([Change("a", b"1")])
    last = await store.commit([Change("b", b"1")])
    await store.commit([Change("b", None)])
    await store.close()
    store = await open_sqlite(tmp_path / "state.db")
    assert [entry.key for entry in await store.scan("")] == ["a"]
    assert await store.commit([Change("c", b"1")]) > last + 1
    await store.close()


async def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    await store.commit([Change("a", b"1")])
    modes = await asyncio.to_thread(lambda: {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()})
    assert modes == {0o600}
    await store.close()


async def test_an_older_schema_is_migrated_with_its_data(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    await store.commit([Change("a", b"1")])
    await store.close()
    newer = (*MIGRATIONS, "ALTER TABLE entries ADD COLUMN note TEXT; CREATE TABLE more (x INTEGER)")
    await (await open_sqlite(tmp_path / "state.db", newer)).close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
        assert file.execute("SELECT key, note FROM entries").fetchall() == [("a", None)]
    with pytest.raises(Unavailable, match="newer meshlite"):
        await open_sqlite(tmp_path / "state.db")


async def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    await store.commit([Change("a", b"1")])
    await store.close()
    broken = "CREATE TABLE more (x); CREATE TABLE entries (x)"
    with pytest.raises(Unavailable):
        await open_sqlite(tmp_path / "state.db", (*MIGRATIONS, broken))
    store = await open_sqlite(tmp_path / "state.db")
    assert (await store.get("a") or pytest.fail("gone")).value == b"1"
    await store.close()


async def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    await store.commit([Change("small", b"1")])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(Unavailable, match="the disk is full"):
        await store.commit([Change("small", b"2"), Change("big", b"x" * 100_000)])
    assert [(entry.key, entry.value) for entry in await store.scan("")] == [("small", b"1")]
    store._connection.execute("PRAGMA max_page_count = 100000")
    await store.commit([Change("big", b"x" * 100_000)])
    await store.close()


async def test_a_locked_file_is_said_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshlite.server.store.sqlite.LOCK_TIMEOUT", 0.05)
    store = await open_sqlite(tmp_path / "state.db")
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"):
        await store.commit([Change("a", b"1")])
    assert await store.get("a") is None
    other.execute("ROLLBACK")
    other.close()
    await store.commit([Change("a", b"1")])
    await store.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
async def test_a_damaged_file_is_said_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(Unavailable, match=r"state\.db"):
        await open_sqlite(tmp_path / "state.db")
    assert (tmp_path / "state.db").read_bytes() == content


async def test_a_file_whose_pages_are_damaged_is_said_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "meshlite.db"
    store = await open_sqlite(file)
    await store.commit([Change("a", b"1")])
    await store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(Unavailable, match=r"meshlite\.db: the file is damaged"):
        await open_sqlite(file)
    assert file.read_bytes()[:4096] == whole[:4096]


async def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await open_sqlite(tmp_path / "missing" / "state.db")


@pytest.mark.parametrize(
    "gone", [["state.db"], ["state.db-wal"], ["state.db", "state.db-wal", "state.db-shm"]], ids=" ".join
)
async def test_a_file_deleted_under_the_server_is_written_anew(tmp_path: Path, gone: list[str]) -> None:
    """Whether somebody looks first or writes first; a kill afterwards takes nothing away."""
    store = await open_sqlite(tmp_path / "state.db")
    first = await store.commit([Change("a", b"1")])
    for look in (True, False):
        for name in gone:
            (tmp_path / name).unlink()
        if look:
            assert "was deleted; it is written anew" in await store.check()
            assert await store.check() == ""
        else:
            assert await store.commit([Change("b", b"2")]) > first
            assert "was deleted; it is written anew" in await store.check()
        with sqlite3.connect(tmp_path / "state.db") as file:
            assert file.execute("SELECT key FROM entries").fetchall() == [("a",), ("b",)][: 2 - look]
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    await store.close()
    store = await open_sqlite(tmp_path / "state.db")
    assert [entry.key for entry in await store.scan("")] == ["a", "b"]
    await store.close()


async def test_another_file_in_the_place_of_the_database_is_not_written_beside(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    store = await open_sqlite(file)
    await store.commit([Change("a", b"1")])
    backup = tmp_path / "backup"
    await (await open_sqlite(backup)).close()
    backup.replace(file)
    for ask in (store.check, lambda: store.commit([Change("b", b"1")])):
        with pytest.raises(Unavailable, match="another file was put there"):
            await ask()
    assert [entry.key for entry in await store.scan("")] == ["a"]
    file.unlink()
    await store.commit([Change("b", b"1")])
    assert [entry.key for entry in await store.scan("")] == ["a", "b"]
    await store.close()


async def test_a_deleted_folder_is_said_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    store = await open_sqlite(folder / "state.db")
    shutil.rmtree(folder)
    with pytest.raises(Unavailable, match="was deleted, and cannot be written anew: No such file"):
        await store.commit([Change("a", b"1")])
    folder.mkdir()
    await store.commit([Change("a", b"1")])
    await store.close()
    store = await open_sqlite(folder / "state.db")
    assert [entry.key for entry in await store.scan("")] == ["a"]
    await store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM head",
        "UPDATE head SET revision = 0",
        "UPDATE head SET revision = 'odd'",
        "INSERT INTO head VALUES (1)",
    ],
)
async def test_revisions_go_on_where_the_last_one_is_not_known(tmp_path: Path, damage: str) -> None:
    store = await open_sqlite(tmp_path / "state.db")
    last = 0
    for _ in range(3):
        last = await store.commit([Change("a", b"1")])
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute(damage)
    for _ in range(2):
        store = await open_sqlite(tmp_path / "state.db")
        before, last = last, await store.commit([Change("b", b"1")])
        assert last > before
        await store.close()
