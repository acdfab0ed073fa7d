"""The store: what is kept through crashes, other processes, other versions and bad folders."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from samples import result
from stores import clean, put, show

from matrix.core.data import default_store
from matrix.core.errors import StoreTooNew, StoreUnusable
from matrix.core.records import Outcome
from matrix.run import database as module
from matrix.run.database import QUESTIONS
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
    later = ("0099_note", "ALTER TABLE tables ADD COLUMN note TEXT; CREATE TABLE more (a TEXT)")
    monkeypatch.setattr(module, "SCHEMA_MIGRATIONS", (*module.SCHEMA_MIGRATIONS, later))
    with Store(folder) as store:
        names = [name for (name,) in store._database.rows("SELECT name FROM migrations")]
        assert names == [name for name, _ in module.SCHEMA_MIGRATIONS]
        assert store._database.rows("SELECT * FROM more") == []
        assert store.result("key").outcome is Outcome.FAILED


def test_a_migration_that_fails_leaves_the_store_as_it_was(folder, monkeypatch):
    Store(folder).close()
    with monkeypatch.context() as patch:
        bad = ("0099_bad", "CREATE TABLE more (a TEXT); nonsense")
        patch.setattr(module, "SCHEMA_MIGRATIONS", (*module.SCHEMA_MIGRATIONS, bad))
        with pytest.raises(StoreUnusable):
            Store(folder)
    with Store(folder) as store:
        tables = {name for (name,) in store._database.rows("SELECT name FROM sqlite_master")}
        assert "more" not in tables


def test_an_older_stores_tables_are_those_of_the_engines_that_filled_them(folder, monkeypatch):
    """0001 knew one table for all engines, and kept its keys as one text."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "SCHEMA_MIGRATIONS", module.SCHEMA_MIGRATIONS[:1])
        Store(folder).close()
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as database, database:
        for key, engine in (("a", "venv"), ("b", "docker"), ("c", "venv")):
            record = json.dumps(asdict(replace(result(key=key, outputs=()), engine=engine)))
            row = (key, "run", "passed", 0.5, "2020-01-01T00:00:00Z", record)
            database.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)", row)
        database.execute("INSERT INTO environments VALUES ('r1', 'd1', '', '{}')")
        database.execute("INSERT INTO runs VALUES ('quick quick', '2020', '[\"a\", \"b\", \"gone\"]')")
    with Store(folder) as store:
        assert store.result("a") == replace(result(key="a", outputs=()), engine="venv")
        assert store.environment("r1").digest == "d1"
        show(store, "quick quick --engine venv", ["c"])
        clean(store, days=-1)
        assert {key for key in "abc" if store.result(key)} == {"b", "c"}


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
    with pytest.raises(StoreUnusable, match=r"store\.sqlite: read a damaged file") as caught:
        Store(folder, read_only=read_only)
    assert caught.value.tip


def test_a_database_that_breaks_in_the_middle_of_a_run_is_named(folder):
    with Store(folder) as store:
        for number in range(200):
            store.record(result(key=f"k{number}", outputs=()))
    with Store(folder) as store:
        assert store.result("k1")
        content = (folder / "store.sqlite").read_bytes()
        (folder / "store.sqlite").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        store._database.rows("PRAGMA shrink_memory")  # what SQLite has read it trusts
        for step in (lambda: store.result("k150"), lambda: store.record(result(key="new")), store.typical_seconds):
            with pytest.raises(StoreUnusable, match=r"store\.sqlite: .* damaged") as caught:
                step()
            assert "move it" in caught.value.tip


