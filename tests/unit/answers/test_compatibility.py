"""`compatibility`: shares counted again from the raw files, and since when later releases load all."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from matrix.answers.releases.compatibility import Compatibility, Share, compatibilities
from matrix.cli.main import main
from matrix.core.records import Outcome
from matrix.results.files import read_run
from matrix.results.run import Cell, CellTable, Run, RunAxis, RunValue

RESULTS = Path(__file__).parents[3] / "results"
FIVE = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


def run_of(rows: tuple[str, str], passing: Mapping[str, str], *, loaders: tuple[str, ...] = FIVE) -> Run:
    """Maker -> one letter for each loader: `p`assed, `f`ailed, `-` untested."""
    ends = {"p": Outcome.PASSED, "f": Outcome.FAILED, "-": Outcome.UNTESTED}
    cells = [
        Cell(axes={rows[0]: maker, rows[1]: loader, "target": "x86_64"}, outcome=ends[letter])
        for maker, letters in passing.items()
        for loader, letter in zip(loaders, letters, strict=True)
    ]
    labels = {rows[0]: tuple(passing), rows[1]: loaders, "target": ("x86_64",)}
    axes = [RunAxis(name=name, values=tuple(RunValue(label=each) for each in of)) for name, of in labels.items()]
    return Run(axes=tuple(axes), cells=tuple(cells), tables=(CellTable(rows=rows[0], columns=rows[1]),))


def only(run: Run, dates: Mapping[str, Mapping[str, datetime.date]] | None = None) -> Compatibility:
    (found,) = compatibilities([run], dates or {})
    return found


def test_the_committed_square_of_iree_is_counted_as_its_file_has_it():
    name = RESULTS / "portability.json"
    raw = {
        (cell["axes"]["compiler"], cell["axes"]["runtime"]): cell["outcome"] == "passed"
        for cell in json.loads(name.read_text())["cells"]
    }

    def minor(release: str) -> list[int]:
        return [int(part) for part in release.split(".")[:2]]

    later = [passed for (maker, loader), passed in raw.items() if minor(loader) >= minor(maker)]
    found = only(read_run(name))
    assert found.pairs == Share(passed=sum(raw.values()), measured=225)
    assert found.later == Share(passed=sum(later), measured=len(later)) == Share(passed=33, measured=120)
    assert found.earlier == Share(passed=51 - 33, measured=105)
    assert found.since_words == "3.12 (1 pair)" and found.files == (13, 15)


def test_a_loader_of_another_product_is_later_by_its_day():
    days = {
        "torch": {label: datetime.date(2024, 1 + 2 * place, 1) for place, label in enumerate(FIVE)},
        "onnxruntime": {label: datetime.date(2024, 2 + 2 * place, 1) for place, label in enumerate(FIVE)},
    }
    passing = {"1.0.0": "fpppp", "1.1.0": "fpppp", "1.2.0": "ffppp", "1.3.0": "fffpp", "1.4.0": "ffffp"}
    found = only(run_of(("torch", "onnxruntime"), passing), days)
    assert found.later == Share(passed=14, measured=15)  # a loader is of the month after the maker of its number
    assert found.earlier == Share(passed=0, measured=10)
    assert (found.since, found.steps) == ("1.1.0", 10)


def test_without_days_no_loader_is_later():
    found = only(run_of(("torch", "onnxruntime"), dict.fromkeys(FIVE, "ppppp")))
    assert found.pairs == Share(passed=25, measured=25)
    assert found.later.words == found.earlier.words == "none measured" and found.since_words == "no release"


def test_untested_pairs_are_in_no_share():
    found = only(run_of(("compiler", "runtime"), dict.fromkeys(FIVE, "p-p-f")))
    assert found.pairs == Share(passed=10, measured=15)


def test_where_the_newest_fails_on_a_later_one_no_release_is_named():
    passing = {**dict.fromkeys(FIVE[:4], "ppppp"), "1.4.0": "ppppf"}
    assert only(run_of(("compiler", "runtime"), passing)).since_words == "no release"


@pytest.mark.parametrize("labels", [FIVE[:4], ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "mine")])
def test_few_releases_or_builds_of_ones_own_are_no_row(labels):
    passing = dict.fromkeys(labels, "p" * len(labels))
    assert not compatibilities([run_of(("compiler", "runtime"), passing, loaders=labels)], {})


def test_the_committed_results_have_a_row_for_each_backend(capsys):
    assert main(["compatibility"]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.partition("\n\n")[0].splitlines()[1:]]
    assert list(dict.fromkeys(rows)) == ["iree", "onnxruntime", "litert", "openvino"]
    assert main(["compatibility", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["backend"] for each in found] == rows
    litert = next(each for each in found if each["backend"] == "litert")
    assert litert["pairs"] == {"passed": 63, "measured": 63} and litert["files"] == {"different": 2, "of": 7}


def test_results_without_such_a_table_say_so(capsys):
    assert main(["compatibility", "--results", str(RESULTS / "performance.json")]) != 0
    said = capsys.readouterr().err
    assert "read no table of 5 releases that make files by as many that load them" in said and "--results" in said
