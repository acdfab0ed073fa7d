"""Every error has one of at most eleven exit statuses, and says in one line what it means."""

from __future__ import annotations

import re
from pathlib import Path

from matrix.core import errors
from matrix.core.errors import STATUSES, MatrixError, SpecError

ROOT = Path(__file__).parents[3]


def tree(root: type[MatrixError] = MatrixError) -> list[type[MatrixError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


def declared() -> list[type[MatrixError]]:
    """The errors of errors.py: subclasses elsewhere (processes, index) must inherit a status of these."""
    return [kind for kind in tree() if kind.__module__ == "matrix.core.errors"]


def test_there_are_at_most_eleven_statuses_that_a_shell_can_tell():
    named = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert len(set(named.values())) == len(named) <= 11
    assert set(named.values()) == STATUSES.keys()
    assert all(0 <= status <= 125 or status == 130 for status in STATUSES)


def test_every_error_has_one_of_them_and_a_meaning_of_its_own():
    for kind in tree():
        assert kind.exit_code in STATUSES.keys() - {errors.EXIT_OK, errors.EXIT_INTERRUPTED}, kind
    for kind in declared():
        assert "exit_code" in vars(kind) and "meaning" in vars(kind), kind
    meanings = [kind.meaning for kind in declared()]
    assert len(set(meanings)) == len(meanings) > 25


def test_no_error_is_an_unexplained_defect():
    assert [kind for kind in tree() if kind.exit_code == errors.EXIT_DEFECT] == [MatrixError]


def test_a_missing_thing_before_a_run_and_cells_that_stay_untested_after_it_differ():
    assert errors.NoImage.exit_code == errors.EngineMissing.exit_code == errors.EXIT_MISSING
    assert errors.NotAllMeasured.exit_code == errors.EXIT_UNMEASURED


def test_the_sessions_of_nox_know_the_status_of_a_table_with_gaps():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^NOT_ALL_MEASURED = (\d+)$", noxfile) == [str(errors.EXIT_UNMEASURED)]


def test_a_tip_is_kept_and_faults_are_counted():
    assert MatrixError("what", tip="do this").tip == "do this"
    error = SpecError("a.toml", ["one: x", "two: y"])
    assert (str(error), error.faults) == ("a.toml: 2 faults\n  one: x\n  two: y", ("one: x", "two: y"))