def spoil(path: Path, chosen: random.Random) -> None:
    """Empties a file, zeroes its tail, cuts it off, or changes bytes."""
    content = bytearray(path.read_bytes())
    place = chosen.randrange(len(content))
    match chosen.randrange(4):
        case 0:
            content = content[: chosen.choice([0, place])]
        case 1:
            content[place:] = bytes(len(content) - place)
        case times:
            for _ in range(1 if times == 2 else 50):
                content[chosen.randrange(len(content))] ^= chosen.randrange(1, 256)
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(30))
def test_a_database_torn_at_any_place_answers_right_or_not_at_all(folder, tmp_path, seed):
    """As it was closed, and as a killed run leaves it: with all of it in the WAL."""
    chosen = random.Random(seed)
    with Store(folder) as store:
        for number in range(20):
            store.record(result(key=f"k{number}", outputs=[put(store, b"abc")], log="some log " * 30))
        truth = {f"k{number}": store.result(f"k{number}") for number in range(20)}
        shutil.copytree(folder, tmp_path / "killed")
    place = chosen.choice([folder, tmp_path / "killed"])
    spoil(chosen.choice([path for path in place.glob("store.sqlite*") if path.stat().st_size]), chosen)
    with contextlib.suppress(StoreUnusable, StoreTooNew), Store(place) as store:
        answers = {key: store.result(key) for key in truth}
        assert all(answers[key] in (None, truth[key]) for key in truth)
        store.record(result(key="new", outputs=()))
        clean(store, days=-1)


def test_a_row_that_is_no_text_any_more_is_as_good_as_none(folder):
    with Store(folder) as store:
        store.record(result(key="key", outputs=()))
        store.remember_environment("r1", KnownEnvironment(digest="d1", refusal="", record="{}"))
        with store._database.transaction() as database:
            database.execute("UPDATE results SET record = CAST(x'7bff' AS TEXT)")
            database.execute("UPDATE environments SET digest = CAST(x'ff' AS TEXT)")
        assert store.result("key") is None
        assert store.environment("r1") is None
        assert store.environment_records() == {}


@pytest.mark.parametrize(
    "damage", ["key = 'kez'", "shown_by = shown_by + 1", "key = CAST(x'ff' AS TEXT)", "checksum = ''", "key = x'00'"]
)
def test_clean_keeps_what_a_table_shows_although_the_row_that_says_so_is_damaged(folder, damage):
    with Store(folder) as store:
        for key in ("other", "key"):
            store.record(result(key=key, outputs=()))
        store.begin_table("a table")
        store.remember_shown(["key"], whole=True)
        with store._database.transaction() as database:
            database.execute(f"UPDATE shown SET {damage}")
        assert store.shown_damage == "1 row that says what a table shows cannot be read any more"
        assert store.remove_results(older_than="9999") == 0
        assert store.result("key") is not None
        store.remember_shown(["key"], whole=True)  # the table is shown again
        assert store.shown_damage == ""
        assert store.remove_results(older_than="9999") == 1
        assert (store.result("key") is not None, store.result("other")) == (True, None)


def test_a_store_of_before_knows_what_it_shows(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "SCHEMA_MIGRATIONS", module.SCHEMA_MIGRATIONS[:3])
        Store(folder).close()
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as database, database:
        database.execute("INSERT INTO tables (name) VALUES ('a table')")
        database.execute("INSERT INTO shown VALUES (1, 'key')")
    with Store(folder) as store:
        assert store.shown_damage == ""
        for key in ("other", "key"):
            store.record(result(key=key, outputs=()))
        assert store.remove_results(older_than="9999") == 1


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


def test_a_store_of_before_has_no_questions_and_gets_them(tmp_path):
    Store(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as database:
        database.execute("ALTER TABLE tables DROP COLUMN question")
        database.execute("DELETE FROM migrations WHERE name = ?", (QUESTIONS,))
        database.commit()
    with Store(tmp_path, read_only=True) as store:
        assert store.questions() == []
    with Store(tmp_path) as store:
        store.begin_table("one", question="{}")
        store.begin_table("two")
        assert store.questions() == ["{}"]


@pytest.mark.parametrize("name", [None, b"\x00", "0002_q\x00", "0001_teh_first", "9999"])
def test_a_damaged_name_of_a_migration_is_not_of_a_newer_version(folder, name):
    """A page of zeros in the database looks like names that nobody gave."""
    Store(folder).close()
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (?, 'now')", (name,))
    with pytest.raises(StoreUnusable, match="read a damaged file") as raised:
        Store(folder)
    assert not isinstance(raised.value, StoreTooNew)
