"""The words of `tune`: which flags are tried, and what cannot be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.answers.tuning.halving import shipped_flags
from matrix.cli.main import main
from matrix.cli.searches.tune import flags_asked

GIVEN = Path(__file__).parents[2] / "data" / "linear.mlir"


def test_without_flags_the_shipped_ones_are_tried():
    assert flags_asked(()) == shipped_flags()


def test_flags_of_ones_own_have_the_release_of_the_shipped_ones_that_they_name():
    known, new, pair = flags_asked(("--iree-opt-level=O1", "--iree-new=1", "--iree-opt-level=O1 --iree-new=1"))
    assert (known.words, known.since) == (("--iree-opt-level=O1",), "3.3")
    assert new.since == pair.since == ""
    assert len(pair.words) == 2


@pytest.mark.parametrize(("words", "said"), [
    (["--flags", "O2"], "tune: --flags: read 'O2', expected flags of iree-compile"),
    (["--flags", "--iree-x=1 -o y"], "expected flags such as"),
    (["--compiler", "3.8.0", "--compiler", "3.13.0"], "tune: read the words of 2 cells, expected one"),
    (["--minutes", "0"], "expected a whole number from 1 to 9999"),
])  # fmt: skip
def test_what_cannot_be_asked_has_a_message(words, said, tmp_path, capsys):
    assert main(["tune", "linear", *words, "--store", str(tmp_path / "store")]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.out == ""
    assert "Traceback" not in told.err
