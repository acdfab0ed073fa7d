"""From selectors to values, and what a value means to each stage."""

from __future__ import annotations

import dataclasses

import pytest
from samples import catalogue, spec_of

from matrix.core.errors import MatrixEmpty, ModelMissing, SpecError
from matrix.core.records import Part, Stage
from matrix.plan.axes import axis_value, known_labels, ordered_axes, resolve_axes
from matrix.plan.backends.iree.record import IREE
from matrix.plan.backends.iree.values import COMPILER_RENAMED


def resolved(body: str, machine: str = "x86_64") -> dict[str, list[str]]:
    values = resolve_axes(spec_of(body), catalogue(machine))
    return {axis: [value.label for value in row] for axis, row in values.items()}


def test_selectors_become_labels_in_order_without_repeats():
    labels = resolved("[axes]\ncompiler = ['3.10.0', '2.9', 'latest <3.9', '>=3.7,<3.99']\ntarget = ['host', 'x86_64']")
    assert labels["compiler"] == ["3.10.0", "2.9.0", "3.7.1", "3.7.0"]
    assert labels["target"] == ["x86_64"]


def test_all():
    labels = resolved(
        "[axes]\nmodel = 'all'\npython = 'all'\ntarget = 'all'\nflags = 'all'\nsize = 'all'\n"
        "[axis.size.a]\n[axis.size.b]"
    )
    assert labels["model"] == ["linear", "copy", "given"]
    assert labels["python"] == ["3.9", "3.10", "3.11"]
    assert (labels["target"], labels["flags"]) == (["x86_64", "aarch64"], ["default", "again", "o3"])
    assert labels["size"] == ["a", "b"]


def test_unknown_names_and_versions_are_reported_together():
    with pytest.raises(SpecError) as caught:
        resolved("[axes]\ncompiler = ['3.10.0', '3.10.1']\ntarget = 'x86-64'\nflags = 'O3'")
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "axes.compiler[1]",
        "axes.target",
        "axes.flags",
    ]
    assert "did you mean '3.10.0'?" in caught.value.faults[0]
    assert "did you mean 'x86_64'?" in caught.value.faults[1]
    assert "nox -s lock" in caught.value.tip
    with pytest.raises(SpecError) as named:
        resolved("[axes]\nflags = 'O3'")
    assert "nox -s lock" not in named.value.tip and "CONTRIBUTING.md" in named.value.tip


def test_an_unknown_model_says_how_to_add_one():
    with pytest.raises(ModelMissing) as caught:
        resolved("[axes]\nmodel = 'liner'")
    assert "unknown model 'liner', expected one of copy, given, linear; did you mean 'linear'?" in str(caught.value)
    assert "[models.NAME]" in caught.value.tip


@pytest.mark.parametrize(("body", "axis"), [
    ("[axes]\ncompiler = '>4'", "compiler"),
    ("[axes]\ncompiler = []", "compiler"),
    ("[axis.size]", "size"),
])  # fmt: skip
def test_an_axis_without_a_value(body, axis):
    with pytest.raises(MatrixEmpty, match=rf"axes\.{axis}: .* selects no value"):
        resolved(body)


def test_a_host_that_no_row_knows():
    with pytest.raises(SpecError, match=r"axes\.target: this host is 'riscv64', expected one of x86_64, aarch64"):
        resolved("", machine="riscv64")


def test_each_value_touches_its_own_stages_only():
    spec, known = spec_of("[axis.size.a]\ncompile='-Os'\nrun='-v'\n[axis.size.b]"), catalogue()

    def parts(axis: str, label: str) -> dict[Stage, Part]:
        return dict(axis_value(axis, label, spec, known).parts)

    pins = (("iree-base-compiler", "3.0.0"),)
    compiler = Part(pins=pins, python=spec.tools_python, renamed=(*COMPILER_RENAMED[1][1], *COMPILER_RENAMED[2][1]))
    compiles = ("compile", "cut", "phases", "pass-times")
    assert parts("compiler", "3.0.0") == {"import": compiler, **dict.fromkeys(compiles, compiler)}
    assert set(parts("runtime", "3.0.0")) == {"run", "interpret", "count", "profile", "dispatch_times"}
    assert parts("torch", "2.9.1") == dict.fromkeys(("export", "onnx-export"), Part(pins=(("torch", "2.9.1"),)))
    assert list(parts("turbine", "3.9.0")) == ["export"]
    exports = ("export", "onnx-export", "save-tflite")
    assert parts("python", "3.10") == dict.fromkeys(exports, Part(python="3.10"))
    assert set(parts("target", "x86_64")) == {
        *compiles,
        "run",
        "interpret",
        "count",
        "profile",
        "dispatch_times",
    }
    assert parts("flags", "default") == {}
    assert parts("flags", "o3") == dict.fromkeys(compiles, Part(flags=("-O3",)))
    run = Part(flags=("-v",))
    like_run = dict.fromkeys(("run", "interpret", "count", "profile", "dispatch_times"), run)
    assert parts("size", "a") == dict.fromkeys(compiles, Part(flags=("-Os",))) | like_run
    assert parts("size", "b") == {}
    runs = {"run", "interpret", "count", "profile", "dispatch_times"}
    assert set(parts("model", "linear")) == {*exports, "cut", *runs}


def test_a_given_model_brings_its_artifacts_and_has_no_export():
    value = axis_value("model", "given", spec_of(), catalogue())
    assert [name for name, _, _ in value.given] == ["module.mlir", "input_0.npy", "expected_0.npy"]
    called = Part(parameters=(("function", "forward"),))
    assert dict(value.parts) == dict.fromkeys(("cut", "run", "interpret", "count", "profile", "dispatch_times"), called)


def test_a_foreign_target_says_why_it_is_untested():
    known = catalogue()
    assert axis_value("target", "x86_64", spec_of(), known).untested == ""
    assert axis_value("target", "aarch64", spec_of(), known).untested == (
        "aarch64 modules need a aarch64 machine; this one is x86_64"
    )


def test_the_order_of_axes_and_what_they_could_be():
    spec = spec_of("[axis.size.a]")
    assert ordered_axes(spec) == (*(axis.name for axis in IREE.axes if not axis.optional), "size")
    known = dataclasses.replace(catalogue(), flags={})
    assert [known_labels(axis, spec, known) for axis in ("flags", "size", "torch")] == [(), ("a",), ("2.9.1",)]


def test_the_latest_of_a_minor_release_is_one_that_a_tied_axis_has_too():
    """As compiler 3.7.1, which has no runtime of its number."""
    known = catalogue()
    locks = tuple(lock for lock in known.locks.locks if lock.name != "runtime/3.7.1")
    lacking = dataclasses.replace(known, locks=dataclasses.replace(known.locks, locks=locks))
    tied = spec_of("[axes]\ncompiler = 'latest-minors'\nruntime = '= compiler'\n")
    labels = [value.label for value in resolve_axes(tied, lacking)["compiler"]]
    assert "3.7.0" in labels and "3.7.1" not in labels
    assert labels == [value.label for value in resolve_axes(tied, lacking)["runtime"]]
    free = resolve_axes(spec_of("[axes]\ncompiler = 'latest-minors'\n"), lacking)
    assert "3.7.1" in [value.label for value in free["compiler"]]
    with pytest.raises(SpecError, match=r"3\.7\.1 is no runtime"):
        resolve_axes(spec_of("[axes]\ncompiler = '3.7.1'\nruntime = '= compiler'\n"), lacking)
