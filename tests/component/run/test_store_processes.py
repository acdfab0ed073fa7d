"""Several processes on one store: claims, killed writers, scratch folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from debian_programs import program
from pace import allowed
from stores import ROOT, other

from matrix.run.claims import MachineTurn
from matrix.run.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


# -- other processes


def test_a_claim_is_one_processs_and_ends_with_kill_9(folder):
    with Store(folder) as store, other(folder, "assert store.claims.take('job')") as process:
        assert not store.claims.take("job")
        assert store.claims.take("another job")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.claims.take("job")
        assert not store.claims.take("job")
        store.claims.release("job")
        assert store.claims.take("job")


def test_closing_one_store_does_not_release_the_claims_of_another_process(folder):
    with Store(folder) as store, other(folder, "assert store.claims.take('job')"):
        Store(folder, read_only=True).close()
        assert not store.claims.take("job")


def test_a_killed_writer_leaves_whole_results_only(folder):
    code = (
        "sys.path.insert(0, sys.argv[2])\nimport itertools\nfrom samples import result\n"
        "for i in itertools.count():\n"
        "    store.record(result(key=f'k{i}', outputs=()))\n"
        "    i == 9 and print('ready', flush=True)"
    )
    with other(folder, code, str(ROOT / "tests" / "helpers")) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Store(folder) as store:
        rows = store._database.rows("SELECT key FROM results")
        assert len(rows) >= 10
        assert all(store.result(key) for (key,) in rows)


def test_the_scratch_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not(folder):
    with other(folder, "(store.places.scratch / 'left').write_text('x')") as process:
        with Store(folder):
            assert len(list((folder / "scratch").iterdir())) == 2
        assert len(list((folder / "scratch").iterdir())) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Store(folder) as store:
            assert list((folder / "scratch").iterdir()) == [store.places.scratch]
    assert list((folder / "scratch").iterdir()) == []


def test_processes_make_the_same_store_at_once(folder):
    code = "import sys, pathlib\nfrom matrix.run.store import Store\nStore(pathlib.Path(sys.argv[1])).close()"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]
    assert [maker.communicate(timeout=30)[1] for maker in makers] == [""] * 4
    with Store(folder) as store:
        assert store._database.missing_migrations() == []


def test_only_one_can_hold_the_store_alone(folder):
    with Store(folder) as store:
        with other(folder, "assert store.claims.take_store(alone=False)"):
            assert not store.claims.take_store(alone=True)
            assert store.claims.take_store(alone=False)
        assert store.claims.take_store(alone=True)


# -- the machine

TAKES = "from matrix.run.claims import MachineTurn\nturn = MachineTurn([pathlib.Path(sys.argv[2])])\nassert turn.take()"


def test_one_process_of_the_machine_measures_whatever_its_store_is(folder, tmp_path):
    turn = MachineTurn([tmp_path])
    with other(folder, TAKES, str(tmp_path)) as process:
        assert not turn.take()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert turn.take()


def test_a_container_that_sees_the_folder_takes_part_and_its_end_lets_go(tmp_path):
    """Processes, mounts, network and host name of its own; of this machine's files it may write one folder."""
    code = f"import pathlib, sys, time\n{TAKES}\nprint('ready', flush=True)\ntime.sleep(600)"
    words = ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--tmpfs", "/run", "--proc", "/proc"]
    words += ["--dev", "/dev", "--bind", str(tmp_path), str(tmp_path), sys.executable, "-c", code, "", str(tmp_path)]
    turn = MachineTurn([tmp_path])
    with subprocess.Popen(
        [program("bwrap", "bubblewrap"), *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as container:
        assert container.stdout.readline() == "ready\n"
        assert not turn.take()
        container.kill()
        container.wait()
        deadline = time.monotonic() + allowed(10)
        while not turn.take():
            assert time.monotonic() < deadline, "the container's claim outlives it"
            time.sleep(0.01)
