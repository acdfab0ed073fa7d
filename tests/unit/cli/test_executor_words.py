"""The words that choose an executor, and specs that only this process can carry out."""

from __future__ import annotations

import pytest

from matrix.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", "3"), "run --executor local: read --workers, expected no such word"),
        (("--executor", "command", "--worker", "ssh x iree-matrix work"), "read it without --remote"),
        (("--executor", "slurm"), "--executor: read 'slurm', expected one of local, command"),
        (("--executor", "command", "--workers", "0"), "expected a whole number from 1 to 9999"),
    ],
)
def test_words_that_do_not_fit_are_told_and_nothing_runs(tmp_path, capsys, words, message):
    assert main(["run", "quick", *words, "--store", str(tmp_path / "store")]) == 2
    told = capsys.readouterr().err
    assert message in told and "TIP " in told
    assert not (tmp_path / "store").exists()


def test_a_spec_that_measures_times_is_not_for_other_machines(tmp_path, capsys):
    assert main(["run", "performance", "--executor", "command", "--store", str(tmp_path / "store")]) == 2
    assert "which measures times, expected one that any machine may carry out" in capsys.readouterr().err
