"""A board named on the command line: which target runs there, what its spec becomes, what is refused, and that no name
of a host is among the words that repeat a cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import spec_of

from matrix.cli.verbs import make_parser
from matrix.core.errors import UsageError
from matrix.core.records import Board
from matrix.plan.backends.shared import ON_BOARD
from matrix.plan.question import Question, question_from, question_text
from matrix.plan.spec import Spec
from matrix.run.own.boards import NamedBoard, with_board
from matrix.run.planning import load_catalogue, plan_of, question_of

ZERO = NamedBoard(destination="pi@zero", config="", here="x86_64")


def on_board(body: str, board: NamedBoard = ZERO) -> Spec:
    return with_board(spec_of(body), board, load_catalogue(spec_of()).targets)


def asked(*words: str) -> Question:
    return question_of(make_parser().parse_args(["run", *words]))


def test_a_preset_runs_on_a_board_by_its_own_tables_and_builds():
    plan = plan_of(asked("boards", "--target", "armv7", "--board", "pi@two"))
    assert [value.label for value in plan.axes["target"]] == ["armv7-board"]
    assert plan.axes["target"][0].note == ON_BOARD
    assert {cell.labels["runtime"] for cell in plan.cells} == {"armv7_3.11", "armv7_3.13"}  # riscv64's tables are gone
    emulated = plan_of(asked("boards", "--only", "target=armv7"))
    assert {tuple(cell.labels[axis] for axis in ("model", "compiler", "route")) for cell in plan.cells} == {
        tuple(cell.labels[axis] for axis in ("model", "compiler", "route")) for cell in emulated.cells
    }
    runs = [node.request.platform for node in plan.nodes if node.stage == "run"]
    assert {each.board for each in runs} == {Board(target="armv7-board", ssh="pi@two", config=None)}
    compiles = [sorted(node.flags for node in each.nodes if node.stage == "compile") for each in (plan, emulated)]
    assert compiles[0] == compiles[1]


def test_the_words_that_repeat_a_cell_name_no_host_and_those_of_the_store_do(tmp_path: Path):
    (config := tmp_path / "board.ssh").write_text("Host zero\n")
    question = asked("quick", "--board", "pi@zero", "--ssh-config", str(config))
    assert question.options == ("--board", "BOARD")
    again, engine = question_from(question_text(question, "venv"))
    assert (again, engine) == (question, "venv")
    assert (again.board, again.ssh_config) == ("pi@zero", str(config))
    (platform,) = {node.request.platform for node in plan_of(question).nodes if node.stage == "run"}
    assert (platform.board.ssh, platform.board.config) == ("pi@zero", config)


def test_rules_and_tables_follow_the_target():
    spec = on_board(
        "[axes]\nmodel='given'\ntarget='host'\n[[exclude]]\nwhen={target=['aarch64', 'x86_64']}\nreason='no'\n"
        "[[table]]\nwhere={target='host'}\n[[table]]\nwhere={target='aarch64'}\n[[table]]\nwhere={model='given'}\n"
    )
    assert spec.axes["target"] == ("x86_64-board",)
    assert spec.exclude[0].when["target"] == ("aarch64", "x86_64-board")
    assert [table.where.get("target") for table in spec.tables] == [("x86_64-board",), None]
    target = spec.targets["x86_64-board"]
    assert (target.ssh, target.machine, target.emulator) == ("pi@zero", "x86_64", ())
    assert target.flags == load_catalogue(spec_of()).targets["x86_64"].flags


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("target=['x86_64','armv6']", "its targets are x86_64, armv6, expected one target"),
        ("target='all'", "its targets are all, expected one target"),
        ("target='vulkan-lavapipe'", "'vulkan-lavapipe' needs lavapipe of this machine"),
        ("target='cuda'", "'cuda' needs cuda of this machine"),
        ("target='cortex-m'", "'cortex-m' has no operating system that SSH reaches"),
        ("target='mine'\n[targets.mine]\ncpu='generic'", "'mine' does not say whose programs it runs"),
        ("target='x86_64'\n[targets.x86_64-board]", "has a target 'x86_64-board', expected none of that name"),
        ("target='x86_64'\n[[table]]\nwhere={target='armv6'}", "no table of .* shows target 'x86_64'"),
    ],
)  # fmt: skip
def test_a_target_that_no_board_can_be_reached_for_is_refused(body: str, said: str):
    with pytest.raises(UsageError, match=f"--board: .*{said}"):
        on_board(f"[axes]\nmodel='given'\n{body}\n")


def test_an_unknown_target_is_left_to_the_axis():
    spec = spec_of("[axes]\nmodel='given'\ntarget='armv66'\n")
    assert with_board(spec, ZERO, load_catalogue(spec_of()).targets) is spec


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--board", "-oProxyCommand=x"), "--board: read '-oProxyCommand=x', expected OpenSSH's destination"),
        (("--board", "pi zero"), "--board: read 'pi zero', expected OpenSSH's destination"),
        (("--ssh-config", "mine"), "--ssh-config: read 'mine' without --board"),
        (("--board", "pi@zero", "--ssh-config", "/nowhere"), "read '/nowhere', expected a file"),
    ],
)
def test_words_that_name_no_board_are_refused(words: tuple[str, ...], said: str):
    joined = [f"{words[0]}={words[1]}", *words[2:]]
    with pytest.raises(UsageError, match=said):
        asked("quick", *joined)
