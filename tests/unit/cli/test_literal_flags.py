"""Literal flags of a compiler as a value of the axis flags, on the command line and in a spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.cli.verbs import make_parser
from matrix.core.errors import SpecError, UsageError
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.spec import parse_spec
from matrix.run.planning import plan_for, plan_of, question_of

O3, TWO = "--iree-opt-level=O3", "--iree-opt-level=O2 --iree-llvmcpu-target-cpu=host"


def flags_of(plan: Plan, label: str) -> tuple[str, ...]:
    cell = next(cell for cell in plan.cells if cell.labels["flags"] == label)
    return next(plan.nodes[node].flags for node in cell.nodes if plan.nodes[node].stage == "compile")


def planned(*words: str) -> Plan:
    options = make_parser().parse_args(["plan", "--compiler", "3.13.0", "--runtime", "3.13.0", *words])
    return plan_of(question_of(options))


def test_flags_are_a_value_beside_a_table():
    plan = planned("--flags", "default", "--flags", O3, "--flags", TWO)
    assert [cell.labels["flags"] for cell in plan.cells] == ["default", O3, TWO]
    assert O3 in flags_of(plan, O3)
    assert O3 not in flags_of(plan, "default")


def test_a_flag_overrides_the_targets_own_and_binds_to_the_machine():
    plan = planned("--flags", TWO)
    given = [flag for flag in flags_of(plan, TWO) if "target-cpu=" in flag]
    assert given == ["--iree-llvmcpu-target-cpu=host"]
    assert all(node.machine for node in plan.nodes if node.stage == "compile")
    assert not any(node.machine for node in planned("--flags", O3).nodes)


def test_the_words_of_a_question_ask_it_again():
    again = planned("--flags", O3).spec.options
    assert again[-2:] == ("--flags", O3)
    assert planned(*again[again.index("--flags") :]).spec.options == again


def test_a_spec_has_them_without_a_table():
    text = f'format = 1\nname = "mine"\nquestion = "?"\n[axes]\nflags = ["default", "{O3}"]\n'
    plan = plan_for(parse_spec(text, source="mine.toml", base=Path()), Question())
    assert O3 in flags_of(plan, O3)


@pytest.mark.parametrize("read", ["-", "-o x.vmfb", "-ox.vmfb", "--a 'b", "--iree-opt-level O3"])
def test_words_that_are_no_flags(read):
    with pytest.raises(SpecError, match="expected flags such as '--iree-opt-level=O3 --NAME=VALUE'") as caught:
        planned("--flags", read)
    assert f"axes.flags: read {read!r}" in str(caught.value)


@pytest.mark.parametrize("words", [("--flags",), ("--flags", "--"), ("--flags=--",), ("--flags", "--runtime", "3.8.0")])
def test_an_option_is_no_value(words):
    with pytest.raises(UsageError, match="--flags: read nothing"):
        planned(*words)


def test_other_axes_take_no_flags():
    with pytest.raises(UsageError):
        planned("--target", O3)
