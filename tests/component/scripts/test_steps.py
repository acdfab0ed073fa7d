"""The program that runs the commands of a build, in an environment as the engine makes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = Path(__file__).parents[3] / "scripts" / "steps.py"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter whose environment has a tree, by a link."""
    root, tool = tmp_path / "environment", tmp_path / "elsewhere"
    (root / "bin").mkdir(parents=True)
    (root / "trees").mkdir()
    tool.mkdir()
    (root / "trees" / "tool").symlink_to(tool)
    (root / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (root / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    return root / "bin" / "python"


def steps(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    argv = [python, STEPS, *words]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=30)


def test_commands_run_in_order_with_their_variables_and_folders(python: Path, tmp_path: Path) -> None:
    done = steps(
        python,
        "PLACE={tool}/x",
        "--",
        "sh",
        "-c",
        "echo $PLACE > made",
        "--then",
        "cp",
        "made",
        "{tool}/copy",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "elsewhere" / "copy").read_text() == f"{tmp_path}/elsewhere/x\n"


def test_the_first_failure_ends_it_with_its_status(python: Path, tmp_path: Path) -> None:
    done = steps(python, "--", "sh", "-c", "exit 3", "--then", "touch", "later", cwd=tmp_path)
    assert done.returncode == 3
    assert not (tmp_path / "later").exists()
    assert done.stdout.splitlines() == ["$ sh -c exit 3", "exit status 3 of sh"]


def test_a_signal_is_an_exit_status_as_in_a_shell(python: Path, tmp_path: Path) -> None:
    assert steps(python, "--", "sh", "-c", "kill -ILL $$", cwd=tmp_path).returncode == 132


def test_what_is_printed_names_no_folder_of_the_machine(python: Path, tmp_path: Path) -> None:
    done = steps(python, "--", "sh", "-c", "echo {tool}/a {here}/b {nobody}; pwd >&2", cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == ["{tool}/a {here}/b {nobody}", "{here}"]
    assert str(tmp_path) not in done.stdout
