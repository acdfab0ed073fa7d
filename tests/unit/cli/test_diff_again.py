"""`diff --again` and `--reduce`: what is measured again is the question of the results' own commands, and no more; what
an issue says of a small module."""

from __future__ import annotations

import pytest
from site_samples import cell, document, job, write

from matrix.answers.differences import release_pairs
from matrix.answers.releases.issue import LONGEST_MODULE_SHOWN, SmallModule, failure_issue
from matrix.answers.releases.triage import triage
from matrix.cli.main import main
from matrix.core.errors import UsageError
from matrix.results.files import parse_run

GOOD = "python -m matrix run portability --only compiler={} --only runtime=3.9.0"


def run_of(commands: tuple[str, str] = (GOOD.format("3.9.0"), GOOD.format("3.8.0"))) -> dict:
    """A run in which 3.9.0 passes and 3.8.0 refuses a model."""
    jobs = {
        "a": job("a", "run", "e"),
        "b": job("b", "compile", "e") | {"inputs": {"module.mlir": "0" * 64}, "status": "exit code 1"},
    }
    axes = {"model": "linear", "runtime": "3.9.0", "target": "x86_64", "flags": "default"}
    passed, failed = (cell({**axes, "compiler": release}, [key]) for release, key in (("3.9.0", "a"), ("3.8.0", "b")))
    failed |= {"outcome": "failed", "stage": "compile", "signature": "legalization"}
    for each, command in zip((passed, failed), commands, strict=True):
        each["evidence"]["reproduce"] = command
    return document([passed, failed], jobs)


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (("rm -rf x", GOOD.format("3.8.0")), "--again: read 'rm -rf x' as the command of a cell"),
        (
            (GOOD.format("3.9.0"), GOOD.format("3.8.0") + " --index http://127.0.0.1/x"),
            "which names places of packages",
        ),
        ((GOOD.format("3.9.0"), "python -m matrix run quick --only compiler=3.8.0"), "expected two of one question"),
        ((GOOD.format("3.9.0"), "python -m matrix run portability --onyl x"), "expected no such word"),
    ],
)
def test_only_the_command_of_a_measured_cell_is_run_again(tmp_path, capsys, commands, said):
    path = write(tmp_path / "run.json", run_of(commands))
    words = ["diff", "compiler", "3.9.0", "3.8.0", "--results", str(path), "--store", str(tmp_path / "store")]
    for form in (["--issue", "--again"], ["--report", "--again"], ["--issue", "--reduce", str(tmp_path / "s.mlir")]):
        assert main([*words, *form]) == UsageError.exit_code
        assert said in capsys.readouterr().err
    assert not (tmp_path / "store").exists() and not (tmp_path / "s.mlir").exists()


def small(text: str) -> SmallModule:
    return SmallModule(text=text, operations=(4, 600), whole_bytes=8_039_333, asked=31, least=True, path="small.mlir")


def issue_of(module: SmallModule | None) -> str:
    run = parse_run(run_of(), source="made.json")
    (group,) = triage(release_pairs([run], "compiler", "3.9.0", "3.8.0")).accused
    return "\n".join(failure_issue(group, "compiler", "3.9.0", "3.8.0", module))


def test_a_small_module_stands_in_the_issue():
    said = issue_of(small("func.func @main() {\n  return\n}\n"))
    assert "Save this as `module.mlir` (4 of 600 operations of the model, 31 of 8039333 bytes: 31 parts" in said
    assert "```\nfunc.func @main() {\n  return\n}\n```" in said
    assert "matrix export" not in said and "Please attach" not in said


def test_a_module_that_is_still_long_is_attached():
    said = issue_of(small("// x\n" * LONGEST_MODULE_SHOWN))
    assert "Attached as `module.mlir`: 4 of 600 operations" in said and "Please attach `small.mlir`" in said
    assert len(said) < LONGEST_MODULE_SHOWN


def test_without_one_the_issue_is_as_before():
    assert "Save this" not in issue_of(None)
