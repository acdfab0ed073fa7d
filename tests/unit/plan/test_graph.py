"""From a spec to cells and jobs: what is shared, what is left out, what can never run, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from samples import REFUSED, STAGES, catalogue, plan_of, spec_of

from matrix.core.errors import MatrixEmpty, SpecError
from matrix.core.records import Outcome
from matrix.plan.catalogue import FlagRow
from matrix.plan.graph import Plan, make_plan
from matrix.plan.question import Question
from matrix.run.planning import plan_of as plan_of_question

THREE = "[axes]\ncompiler = ['2.9.0', '3.0.0', '3.10.0']\nruntime = ['2.9.0', '3.0.0']\n"


def nodes(plan: Plan) -> dict[str, int]:
    return {stage: sum(1 for node in plan.nodes if node.stage == stage) for stage in STAGES}


def cell(plan: Plan, **labels: str):
    found = [cell for cell in plan.cells if all(cell.labels[axis] == label for axis, label in labels.items())]
    assert len(found) == 1
    return found[0]


def test_the_shipped_square_is_1_and_15_and_225_jobs():
    terms = tuple(f"{axis}=latest-minors >=2.9,<=3.13" for axis in ("compiler", "runtime"))
    plan = plan_of_question(Question(preset="portability", only=terms))
    assert (len(plan.cells), nodes(plan)) == (225, {"export": 1, "compile": 15, "run": 225})
    assert [plan.jobs(stage) for stage in STAGES] == [1, 15, 225]
    kinds = Counter(request.kind for request in plan.environments())
    assert kinds == {"exporter": 1, "compiler": 15, "runtime": 15}
    assert not [node for node in plan.nodes if node.obstacle]


def test_exports_compiles_and_runs_are_shared():
    plan = plan_of(THREE)
    assert (len(plan.cells), nodes(plan)) == (6, {"export": 1, "compile": 3, "run": 6})
    assert len({cell.nodes[1] for cell in plan.cells}) == 3
    assert len({cell.nodes for cell in plan.cells}) == 6


def test_equal_parts_are_one_job():
    plan = plan_of("[axes]\nflags = ['default', 'again', 'o3']\nmodel = ['linear', 'copy']\n")
    assert (len(plan.cells), nodes(plan)) == (6, {"export": 1, "compile": 2, "run": 2})


def test_a_job_is_named_by_its_own_model_where_the_models_parts_are_equal():
    known = catalogue()
    other = {"other": dataclasses.replace(known.models["linear"], name="other", digest="d2")}
    known = dataclasses.replace(known, models={**known.models, **other})
    plan = make_plan(spec_of("[axes]\nmodel = ['linear', 'other']\n"), known)
    named = [node.label.split()[0] for node in plan.nodes if node.stage == "run"]
    assert named == ["model=linear", "model=other"]


def test_an_axis_of_the_run_does_not_multiply_compiles():
    plan = plan_of("[axis.level.a]\nrun = '-a'\n[axis.level.b]\nrun = '-b'\n")
    assert nodes(plan) == {"export": 1, "compile": 1, "run": 2}
    assert [plan.nodes[cell.nodes[2]].flags for cell in plan.cells] == [
        ("--device=local-sync", "-a"),
        ("--device=local-sync", "-b"),
    ]


def test_fewer_stages():
    plan = plan_of("stages = ['export', 'compile']\n" + THREE)
    assert nodes(plan) == {"export": 1, "compile": 3, "run": 0}
    assert {len(cell.nodes) for cell in plan.cells} == {2}


def test_a_given_model_has_no_export():
    plan = plan_of("[axes]\nmodel = ['linear', 'given']\n")
    first, second = plan.cells
    assert {axis for axis, label in second.labels.items() if label == "-"} == {"python", "torch", "turbine"}
    assert [plan.nodes[index].stage for index in first.nodes] == list(STAGES)
    assert [plan.nodes[index].stage for index in second.nodes] == ["compile", "run"]
    compiled = plan.nodes[second.nodes[0]]
    assert compiled.above == ()
    assert [name for name, _, _ in compiled.given] == ["module.mlir", "input_0.npy", "expected_0.npy"]
    assert plan.nodes[second.nodes[1]].given == ()
    assert dict(plan.nodes[second.nodes[1]].parameters)["function"] == "forward"


def test_a_given_model_where_only_export_is_asked_for_says_so():
    plan = plan_of("stages = ['export']\n[axes]\nmodel = ['linear', 'given']\n")
    assert [cell.excluded for cell in plan.cells] == ["", "the model comes as a file that needs none of these stages"]


def test_excluded_cells_keep_the_reason_and_have_no_jobs():
    plan = plan_of(THREE + "[[exclude]]\nwhen = { compiler = '<3.0', runtime = '3.0.0' }\nreason = 'known'\n")
    gone = cell(plan, compiler="2.9.0", runtime="3.0.0")
    assert (gone.excluded, gone.nodes) == ("known", ())
    assert [cell.excluded for cell in plan.cells if cell is not gone] == [""] * 5
    assert nodes(plan)["run"] == 5


def test_an_include_wins_over_an_exclude_and_keeps_its_reason():
    plan = plan_of(
        THREE
        + "[[exclude]]\nwhen = { compiler = 'all' }\nreason = 'all out'\n"
        + "[[include]]\nwhen = { compiler = '3.0.0', runtime = '2.9.0' }\nreason = 'one in'\n"
    )
    assert [(cell.labels["compiler"], cell.note) for cell in plan.cells if not cell.excluded] == [("3.0.0", "one in")]


@pytest.mark.parametrize("version", ["3.7.0", "3.7.0.0"])
def test_an_include_adds_a_version_beside_the_axis(version):
    plan = plan_of(THREE + f"[[include]]\nwhen = {{ compiler = '{version}' }}\nreason = 'asked for'\n")
    added = [cell for cell in plan.cells if cell.labels["compiler"] == "3.7.0"]
    assert [(cell.labels["runtime"], cell.note) for cell in added] == [("2.9.0", "asked for"), ("3.0.0", "asked for")]
    assert (len(plan.cells), nodes(plan)) == (8, {"export": 1, "compile": 4, "run": 8})


def test_two_includes_of_the_same_version_add_it_once():
    rule = "[[include]]\nwhen = { compiler = '3.7.0', runtime = ['2.9.0', '3.7.0'] }\nreason = 'asked for'\n"
    plan = plan_of(THREE + rule + rule)
    assert len(plan.cells) == 8
    assert len({tuple(cell.labels.items()) for cell in plan.cells}) == 8


def test_an_include_with_a_specifier_adds_no_values():
    assert len(plan_of(THREE + "[[include]]\nwhen = { compiler = '>=3' }\nreason = 'x'\n").cells) == 6


def test_faults_of_rules_are_reported_together():
    with pytest.raises(SpecError) as caught:
        plan_of(
            THREE
            + "[[exclude]]\nwhen = { compiler = '9.9.9' }\nreason = 'x'\n"
            + "[[include]]\nwhen = { model = 'liner', flags = 'none' }\nreason = 'x'\n"
        )
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        "exclude[0].when.compiler",
        "include[0].when.model",
        "include[0].when.flags",
    ]
    assert caught.value.tip


def test_a_foreign_target_is_compiled_and_not_run():
    plan = plan_of("[axes]\ntarget = ['x86_64', 'aarch64']\n")
    here, there = plan.cells
    assert plan.nodes[here.nodes[2]].obstacle is None
    assert plan.nodes[there.nodes[1]].obstacle is None
    assert plan.nodes[there.nodes[2]].obstacle == (
        Outcome.UNTESTED,
        "aarch64 modules need a aarch64 machine; this one is x86_64",
    )
    assert (plan.jobs("compile"), plan.jobs("run")) == (2, 1)


def test_without_a_lock_a_cell_is_untested_and_says_what_to_do():
    known = dataclasses.replace(catalogue(), torch_variant="cpu")
    outcome, reason = make_plan(spec_of(), known).nodes[0].obstacle
    assert outcome is Outcome.UNTESTED
    assert "no lock for torch 2.9.1 with iree-turbine 3.9.0" in reason
    assert "wanted.toml" in reason and "nox -s lock" in reason


def test_a_refused_lock_is_not_installable_with_the_resolvers_reason():
    plan = plan_of(f"[axes]\nruntime = ['3.0.0', '{REFUSED}']\n")
    assert plan.nodes[plan.cells[1].nodes[2]].obstacle == (Outcome.NOT_INSTALLABLE, "no wheel for this Python")
    assert REFUSED not in str(plan.environments())


def test_rules_that_leave_nothing():
    with pytest.raises(MatrixEmpty, match=r"the rules exclude\[0\] exclude all 6 cells"):
        plan_of(THREE + "[[exclude]]\nwhen = { python = 'all' }\nreason = 'x'\n")


def test_a_node_says_what_it_is():
    plan = plan_of("[axes]\nflags = 'o3'\n")
    export, compiled, run = plan.nodes
    assert export.label == "model=linear python=3.11 torch=2.9.1 turbine=3.9.0"
    assert compiled.label == "compiler=3.10.0 target=x86_64 flags=o3"
    assert compiled.flags == ("--triple=x86_64", "-O3")
    assert run.label == "model=linear runtime=3.10.0 target=x86_64"
    assert (export.above, compiled.above, run.above) == ((), (0,), (1,))


def test_two_targets_with_the_same_flags_are_two_runs_where_one_can_not_run_here():
    known = catalogue()
    twin = dataclasses.replace(known.targets["x86_64"], name="aarch64", machine="aarch64")
    known = dataclasses.replace(known, targets={**known.targets, "aarch64": twin})
    plan = make_plan(spec_of("[axes]\ntarget = ['x86_64', 'aarch64']\n"), known)
    assert nodes(plan) == {"export": 1, "compile": 1, "run": 2}
    assert [plan.nodes[cell.nodes[2]].obstacle is None for cell in plan.cells] == [True, False]


TIED = "[axes]\ncompiler = ['2.9.0', '3.0.0', '3.10.0']\nruntime = '= compiler'\n"


def pairs(plan: Plan) -> list[tuple[str, str]]:
    return [(cell.labels["compiler"], cell.labels["runtime"]) for cell in plan.cells]


def test_a_tied_axis_has_the_other_ones_value_in_each_cell():
    plan = plan_of(TIED + "model = ['linear', 'given']\n")
    assert pairs(plan) == [("2.9.0", "2.9.0"), ("3.0.0", "3.0.0"), ("3.10.0", "3.10.0")] * 2
    assert nodes(plan) == {"export": 1, "compile": 6, "run": 6}
    assert [value.label for value in plan.axes["runtime"]] == ["2.9.0", "3.0.0", "3.10.0"]
    kinds = Counter(request.kind for request in plan.environments())
    assert kinds == {"exporter": 1, "compiler": 3, "runtime": 3}
    backwards = plan_of("[axes]\nruntime = ['2.9.0', '3.0.0']\ncompiler = '= runtime'\n")
    assert pairs(backwards) == [("2.9.0", "2.9.0"), ("3.0.0", "3.0.0")]


def test_any_axes_can_be_tied_as_far_as_they_share_values():
    own = "[axis.size.o3]\nrun = '-a'\n[axis.size.default]\nrun = '-b'\n[axes]\nsize = 'all'\nflags = '= size'\n"
    plan = plan_of(own)
    assert [(cell.labels["size"], cell.labels["flags"]) for cell in plan.cells] == [("o3", "o3"), ("default",) * 2]


def test_rules_and_choices_hold_for_a_tied_axis():
    rule = "[[exclude]]\nwhen = { runtime = '<3.0' }\nreason = 'too old'\n"
    assert [cell.excluded for cell in plan_of(TIED + rule).cells] == ["too old", "", ""]
    for axis in ("compiler", "runtime"):
        chosen = make_plan(spec_of(TIED), catalogue(), only={axis: (">=3.0",)})
        assert pairs(chosen) == [("3.0.0", "3.0.0"), ("3.10.0", "3.10.0")]
    with pytest.raises(MatrixEmpty, match="leaves no cell"):
        make_plan(spec_of(TIED), catalogue(), only={"compiler": ("3.0.0",), "runtime": ("2.9.0",)})


def test_an_include_brings_the_tied_value_along():
    added = "[[include]]\nwhen = { compiler = '3.7.0' }\nreason = 'one board in the field'\n"
    assert pairs(plan_of(TIED + added))[3:] == [("3.7.0", "3.7.0")]
    with pytest.raises(SpecError, match=r"include\[0\].when.runtime: runtime is tied to compiler"):
        plan_of(TIED + added.replace("compiler =", "runtime ="))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("runtime = '= compilr'", r"axes.runtime: tied to 'compilr', expected one of .*did you mean 'compiler'"),
        ("runtime = '= runtime'", "axes.runtime: tied to 'runtime', expected one of"),
        ("runtime = '= compiler'\ncompiler = '= runtime'", "2 faults"),
        ("runtime = ['= compiler', '3.0.0']", r"axes.runtime: read .* expected a tie \('= axis'\) alone"),
        ("runtime = '= model'\nmodel = 'linear'", "axes.runtime: tied to model, and linear is no runtime"),
        (
            "turbine = '= compiler'\ncompiler = 'all'",
            "axes.turbine: tied to compiler, and 2.0.0, 2.9.0, .* is no turbine",
        ),
    ],
)
def test_faults_of_ties_are_named(axes, said):
    with pytest.raises(SpecError, match=said):
        plan_of(f"[axes]\n{axes}\n")


def test_the_models_preset_is_8_by_15_cells():
    plan = plan_of_question(Question(preset="models", only=("runtime=<=3.13",)))
    assert len(plan.cells) == 8 * 15
    assert nodes(plan) == {"export": 8, "compile": 120, "run": 120}
    assert all(cell.labels["compiler"] == cell.labels["runtime"] for cell in plan.cells)


def test_a_flag_of_a_later_axis_takes_the_place_of_the_target_s():
    row = "compiler = '2.9.0'\nflags = ['default', 'host']\ntarget = 'x86_64'\n"
    more = "[axis.cpu.old]\ncompile = ['--cpu=old', '-O1']\n"
    known = catalogue()
    target = dataclasses.replace(
        known.targets["x86_64"], flags={"compile": ("--backend=cpu", "--cpu=v3"), "run": ("--device=local-sync",)}
    )
    host = FlagRow(
        name="host", flags={"compile": ("--cpu=host", "--list=a", "--list=b"), "run": ()}, machine_bound=True
    )
    known = dataclasses.replace(
        known, targets={"x86_64": target}, flags={**known.flags, "host": host}, machine_class="a machine"
    )
    own = make_plan(spec_of("[axes]\n" + row + more), known)
    plain = make_plan(spec_of("[axes]\n" + row), known)

    def compiles(plan):
        return [(node.flags, node.machine) for node in plan.nodes if node.stage == "compile"]

    assert compiles(plain) == [
        (("--backend=cpu", "--cpu=v3"), ""),
        (("--backend=cpu", "--cpu=host", "--list=a", "--list=b"), "a machine"),
    ]
    assert [flags for flags, _ in compiles(own)] == [
        ("--backend=cpu", "--cpu=old", "-O1"),
        ("--backend=cpu", "--list=a", "--list=b", "--cpu=old", "-O1"),
    ]
    assert [node.machine for node in plain.nodes if node.stage == "run"] == ["", "a machine"]
