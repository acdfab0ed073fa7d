"""The workflows: valid, without a way in, pinned, and made of commands that exist. They cannot be run here; what of
them is plain shell is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from matrix.cli.verbs import make_parser

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def tool(*words: str) -> None:
    done = subprocess.run([*words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path)["jobs"]


def scripts() -> list[str]:
    return [step["run"] for path in WORKFLOWS for job in jobs(path).values() for step in job["steps"] if "run" in step]


def script(job: str, name: str) -> str:
    """One step's shell, as GitHub would run it."""
    (found,) = [step["run"] for step in jobs(WORKFLOWS[0])[job]["steps"] if step.get("name") == name]
    return found


def test_there_is_one():
    assert [path.name for path in WORKFLOWS] == ["pages.yml"]


def test_they_are_of_github_s_schema():
    words = ("--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))
    tool(str(Path(sys.executable).with_name("check-jsonschema")), *words)


def test_zizmor_finds_no_way_in():
    tool(str(Path(sys.executable).with_name("zizmor")), "--offline", "--persona", "pedantic", *map(str, WORKFLOWS))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_its_version(path):
    lines = [line.strip().removeprefix("- ") for line in path.read_text(encoding="utf-8").splitlines()]
    uses = [line for line in lines if line.startswith("uses:")]
    assert uses and not [line for line in uses if not PINNED.match(line)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_that_may_write_runs_no_code_of_packages(path):
    for name, job in jobs(path).items():
        writes = "write" in job["permissions"].values()
        runs = " ".join(step.get("run", "") for step in job["steps"])
        assert not (writes and re.search(r"\b(python|pip|nox|uv|npm)\b", runs)), name


def test_every_command_exists():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    text = "\n".join(scripts())
    sessions = re.findall(r"nox -s (\w+)", text)
    assert sessions and all(f"\ndef {session}(session" in noxfile for session in sessions)
    commands = re.findall(r"python -m matrix ([^|\n]+)", text)
    assert commands
    for command in commands:
        make_parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("text", scripts(), ids=range(len(scripts())))
def test_the_shell_reads_every_script(text):
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=20)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.mark.parametrize("found", ["no", "yes"])
def test_new_locks_become_a_patch_and_new_results_alone_do_not(tmp_path, found):
    """The steps themselves, in a repository of their own: results differ from machine to machine, locks do not."""
    here, other, temp = tmp_path / "here", tmp_path / "other", tmp_path / "temp"
    for folder in (here / "images", here / "results", temp / "out"):
        folder.mkdir(parents=True)
    (here / "images" / "a.txt").write_text("3.13.0\n")
    (here / "results" / "portability.json").write_text("{}\n")
    git(here, "init", "--quiet")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message", "first")
    git(tmp_path, "clone", "--quiet", str(here), str(other))
    (here / "results" / "portability.json").write_text('{"measured": "anew"}\n')
    if found == "yes":
        (here / "images" / "b.txt").write_text("3.14.0\n")
    output = temp / "output"
    env = {**os.environ, "RUNNER_TEMP": str(temp), "GITHUB_OUTPUT": str(output)}
    run = ["bash", "-e", "-o", "pipefail", "-c"]
    subprocess.run([*run, script("releases", "The difference as a patch")], cwd=here, env=env, check=True, timeout=60)
    assert output.read_text() == f"found={found}\n"
    assert (temp / "out" / "releases.patch").exists() is (found == "yes")
    if found == "yes":
        apply = script("propose", "A branch and its pull request, made or brought up to date").splitlines()[0]
        subprocess.run([*run, apply], cwd=other, env=env, check=True, timeout=60)
        changed = git(other, "diff", "--cached", "--name-only").split()
        assert changed == ["images/b.txt", "results/portability.json"]


# -- the workflow and the script that `shards` makes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of `quick` in 3 shards."""
    folder = tmp_path_factory.mktemp("made")
    files = {"github": folder / "shards.yml", "slurm": folder / "shards.sh"}
    for kind, path in files.items():
        words = ["shards", "quick", "--shards", "3", "--disk-budget", "12", "--format", kind, "--output", str(path)]
        tool(sys.executable, "-m", "matrix", *words)
    return files


def test_the_made_workflow_is_valid_and_has_no_way_in(made):
    beside = Path(sys.executable)
    check = ("--builtin-schema", "vendor.github-workflows", str(made["github"]))
    tool(str(beside.with_name("check-jsonschema")), *check)
    tool(str(beside.with_name("zizmor")), "--offline", "--persona", "pedantic", str(made["github"]))


def test_the_made_workflow_takes_the_actions_that_the_committed_one_has(made):
    found = set(re.findall(r"uses: (\S+ # \S+)", made["github"].read_text(encoding="utf-8")))
    assert len(found) == 4
    assert found <= set(re.findall(r"uses: (\S+ # \S+)", WORKFLOWS[0].read_text(encoding="utf-8")))


def test_every_command_of_the_made_files_exists(made):
    for kind, path in made.items():
        text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
        lines = re.findall(r"^\s+python -m matrix (.+)", text, re.MULTILINE)
        assert len(lines) == 6, kind
        for line in lines:
            words = [re.sub(r"\$\w+", "1", word) for word in shlex.split(line.partition(" >> ")[0])]
            make_parser().parse_args(words)


def test_the_shell_reads_the_made_scripts(made):
    steps = [step["run"] for job in jobs(made["github"]).values() for step in job["steps"] if "run" in step]
    for text in (*steps, made["slurm"].read_text(encoding="utf-8")):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=20)
