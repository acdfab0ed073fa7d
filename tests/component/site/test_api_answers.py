"""`why`, `advise`, `check` and `whatis` with `--results`: the same answers from a built site as from the committed
results, and a clear refusal of what is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from site_checks import API_RUNS

from matrix.cli.main import main
from matrix.core.errors import ResultsFault
from matrix.results.published.index import API_FOLDER, INDEX_PATH

MODULE = Path(__file__).parents[2] / "data" / "vmfb" / "bare-3.13.0.vmfb"
PINS = "iree-base-compiler==3.9.0\niree-base-runtime==3.11.0\n"
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path, capsys) -> Say:
    """The command line with a store of its own: exit status, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        status = main([*map(str, words), "--store", str(tmp_path / "store")])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return status, said.out, said.err

    return call


@pytest.fixture
def questions(tmp_path) -> list[list[str]]:
    pins = tmp_path / "pins.txt"
    pins.write_text(PINS, encoding="utf-8")
    return [
        ["why", "compiler=3.8.0", "runtime=3.11.0"],
        ["why", "compiler=3.8.0", "runtime=3.11.0", "model=llama_2l"],
        ["advise", "--model", "llama_2l", "--python", "3.11", "--target", "x86_64"],
        ["check", str(pins), "--target", "x86_64"],
        ["whatis", str(MODULE)],
    ]


def test_a_site_answers_as_the_results_from_which_it_was_built(site, questions, say):
    files = [word for path in API_RUNS for word in ("--results", path)]
    statuses = []
    for question in questions:
        expected = say(*question, *files)
        statuses.append(expected[0])
        for place in (site, site / API_FOLDER, site / INDEX_PATH):
            assert say(*question, "--results", place) == expected, (question, place)
    assert statuses == [0, 0, 0, 1, 0]


def test_without_results_the_committed_ones_answer_alike(site, questions, say):
    """The first question is one of the committed portability, which is on the site."""
    assert say(*questions[0], "--results", site) == say(*questions[0])


def broken(folder: Path, what: str) -> str:
    """Breaks a copy of a site; what the message must have."""
    index = folder / INDEX_PATH
    document = json.loads(index.read_text(encoding="utf-8"))
    if what == "changed":
        file = folder / "data" / "portability.json"
        file.write_text(file.read_text(encoding="utf-8").replace("vm-features", "vm-feature"), encoding="utf-8")
        return f"{file}: read a file of sha256"
    if what == "cut":
        file = folder / "data" / "models.json"
        file.write_bytes(file.read_bytes()[:-1000])
        return f"{file}: read a file of sha256"
    if what == "gone":
        (folder / "data" / "models.json").unlink()
        return "models.json: read nothing (No such file or directory), expected a file of the site"
    if what == "an older site":
        shutil.rmtree(folder / "api")
        return f"{folder}: read a site without {INDEX_PATH}, expected one that has it"
    if what == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
        return f"{folder}: read no {INDEX_PATH} and no .json, expected a built site or runs"
    texts = {
        "a later version": (json.dumps({**document, "api": 2}), "read version 2 of the API, expected 1"),
        "a page": ("<!doctype html><title>x", "not an index of results: line 1: read '<!doctype html>"),
        "a cut index": (index.read_text(encoding="utf-8")[:-300], "not an index of results: line 1: read "),
        "no runs": (json.dumps({**document, "runs": []}), "runs: read none, expected some"),
        "a way out": (
            json.dumps({**document, "runs": [{**document["runs"][0], "path": "../../etc/passwd"}]}),
            "runs[0].path: read '../../etc/passwd', expected a path below the site",
        ),
    }
    text, expected = texts[what]
    index.write_text(text, encoding="utf-8")
    return expected


@pytest.mark.parametrize(
    "what",
    [
        *("changed", "cut", "gone", "an older site", "empty", "a later version", "a page", "a cut index", "no runs"),
        "a way out",
    ],
)
def test_what_is_no_site_is_refused_with_its_place_and_what_to_do(site, tmp_path, say, what):
    folder = tmp_path / "site"
    shutil.copytree(site / "api", folder / "api")
    shutil.copytree(site / "data", folder / "data")
    shutil.copy(site / "site.json", folder)
    expected = broken(folder, what)
    status, out, err = say("why", "compiler=3.8.0", "runtime=3.11.0", "--results", folder)
    assert (status, out) == (ResultsFault.exit_code, "")
    assert str(folder) in err and expected in err and "TIP " in err
