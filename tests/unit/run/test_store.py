"""The store: what is kept through crashes, other processes, other versions and bad folders."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from samples import result
from stores import put

from matrix.core.data import default_store
from matrix.core.errors import StoreTooNew, StoreUnusable
from matrix.core.records import Outcome
from matrix.run import store as module
from matrix.run.store import KnownEnvironment, Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_result_comes_back_as_it_was(folder):
    with Store(folder) as store:
        given = result("compile", outputs=[put(store, b"abc")], log="warning: é\n")
        store.record(given)
        assert store.result("key") == given
        assert store.result("other") is None
    with Store(folder, read_only=True) as store:
        assert store.result("key") == given
        assert store.typical_seconds() == {"compile": 0.5}


def test_an_artifact_is_moved_in_and_named_by_its_content(folder):
    with Store(folder) as store:
        artifact = put(store, b"abc")
        assert artifact.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert (artifact.size, store.blob(artifact.digest).read_bytes()) == (3, b"abc")
        assert not (store.places.scratch / "made").exists()
        assert put(store, b"abc", "again.npy").digest == artifact.digest


def test_a_users_file_stays_where_it_is(folder, tmp_path):
    given = tmp_path / "mine.npy"
    given.write_bytes(b"mine")
    with Store(folder) as store:
        artifact = store.put_copy(given, "input_0.npy")
        assert store.blob(artifact.digest).read_bytes() == given.read_bytes()
        assert given.stat().st_mode & 0o200
        assert list(store.places.scratch.iterdir()) == []


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_a_job_whose_artifact_is_torn_or_gone_is_not_done(folder, damage):
    with Store(folder) as store:
        artifact = put(store, b"abcdef")
        store.record(result("compile", outputs=[artifact]))
        blob = store.blob(artifact.digest)
        blob.unlink()
        if damage == "torn":
            blob.write_bytes(b"abc")
        assert store.result("key") is None
        assert put(store, b"abcdef") == artifact
        assert blob.read_bytes() == b"abcdef"
        assert store.result("key") is not None


def test_an_infrastructure_result_answers_nothing_and_is_replaced(folder):
    with Store(folder) as store:
        store.record(result(outcome=Outcome.INFRASTRUCTURE))
        assert store.result("key") is None
        store.record(result(outcome=Outcome.FAILED))
        assert store.result("key").outcome is Outcome.FAILED


def test_environments_are_remembered(folder):
    with Store(folder) as store:
        store.remember_environment("r1", KnownEnvironment(digest="d1", refusal="", record='{"a": 1}'))
        store.remember_environment("r2", KnownEnvironment(digest="", refusal="no wheels", record="{}"))
        assert store.environment("r1").digest == "d1"
        assert store.environment("r2").refusal == "no wheels"
        assert store.environment("r3") is None
        assert store.environment_records() == {"d1": '{"a": 1}'}


# -- versions


def test_a_migration_is_applied_to_an_older_store_and_records_itself(folder, monkeypatch):
    with Store(folder) as store:
        store.record(result(outcome=Outcome.FAILED))
    later = ("0002_note", "ALTER TABLE runs ADD COLUMN note TEXT; CREATE TABLE more (a TEXT)")
    monkeypatch.setattr(module, "SCHEMA_MIGRATIONS", (*module.SCHEMA_MIGRATIONS, later))
    with Store(folder) as store:
        assert [name for (name,) in store._database.execute("SELECT name FROM migrations")] == [
            "0001_results",
            "0002_note",
        ]
        assert store._database.execute("SELECT * FROM more").fetchall() == []
        assert store.result("key").outcome is Outcome.FAILED


def test_a_migration_that_fails_leaves_the_store_as_it_was(folder, monkeypatch):
    Store(folder).close()
    with monkeypatch.context() as patch:
        patch.setattr(
            module,
            "SCHEMA_MIGRATIONS",
            (*module.SCHEMA_MIGRATIONS, ("0002_bad", "CREATE TABLE more (a TEXT); nonsense")),
        )
        with pytest.raises(StoreUnusable):
            Store(folder)
    with Store(folder) as store:
        tables = {name for (name,) in store._database.execute("SELECT name FROM sqlite_master")}
        assert "more" not in tables


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_store_is_left_alone(folder, read_only):
    Store(folder).close()
    with sqlite3.connect(folder / "store.sqlite") as database:
        database.execute("INSERT INTO migrations VALUES ('0099_later', 'now')")
    database.close()
    with pytest.raises(StoreTooNew, match="0099_later") as caught:
        Store(folder, read_only=read_only)
    assert "--store" in caught.value.tip


# -- bad folders


@pytest.mark.parametrize("how", [{"read_only": True}, {"create": False}])
def test_looking_makes_no_store(folder, how):
    with pytest.raises(StoreUnusable, match="no store there"):
        Store(folder, **how)
    assert not folder.exists()


def test_looking_changes_nothing(folder):
    with Store(folder) as store:
        store.record(result(outcome=Outcome.FAILED))

    def listing() -> dict[str, int]:
        files = (path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))
        return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}

    before = listing()
    with Store(folder, read_only=True) as store:
        assert store.result("key")
        with pytest.raises(StoreUnusable):
            store.record(result())
    assert listing() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_named(folder, read_only):
    folder.mkdir()
    (folder / "store.sqlite").write_text("not a database, but long enough to be read as one " * 100)
    with pytest.raises(StoreUnusable, match=r"store\.sqlite: not a database of this project") as caught:
        Store(folder, read_only=read_only)
    assert caught.value.tip


@pytest.mark.parametrize("inside", ["", "below/it"])
def test_a_file_where_the_folder_should_be(folder, inside):
    folder.write_text("a file")
    with pytest.raises(StoreUnusable, match="cannot be written") as caught:
        Store(folder / inside)
    assert "--store" in caught.value.tip
    assert folder.read_text() == "a file"


def test_a_file_where_a_part_of_the_store_should_be(folder):
    folder.mkdir()
    (folder / "blobs").write_text("a file")
    with pytest.raises(StoreUnusable, match="cannot be written"):
        Store(folder)


def test_a_folder_where_the_database_should_be(folder):
    (folder / "store.sqlite").mkdir(parents=True)
    with pytest.raises(StoreUnusable, match="the database answers"):
        Store(folder)


def test_the_default_is_in_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert default_store() == Path("cache") / "iree-matrix"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_store().parts[-2:] == (".cache", "iree-matrix")
