"""Files named by their sha256, and what becomes of a run whose files were damaged."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from answering import AnsweringExecutor, plan_in
from stores import put

from matrix.core.errors import BlobDamaged
from matrix.core.records import JobEnd
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.store import Store

BODY = '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = "2.9.0"\n'
MORE = BODY.replace('runtime = "2.9.0"', 'runtime = ["2.9.0", "3.0.0"]')


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store") as opened:
        yield opened


def zeroed(store: Store, digest: str) -> None:
    """What a power failure leaves: the size, and no bytes."""
    blob = store.blob(digest)
    size = blob.stat().st_size
    blob.unlink()
    blob.write_bytes(bytes(size))


def carry_out(store: Store, body: str, **answers):
    plan = plan_in(store.folder.parent / "models", body)
    executor = AnsweringExecutor(store, **answers)
    with (store.folder.parent / "progress").open("w") as stream:
        summary = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=executor).run()
    return [job.stage for job in executor.carried_out], [state.result for state in summary.states]


def all_whole(store: Store) -> bool:
    blobs = list(store.blobs.glob("*/*"))
    return bool(blobs) and all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in blobs)


def output(results, stage: str, name: str) -> str:
    return next(
        each.digest for result in results if result.stage == stage for each in result.outputs if each.name == name
    )


def test_a_blob_is_put_over_a_damaged_one_of_the_same_size(store):
    artifact = put(store, b"abcdef")
    zeroed(store, artifact.digest)
    assert not store.whole(artifact.digest)
    assert put(store, b"abcdef") == artifact
    assert store.whole(artifact.digest)
    assert store.read(artifact.digest) == b"abcdef"


def test_damage_is_noticed_before_and_after_a_blob_was_read(store):
    artifact = put(store, b"abcdef")
    assert store.whole(artifact.digest)
    zeroed(store, artifact.digest)
    assert not store.whole(artifact.digest)
    with pytest.raises(BlobDamaged, match="its bytes changed on this disk"):
        store.read(artifact.digest)
    store.drop(artifact.digest)
    assert not store.whole(artifact.digest)
    with pytest.raises(BlobDamaged, match="cannot be read: No such file"):
        store.read(artifact.digest)


def test_a_blob_is_read_again_where_that_is_asked(store):
    """A disk may lose bytes and keep the times of a file."""
    artifact = put(store, b"abcdef")
    blob = store.blob(artifact.digest)
    before = blob.stat()
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.write(b"x")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.whole(artifact.digest)
    assert not store.whole(artifact.digest, again=True)
    assert not store.whole(artifact.digest)


def test_a_damaged_reference_is_made_again_before_anything_is_compared(store):
    stages, first = carry_out(store, BODY)
    assert sorted(stages) == ["compile", "compile", "export", "run", "run"]
    zeroed(store, output(first, "export", "expected_0.npy"))
    stages, second = carry_out(store, BODY)
    assert stages == ["export"]
    assert [result.outputs for result in second] == [result.outputs for result in first]
    assert all_whole(store)


def test_a_damaged_output_is_made_again_before_it_is_compared(store):
    _, first = carry_out(store, BODY)
    zeroed(store, output(first, "run", "output_0.npy"))
    stages, second = carry_out(store, BODY)
    assert stages == ["run"]
    assert [result.outputs for result in second] == [result.outputs for result in first]
    assert all_whole(store)


@pytest.mark.parametrize(
    ("stage", "name", "again"),
    [("compile", "module.vmfb", ["compile", "run", "run"]), ("export", "input_0.npy", ["export", "run", "run"])],
)
def test_a_damaged_input_is_made_again_before_a_job_takes_it(store, stage, name, again):
    """Another runtime needs the modules of a run that is over: the damaged ones among them are made first."""
    _, first = carry_out(store, BODY)
    zeroed(store, output(first, stage, name))
    stages, results = carry_out(store, MORE)
    assert sorted(stages) == again
    assert all(result.outcome == "passed" for result in results)
    assert all_whole(store)
    stages, _ = carry_out(store, MORE)
    assert stages == []


def test_an_input_that_is_lost_while_its_job_runs_is_made_again(store):
    """As the executor does it after a bad end: it drops what is damaged, and says lost."""
    lost: list[str] = []

    def ends(job):
        if job.stage != "run" or lost:
            return None
        lost.extend(digest for name, digest in job.inputs if name == "module.vmfb")
        store.drop(lost[0])
        return JobEnd(key=job.key, end="lost", error="module.vmfb was damaged")

    stages, results = carry_out(store, MORE, ends=ends)
    assert stages.count("run") == 4 + 1 + 1, "the lost one, and the one that read the same module meanwhile"
    assert sorted(set(stages) - {"run"}) == ["compile", "export"] and stages.count("compile") == 3
    assert all(result.outcome == "passed" for result in results)
    assert all_whole(store)


def test_all_inputs_lost_at_once_are_made_again_once(store):
    carry_out(store, BODY)
    for blob in list(store.blobs.glob("*/*")):
        zeroed(store, blob.name)
    stages, _ = carry_out(store, MORE)
    assert sorted(stages) == ["compile", "compile", "export", "run", "run", "run", "run"]
    assert all_whole(store)


def test_a_job_that_fails_when_it_is_done_again_blocks_what_waits_for_it(store):
    _, first = carry_out(store, BODY)
    zeroed(store, output(first, "export", "input_0.npy"))

    def ends(job):
        return JobEnd(key=job.key, end="exited", exit_code=1, log="error: no") if job.stage == "export" else None

    plan = plan_in(store.folder.parent / "models", MORE)
    executor = AnsweringExecutor(store, ends=ends)
    with (store.folder.parent / "progress").open("w") as stream:
        summary = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=executor).run()
    standing = [state.result.outcome if state.result else state.obstacle[0] for state in summary.states]
    assert standing.count("failed") == 1
    assert set(standing) <= {"failed", "blocked", "passed"}
