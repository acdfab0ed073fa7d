"""The README's first command, whole: the 225 cells of `portability` from an empty store, against what is published."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import documents
import pytest
from pace import allowed

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
PUBLISHED = json.loads((ROOT / "results" / "portability.json").read_text())


def call(command: str, store: Path) -> subprocess.CompletedProcess[str]:
    """A `python -m matrix ...` line as the documents have it, on a store of the test's own."""
    files = {word: "results/portability.json" for word in ("a.json", "b.json", "run.json")}
    files |= {word: "tests/data/vmfb/plain-3.13.0.vmfb" for word in ("model.vmfb", "a.vmfb", "b.vmfb")}
    made = ("m.mlir", "report.html", "run.html", "linear.svg", "square.svg")
    files |= {word: str(store.parent / word) for word in made}
    words = [files.get(word, word) for word in shlex.split(command)]
    assert words[:3] == ["python", "-m", "matrix"]
    argv = [sys.executable, *words[1:], "--store", str(store)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], float]:
    store = tmp_path_factory.mktemp("portability") / "store"
    begun = time.monotonic()
    done = call("python -m matrix run portability --format json", store)
    return store, done, time.monotonic() - begun


def test_225_cells_are_accounted_for(first) -> None:
    _, done, seconds = first
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    print(f"portability from an empty store: {seconds:.0f} s")
    assert len(cells) == 225
    assert not [cell for cell in cells if cell["outcome"] in ("untested", "infrastructure", "blocked")]
    assert all(cell["evidence"]["jobs"] and cell["evidence"]["reproduce"] for cell in cells)


def test_every_cell_is_as_published(first) -> None:
    def seen(document: dict) -> dict[str, tuple]:
        return {
            json.dumps(cell["axes"]): (cell["outcome"], cell["stage"], cell["signature"]) for cell in document["cells"]
        }

    assert seen(json.loads(first[1].stdout)) == seen(PUBLISHED)


def test_progress_is_there_from_the_first_seconds(first) -> None:
    moments = [float(moment) for moment in re.findall(r"^\[ *([\d.]+) s\]", first[1].stderr, re.MULTILINE)]
    assert moments[0] < 5
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) < allowed(30)


def test_a_second_call_runs_nothing_and_takes_less_than_a_second(first) -> None:
    taken = []
    for _ in range(3):  # the other core is at work on other tests
        begun = time.monotonic()
        done = call("python -m matrix run portability", first[0])
        taken.append(time.monotonic() - begun)
        assert done.returncode == 0
        assert "0 jobs run, 241 reused" in done.stderr
    assert min(taken) < allowed(1), f"{min(taken):.2f} s"


def test_the_readme_shows_what_the_command_prints(first) -> None:
    printed = call("python -m matrix show portability", first[0]).stdout.strip()
    shown = (ROOT / "README.md").read_text().split("<!-- what `nox -s matrix` prints -->\n```\n")[1].split("\n```")[0]
    assert shown.strip() == printed


@pytest.mark.parametrize("command", documents.RUN)
def test_every_command_of_the_documents_works(first, command: str) -> None:
    done = call(command, first[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_pasted_command_of_why_gives_the_same_message(first) -> None:
    told = call("python -m matrix why compiler=3.8.0 runtime=3.11.0", first[0]).stdout
    message = re.search(r"^message +(.*)$", told, re.MULTILINE)
    line = told.split("reproduce\n")[1].splitlines()[0]
    again = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert message and message[1] in again.stderr


@pytest.mark.full
def test_the_commands_of_an_issue_show_the_failure(first, tmp_path) -> None:
    told = call("python -m matrix diff compiler 3.9.0 3.10.0 --results run.json --issue", first[0]).stdout
    message, lines = (text.split("\n```")[0] for text in re.split(r"^```\n", told, flags=re.MULTILINE)[1:4:2])
    commands = lines.replace("python -m matrix export", f"{shlex.quote(sys.executable)} -m matrix export")
    export, *others = commands.splitlines()
    script = "\n".join([f"{export} --store {shlex.quote(str(first[0]))}", *others])
    words = {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    again = subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env=os.environ | words,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert again.returncode == 1
    assert message.split(": ", 1)[1].split(";")[1] in again.stderr  # a location of IREE's sources stands before it


def test_what_is_published_names_no_machine() -> None:
    text = (ROOT / "results" / "portability.json").read_text()
    assert not re.search(r'"[^"]*(?<![\w.])/(?:root|home|tmp|var|work|usr)/', text)


def test_the_pasted_command_of_an_export_writes_the_same_mlir(first, tmp_path) -> None:
    spec = tmp_path / "export.toml"
    spec.write_text(
        'format = 1\nname = "export"\nquestion = "Does it export?"\nstages = ["export"]\n'
        '[axes]\ntorch = "2.9.1"\nturbine = "3.9.0"\ncompiler = "3.8.0"\nruntime = "3.8.0"\n'
    )
    assert "1 passed" in call(f"python -m matrix run {spec}", first[0]).stdout  # the job of portability answers it
    told = call(f"python -m matrix why --preset {spec}", first[0]).stdout
    line = told.split("reproduce\n")[1].splitlines()[0] + " && sha256sum module.mlir"
    again = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.split()[0] in told
