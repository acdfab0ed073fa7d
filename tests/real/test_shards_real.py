"""A run in shards, each in a store of its own, merged: the same table and artifacts as one run on one machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import RELEASES, ROOT, Ran, good, matrix, surroundings, wait_for, write_spec
from ruamel.yaml import YAML
from sharded import changed
from slurm_here import slurm

pytestmark = pytest.mark.real


def in_shards(spec: object, count: int, folder: Path) -> list[Path]:
    """Both waves of a spec, each shard in a new store that goes with it. Returns the bundles."""
    bundles: list[Path] = []
    store = folder / "shard"
    for wave in (1, 2):
        before = list(bundles)
        for number in range(1, count + 1):
            bundles.append(folder / f"{wave}-{number}.zip")
            if before:
                good("merge", *before, "--store", store)
            words = ("--wave", wave, "--shard", f"{number}/{count}", "--bundle", bundles[-1])
            good("run", spec, *words, "--store", store, timeout=900.0)
            shutil.rmtree(store)
    return bundles


def merged_as(spec: object, bundles: list[Path], store: Path, target: Path) -> Ran:
    """The table of bundles as JSON, and what the merge said."""
    ran = good("merge", *bundles, "--store", store)
    good("show", spec, "--store", store, "--format", "json", "--output", target)
    return ran


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Path]:
    """A spec without an export, its bundles in two shards, and the JSON of one whole run."""
    folder = tmp_path_factory.mktemp("sharded")
    spec = write_spec(folder / "spec", compilers=RELEASES[::2], runtimes=RELEASES[::2])
    good("run", spec, "--store", folder / "whole", "--format", "json", "--output", folder / "whole.json")
    return spec, in_shards(spec, 2, folder), folder / "whole.json"


def test_two_shards_are_one_run(sharded, tmp_path):
    spec, bundles, whole = sharded
    ran = merged_as(spec, bundles[::-1], tmp_path / "store", tmp_path / "merged.json")
    assert "4 bundles of square: 6 results, 6 of them new" in ran.err
    good("compare", whole, tmp_path / "merged.json")
    again = good("run", spec, "--store", tmp_path / "store")
    assert again.jobs_run == 0 and "environments made" not in again.err


def test_a_poisoned_bundle_is_named_and_the_rest_is_merged(sharded, tmp_path):
    spec, bundles, whole = sharded

    def poison(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.startswith("blobs/"))
        files[name] = bytes(len(files[name]))

    bad = changed(bundles[0], tmp_path / "bad.zip", poison)
    ran = matrix("merge", bad, *bundles[1:], "--store", tmp_path / "store")
    assert ran.status == 2 and f"ERROR {bad}: the artifact" in ran.err and "all else was merged" in ran.err
    merged_as(spec, bundles, tmp_path / "store", tmp_path / "merged.json")
    good("compare", whole, tmp_path / "merged.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "5/4"), "--shard: read '5/4', expected one of several shards"),
        (("--shard", "0/4"), "--shard: read '0/4'"),
        (("--shard", "1/2"), "read --shard without --wave and --bundle, expected all three"),
        (("--wave", "1", "--shard", "1/2", "--bundle", "x.zip", "--format", "json"), "a shard has no table"),
        (("--wave", "3", "--shard", "1/2", "--bundle", "x.zip"), "--wave: read 3, expected one of 1, 2"),
        (
            ("--wave", "2", "--shard", "1/2", "--bundle", "x.zip"),
            "has no result of the 2 jobs that this shard builds on",
        ),
    ],
)
def test_bad_words_are_told_and_nothing_runs(sharded, tmp_path, words, message):
    ran = matrix("run", sharded[0], *words, "--store", tmp_path / "store", cwd=tmp_path)
    assert ran.status == 2 and message in ran.err, ran.err
    assert "TIP " in ran.err
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.full
def test_portability_in_4_shards_is_one_run(tmp_path):
    bundles = in_shards("portability", 4, tmp_path)
    ran = merged_as("portability", bundles, tmp_path / "store", tmp_path / "merged.json")
    assert "8 bundles of portability: 211 results, 211 of them new" in ran.err and "contents of one key" not in ran.err
    words = ("--store", tmp_path / "whole", "--format", "json", "--output", tmp_path / "whole.json")
    good("run", "portability", *words, timeout=900.0)
    compared = good("compare", tmp_path / "whole.json", tmp_path / "merged.json")
    print(compared.out)
    cells = [json.loads((tmp_path / name).read_text())["cells"] for name in ("whole.json", "merged.json")]
    assert len(cells[0]) == len(cells[1]) == 225
    again = good("run", "portability", "--store", tmp_path / "store")
    assert again.jobs_run == 0 and "environments made" not in again.err


# -- the files that carry shards out elsewhere, line by line


def surrounded(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a machine of its own: `python` is this one, its store is below a folder."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    python.unlink(missing_ok=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    words = {"PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return surroundings(XDG_CACHE_HOME=str(folder / "cache"), **words, **more)


def shell(text: str, folder: Path, env: dict[str, str]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["bash", "-e", "-o", "pipefail", "-c", text]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full
def test_the_lines_of_the_made_workflow_give_the_table_of_one_run(sharded, tmp_path):
    spec, _, whole = sharded
    made = tmp_path / "shards.yml"
    good("shards", spec, "--shards", 2, "--format", "github", "--output", made, "--store", tmp_path / "none")
    found = YAML(typ="safe").load(made)["jobs"]
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    for name in ("wave1", "wave2", "table"):
        (text,) = [step["run"] for step in found[name]["steps"] if step.get("name") in ("Run", "Merge")]
        taken = [step["with"]["path"] for step in found[name]["steps"] if "download-artifact" in step.get("uses", "")]
        for number in found[name].get("strategy", {}).get("matrix", {}).get("shard", [0]):
            folder = tmp_path / f"{name}-{number}"
            for each in taken:
                shutil.copytree(artifacts, folder / each)
            summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "SHARD": str(number)}
            shell(text, folder, surrounded(tmp_path / f"machine-{name}-{number}", **summary))
            for bundle in (folder / "bundles").glob(f"{name[-1]}-*.zip"):
                shutil.copy(bundle, artifacts)
    good("compare", whole, tmp_path / "table-0" / "run.json")
    assert "4 cells" in (tmp_path / "table-0" / "summary.md").read_text()


@pytest.mark.full
def test_the_steps_of_the_made_slurm_script_give_the_table_of_one_run(sharded, tmp_path):
    """Each step as Slurm starts it, and what is submitted: the words for a `sbatch` that writes them down."""
    spec, _, whole = sharded
    made, shared = tmp_path / "shards.sh", tmp_path / "shared"
    good("shards", spec, "--shards", 2, "--format", "slurm", "--output", made, "--store", tmp_path / "none")
    env = surrounded(tmp_path / "machine")
    sbatch = tmp_path / "machine" / "bin" / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "STEP=$STEP $*" >> {tmp_path}/submitted\nwc -l < {tmp_path}/submitted\n')
    sbatch.chmod(0o755)
    shell(f"bash {made} {shared}", tmp_path, env)
    submitted = (tmp_path / "submitted").read_text().splitlines()
    assert [line.split()[0] for line in submitted] == ["STEP=1", "STEP=2", "STEP=table"]
    assert "--array=1,2" in submitted[0] and "--dependency=afterany:1" in submitted[1]
    for step in ("1", "2"):
        for number in ("1", "2"):
            job = {"STEP": step, "SLURM_ARRAY_TASK_ID": number, "SLURM_JOB_ID": f"{step}{number}"}
            shell(f"bash {made} {shared}", tmp_path, {**env, **job})
    assert "4 cells" in shell(f"bash {made} {shared}", tmp_path, {**env, "STEP": "table", "SLURM_JOB_ID": "9"})
    good("compare", whole, shared / "run.json")
    assert not list((tmp_path / "machine").glob("iree-matrix-*"))


@pytest.mark.full
def test_slurm_itself_carries_out_the_made_script(sharded, tmp_path):
    """Real Slurm of one node; a shard whose node is lost is queued again, as Slurm does for it."""
    spec, _, whole = sharded
    made, shared = tmp_path / "shards.sh", tmp_path / "shared"
    good("shards", spec, "--shards", 2, "--format", "slurm", "--output", made, "--store", tmp_path / "none")
    with slurm(tmp_path / "slurm") as cluster:
        env = surrounded(tmp_path / "machine", SLURM_CONF=str(cluster.conf))
        submitted = shell(f"bash {made} {shared}", tmp_path, env)
        assert "Submitted batch job" in submitted
        wait_for(lambda: any(" 1 RUNNING" in line for line in cluster.queue), seconds=120)
        jobs = [line.split() for line in cluster.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()]
        cluster.ask("scontrol", "requeue", next(job for job, state in jobs if state == "RUNNING"))
        cluster.wait_until_over(600)
    said = "\n".join(path.read_text() for path in tmp_path.glob("slurm-*.out"))
    assert {path.name for path in shared.iterdir()} == {"1-1.zip", "1-2.zip", "2-1.zip", "2-2.zip", "run.json"}, said
    good("compare", whole, shared / "run.json")
    assert "4 cells" in said and not list((tmp_path / "machine").glob("iree-matrix-*"))
