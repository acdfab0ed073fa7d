"""A shared store: what one machine measured another one finds, and whatever it does wrong harms nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answering import AnsweringExecutor, plan_in
from put_server import PutServer, serving
from sharded import SQUARE

from matrix.core.errors import UsageError
from matrix.core.records import EnvironmentRequest, JobEnd, Outcome
from matrix.run.progress import PlainProgress
from matrix.run.remote.places import FolderPlace, HttpPlace, PlaceRefuses, place_of
from matrix.run.remote.shared import SharedStore
from matrix.run.runner import Runner
from matrix.run.schedule import RunSummary
from matrix.run.store import KnownEnvironment


@pytest.fixture(params=["folder", "server"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Callable[[], dict[str, bytes]]]]:
    """The address of a shared store, and what it has."""
    if request.param == "folder":
        place = tmp_path / "shared"
        names = lambda: {f"/{path.relative_to(place)}": path.read_bytes() for path in place.glob("*/*")}  # noqa: E731
        yield str(place), names
        return
    with serving() as server:
        yield server.address, lambda: server.files


class Machine:
    """A machine with a store of its own, and one run on it."""

    def __init__(self, folder: Path, address: str, *, checked_percent: int = 0, **answers) -> None:
        plan = plan_in(folder.parent / "models", SQUARE)
        shared = SharedStore(folder, place_of(address), checked_percent=checked_percent)
        with shared as store, (folder.parent / "log").open("a") as stream:
            self.executor = AnsweringExecutor(store, **answers)
            runner = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=self.executor)
            self.summary: RunSummary = runner.run()
            self.results = {result.key: result for state in self.summary.states if (result := state.result)}
            self.whole = all(store.whole(each.digest) for result in self.results.values() for each in result.outputs)

    @property
    def jobs(self) -> int:
        return len(self.executor.carried_out)


def test_a_second_machine_with_an_empty_store_runs_nothing(tmp_path, remote, capsys):
    first, second = (Machine(tmp_path / name, remote[0]) for name in ("a", "b"))
    assert (first.jobs, second.jobs) == (13, 0)
    assert second.results == first.results and second.whole
    said = capsys.readouterr().err
    assert "remote: 0 results found there, 13 put there" in said
    assert "remote: 13 results found there, 0 put there" in said


def damaged(files: dict[str, bytes], part: str) -> str:
    return next(name for name in sorted(files) if name.startswith(part))


def write(remote: str, server: dict[str, bytes], name: str, content: bytes | None) -> None:
    """Changes what the shared store has; None: it is gone."""
    path = Path(remote) / name.lstrip("/")
    if not remote.startswith("http"):
        path.unlink() if content is None else path.write_bytes(content)
    elif content is None:
        del server[name]
    else:
        server[name] = content


@pytest.mark.parametrize("content", [b"", b"poison", b"x" * 100_000])
def test_a_poisoned_artifact_is_named_measured_and_healed(tmp_path, remote, capsys, content):
    address, files = remote
    Machine(tmp_path / "a", address)
    name = damaged(files(), "/cas/")
    good = files()[name]
    write(address, files(), name, content)
    second = Machine(tmp_path / "b", address)
    assert second.jobs == 1 and second.whole
    assert f"NOTE --remote: {name[1:]}: read other bytes than its name says" in capsys.readouterr().err
    assert files()[name] == good
    assert Machine(tmp_path / "c", address).jobs == 0


def test_a_missing_artifact_is_a_miss(tmp_path, remote):
    address, files = remote
    Machine(tmp_path / "a", address)
    write(address, files(), damaged(files(), "/cas/"), None)
    assert Machine(tmp_path / "b", address).jobs == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b'{"row": 1}', b'{"row": {"result": 1}}', b"[" * 100_000, b"\xff", b"x" * (17 << 20)],
    ids=range(9),
)
def test_a_row_that_is_none_is_named_and_healed(tmp_path, remote, capsys, content):
    address, files = remote
    first = Machine(tmp_path / "a", address)
    (name,) = [f"/ac/{key}" for key, result in first.results.items() if result.stage == "export"]
    write(address, files(), name, content)
    assert Machine(tmp_path / "b", address).jobs == 1
    assert f"NOTE --remote: {name[1:]}: read no" in capsys.readouterr().err
    assert Machine(tmp_path / "c", address).jobs == 0


def test_the_row_of_another_job_is_none_of_this(tmp_path, remote, capsys):
    address, files = remote
    first = Machine(tmp_path / "a", address)
    rows = [f"/ac/{key}" for key, result in first.results.items() if result.stage == "run"]
    write(address, files(), rows[0], files()[rows[1]])
    assert Machine(tmp_path / "b", address).jobs == 1
    assert "read no result of this job" in capsys.readouterr().err


def test_a_row_of_its_key_that_is_of_another_job_is_named_and_healed(tmp_path, remote, capsys):
    address, files = remote
    first = Machine(tmp_path / "a", address)
    name = next(f"/ac/{key}" for key, result in first.results.items() if result.stage == "run")
    row = json.loads(files()[name])
    row["row"]["result"]["environment"] = "of another"
    write(address, files(), name, json.dumps(row).encode())
    second = Machine(tmp_path / "b", address)
    assert second.jobs == 1 and second.results.keys() == first.results.keys()
    assert f"NOTE --remote: {name[1:]}: read the result of another job; it counts as missing" in capsys.readouterr().err
    assert Machine(tmp_path / "c", address).jobs == 0


def test_what_is_found_can_be_measured_again(tmp_path, remote, capsys):
    address, files = remote
    first, before = Machine(tmp_path / "a", address), files()
    second = Machine(tmp_path / "b", address, checked_percent=100)
    assert second.jobs == first.jobs == 13 and second.whole
    assert "remote: 13 results measured again, 0 of them end otherwise here" in capsys.readouterr().err
    assert files().keys() == before.keys()
    part = Machine(tmp_path / "c", address, checked_percent=50)
    assert 0 < part.jobs < 13, "each of the 13 at random: all or none is one run in 4,000"


def test_an_entry_that_was_not_measured_is_named_and_stays(tmp_path, remote, capsys):
    """One of an export that never failed, and one of a run with the outputs of another."""
    address, files = remote
    first = Machine(tmp_path / "a", address)
    key = next(key for key, result in first.results.items() if result.stage == "run")
    row = json.loads(files()[f"/ac/{key}"])
    output = next(each for each in row["row"]["result"]["outputs"] if each["name"] == "output_0.npy")
    other = next(result for result in first.results.values() if result.stage == "compile").outputs[0]
    output["digest"], output["size"] = other.digest, other.size
    poison = json.dumps(row).encode()
    write(address, files(), f"/ac/{key}", poison)
    assert Machine(tmp_path / "b", address).jobs == 0, "nothing tells it from a measured one"
    checked = Machine(tmp_path / "c", address, checked_percent=100)
    assert checked.results[key].outputs == first.results[key].outputs and files()[f"/ac/{key}"] == poison
    said = capsys.readouterr().err
    assert f"NOTE --remote: ac/{key}: " in said and f"read other bytes of {output['name']} than are made here" in said
    assert "13 results measured again, 1 of them end otherwise here" in said
    row["row"]["result"]["outcome"] = Outcome.FAILED.value
    write(address, files(), f"/ac/{key}", json.dumps(row).encode())
    Machine(tmp_path / "d", address, checked_percent=100)
    assert "read outcome failed, and here it is passed; this run has its own" in capsys.readouterr().err


def test_a_fault_of_a_machine_is_not_shared(tmp_path, remote):
    address, files = remote

    def ends(job):
        return JobEnd(key=job.key, end="lost", error="gone") if job.stage == "export" else None

    Machine(tmp_path / "a", address, ends=ends)
    assert files() == {}
    key = next(iter(Machine(tmp_path / "b", address).results))
    row = json.loads(files()[f"/ac/{key}"])
    row["row"]["result"]["outcome"] = Outcome.INFRASTRUCTURE.value
    write(address, files(), f"/ac/{key}", json.dumps(row).encode())
    assert Machine(tmp_path / "c", address).jobs == 1


@pytest.fixture
def server() -> Iterator[PutServer]:
    with serving() as opened:
        yield opened


@pytest.mark.parametrize("status", [401, 403, 413, 500, 507])
def test_a_place_that_takes_nothing_is_read_and_the_run_goes_on(tmp_path, server, capsys, status):
    Machine(tmp_path / "a", server.address)
    (name,) = [name for name in list(server.files) if name.startswith("/ac/")][:1]
    del server.files[name]
    server.answers["PUT"] = status
    assert Machine(tmp_path / "b", server.address).jobs == 1
    said = capsys.readouterr().err
    assert f"status {status}" in said and "nothing more is put there by this run" in said
    assert name not in server.files


def test_a_row_that_bazel_remote_refuses_has_the_option_that_it_needs(tmp_path, server):
    (tmp_path / "row").write_text("{}")
    server.answers["PUT"] = 400
    for name, told in (("ac", True), ("cas", False)):
        with pytest.raises(PlaceRefuses, match="status 400 to a PUT") as refused:
            place_of(server.address).put(f"{name}/{'a' * 64}", tmp_path / "row")
        assert ("only with --disable_http_ac_validation" in str(refused.value)) is told


def test_a_token_opens_it(tmp_path, server, capsys, monkeypatch):
    server.token = "open"
    Machine(tmp_path / "a", server.address)
    assert "read status 401, expected 200 or 404; from here on it is as if it were not there" in capsys.readouterr().err
    monkeypatch.setenv("IREE_MATRIX_REMOTE_TOKEN", "open")
    Machine(tmp_path / "b", server.address)
    assert Machine(tmp_path / "c", server.address).jobs == 0
    assert "open" not in capsys.readouterr().err.replace("opens", "")


def test_without_a_server_all_is_measured_and_it_is_said_once(tmp_path, capsys):
    with serving() as gone:
        address = gone.address
    machine = Machine(tmp_path / "a", address)
    assert machine.jobs == 13 and machine.whole
    said = capsys.readouterr().err
    assert said.count("NOTE --remote:") == 1 and "as if it were not there" in said


def test_a_server_that_ends_in_mid_run_loses_nothing(tmp_path, capsys):
    with serving() as server:

        def before(executor):
            if len(executor.carried_out) == 5:
                server.answers |= {"GET": 503, "PUT": 503}

        assert Machine(tmp_path / "a", server.address, before=before).jobs == 13
    assert capsys.readouterr().err.count("NOTE --remote:") == 1


def test_an_environment_of_another_machine_is_known_by_what_was_asked_for(tmp_path, remote):
    address, _ = remote
    (request, *_) = plan_in(tmp_path / "models", SQUARE).environments()
    known = KnownEnvironment(digest="d" * 64, refusal="", record="{}")

    def found(name: str, recipe: str, engine: str = "venv") -> list[KnownEnvironment]:
        with SharedStore(tmp_path / name, place_of(address)) as store:
            return store.environments_known(request, recipe, engine)

    assert isinstance(request, EnvironmentRequest)
    with SharedStore(tmp_path / "a", place_of(address)) as store:
        assert store.environments_known(request, "recipe of a", "venv") == []
        store.remember_environment("recipe of a", known)
    assert found("b", "recipe of b") == [known] == found("b", "recipe of b")
    assert found("b", "recipe of b", "docker") == []


def test_what_an_address_may_be(tmp_path):
    assert isinstance(place_of("http://127.0.0.1:8080/cache"), HttpPlace)
    assert isinstance(place_of("https://cache.example.org"), HttpPlace)
    for text in (str(tmp_path), f"file://{tmp_path}"):
        place = place_of(text)
        assert isinstance(place, FolderPlace) and place.folder == tmp_path
    for text in ("gs://bucket/x", "s3:///x", "sftp://", "http://", "ftp://host/x", "", "http://h:port"):
        with pytest.raises(UsageError, match=r"--remote: read .* expected a folder, http://HOST"):
            place_of(text)
