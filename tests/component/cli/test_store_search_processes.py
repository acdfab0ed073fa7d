"""What was measured once is found again by the model's content, whatever it is called; printed commands work."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from own_tools import at_desk, make_desk

GIVEN = ("--inputs", "x.npy", "--expected", "x.npy", "--compiler", "./kit", "--runtime", "./kit")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk on which `m/held.mlir` was measured, with tools of one's own and the preset `quick`."""
    made = make_desk(tmp_path_factory.mktemp("desk"), "a+")
    ran = at_desk(made, "run", "models", "--model", "m/held.mlir", *GIVEN)
    assert ran.status == 0 and "1 passed" in ran.out, ran.out + ran.err
    shutil.copy(made / "m" / "held.mlir", made / "moved.mlir")
    return made


@pytest.mark.parametrize("model", ["m/held.mlir", "held", "moved.mlir"])
def test_why_finds_it_by_its_path_its_name_and_its_content(desk, model):
    told = at_desk(desk, "why", "--model", model)
    assert told.status == 0, told.err
    assert "outcome    passed" in told.out and "compiler=kit" in told.out


def test_a_model_in_the_place_of_a_preset_is_the_model(desk):
    told = at_desk(desk, "plan", "m/held.mlir", *GIVEN)
    assert told.status == 0 and re.search(r"^cells +1, 1 done$", told.out, re.MULTILINE), told.out + told.err
    assert at_desk(desk, "plan", "none.mlir").status == 2


def test_a_path_is_a_name_among_the_words_for_a_cell_too(desk):
    assert "outcome    passed" in at_desk(desk, "why", "model=m/held.mlir", "compiler=kit").out
    listed = at_desk(desk, "show", "models", "--model", "m/held.mlir", *GIVEN, "--only", "model=m/held.mlir")
    assert "1 passed" in listed.out, listed.err


@pytest.mark.parametrize("model", ["m/held.mlir", "held", "moved.mlir"])
def test_advise_answers_from_the_store(desk, model):
    told = at_desk(desk, "advise", "--model", model)
    assert told.status == 0, told.err
    assert re.search(rf"^for +model {Path(model).stem}, target x86_64", told.out, re.MULTILINE)
    (command,) = re.findall(r"^reproduce +python -m matrix (run .*)$", told.out, re.MULTILINE)
    again = at_desk(desk, *shlex.split(command))
    assert again.status == 0 and "0 jobs run" in again.err and "1 passed" in again.out


def test_a_changed_model_was_not_measured_and_the_way_to_measure_it_is_named(desk):
    (desk / "changed.mlir").write_text("module {}")
    told = at_desk(desk, "advise", "--model", "changed.mlir")
    assert told.status == 1
    assert "has measured changed.mlir as it is now" in told.err
    assert "python -m matrix run --model changed.mlir" in told.err


def test_a_missing_model_is_no_answer_from_the_committed_runs(desk):
    told = at_desk(desk, "advise", "--model", "none.mlir")
    assert told.status == 2 and "expected a file, and there is none" in told.err


def test_a_shipped_model_means_the_same_by_its_path(desk):
    root = Path(__file__).parents[3]
    by_path = at_desk(desk, "advise", "--model", root / "scripts" / "models" / "linear.py", "--runtime", "3.6")
    assert by_path.out == at_desk(desk, "advise", "--model", "linear", "--runtime", "3.6").out != ""


def test_the_evidence_of_bisect_is_a_command_that_works(desk):
    """With an axis that `--only` cut down: without it the cell is one of two."""
    told = at_desk(desk, "bisect", "--preset", "mine.toml", "--axis", "level", "--only", "stack=usual")
    assert told.out.startswith("level 2 is the first that passes"), told.out + told.err
    (command,) = re.findall(r"python -m matrix (why .*)$", told.out, re.MULTILINE)
    again = at_desk(desk, *shlex.split(command))
    assert again.status == 0, again.err
    assert "outcome    failed at compile" in again.out and "stack=usual" in again.out


def test_the_example_of_an_unclear_choice_is_a_command_that_works(desk):
    at_desk(desk, "run", "mine.toml")
    unclear = at_desk(desk, "why", "--preset", "mine.toml", "level=1")
    assert unclear.status == 2
    (command,) = re.findall(r"python -m matrix (why .*)$", unclear.err, re.MULTILINE)
    assert at_desk(desk, *shlex.split(command)).status == 0


def test_bisect_goes_on_between_two_different_failures(tmp_path):
    made = make_desk(tmp_path / "two", "aaaaaabb")
    told = at_desk(made, "bisect", "--preset", "mine.toml", "--axis", "level", "--only", "stack=usual")
    assert told.status == 0, told.err
    assert told.out.startswith("level 7 is the first that fails differently; none that was measured passes")
    assert "compile-error" in told.out and "legalization" in told.out
    for command in re.findall(r"python -m matrix (why .*)$", told.out, re.MULTILINE):
        assert at_desk(made, *shlex.split(command)).status == 0
    assert told.out.count("python -m matrix why") == 2


def test_why_shows_an_excerpt_of_the_log_last_and_all_of_it_when_asked(tmp_path):
    made = make_desk(tmp_path / "long", "a+")
    compiler = made / "kit" / "iree-compile"
    noise = "for line in $(seq 1 40); do echo noise $line; done; "
    compiler.write_text(compiler.read_text().replace('echo "module', noise + 'echo "module', 1))
    at_desk(made, "run", "mine.toml", "--only", "stack=usual")
    ask = ("why", "--preset", "mine.toml", "level=1", "stack=usual")
    short, whole = at_desk(made, *ask).out, at_desk(made, *ask, "--log").out
    assert "error: old syntax" in short.partition("\nlog of compile")[2]
    assert "noise 39\n" in short and "noise 12\n" not in short
    assert short.endswith("more lines: `why --log` with the same words\n")
    assert "noise 1\n" in whole and whole.index("reproduce") < whole.index("log of compile")
