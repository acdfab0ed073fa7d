"""From a node and its artifacts to a job: command lines, order of inputs, what is in the key."""

from __future__ import annotations

from dataclasses import replace

from samples import plan_of

from matrix.core.errors import BlobDamaged
from matrix.core.records import Job
from matrix.plan.backends.backend import INPUT, Given, matching
from matrix.plan.stages import Node, axes_of, exchanged, kinds, later_axes, make_job, module_of

BODY = "[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"
ARTIFACTS = {
    "module.mlir": "m",
    "module.vmfb": "v",
    "export.json": "j",
    **{f"{kind}_{index}.npy": f"{kind}{index}" for kind in ("input", "expected") for index in (10, 2, 0, 1)},
}


def job(node: Node, *, environment: str = "e", **more: str) -> Job:
    return make_job(node, environment=environment, artifacts={**ARTIFACTS, **more})


def test_input_10_comes_after_input_2():
    assert matching(ARTIFACTS, INPUT) == ["input_0.npy", "input_1.npy", "input_2.npy", "input_10.npy"]


def test_the_command_lines():
    export, compiled, run = plan_of(BODY).nodes
    assert job(export).argv == ()
    assert job(export).script == "export.py"
    assert dict(job(export).arguments) == {"model_file": "linear.py", "model_digest": "d1"}
    told = ("--iree-scheduling-dump-statistics-format=csv", "--iree-scheduling-dump-statistics-file=statistics.csv")
    assert job(compiled).argv == ("iree-compile", "module.mlir", "-o", "module.vmfb", *told, "--triple=x86_64")
    own = replace(compiled, flags=("--iree-scheduling-dump-statistics-format=pretty",))
    assert job(own).argv == ("iree-compile", "module.mlir", "-o", "module.vmfb", *own.flags)
    assert job(run).argv == (
        "iree-run-module",
        "--module=module.vmfb",
        "--function=main",
        *(f"--input=@input_{index}.npy" for index in (0, 1, 2, 10)),
        *(f"--output=@output_{index}.npy" for index in (0, 1, 2, 10)),
        "--device=local-sync",
    )


def test_a_job_gets_the_inputs_of_its_stage_and_no_others():
    export, compiled, run = plan_of(BODY).nodes
    assert job(export).inputs == (("linear.py", "d1"),)
    assert [name for name, _ in job(compiled).inputs] == ["module.mlir"]
    assert [name for name, _ in job(run).inputs] == ["module.vmfb", *matching(ARTIFACTS, INPUT)]


def test_what_changes_a_key_and_what_does_not():
    export, compiled, run = plan_of(BODY).nodes
    assert job(run).key == job(run, **{"module.mlir": "other"}).key
    assert job(run).key == job(replace(run, label="other")).key
    assert job(run).key == job(run, **{"expected_0.npy": "other"}).key
    assert job(run).key != job(run, **{"module.vmfb": "other"}).key
    assert job(run).key != job(run, **{"input_0.npy": "other"}).key
    assert job(run).key != job(run, environment="other").key
    assert job(compiled).key != job(compiled, **{"module.mlir": "other"}).key
    assert job(export).key != job(replace(export, script="other")).key


def test_a_file_of_the_model_is_known_by_its_content_not_by_its_place():
    import dataclasses

    export = plan_of(BODY).nodes[0]
    elsewhere = (("model_file", "elsewhere/linear.py"), *export.parameters[1:])
    changed = (export.parameters[0], ("model_digest", "d2"))
    assert job(export).key == job(dataclasses.replace(export, parameters=elsewhere)).key
    assert job(export).key != job(dataclasses.replace(export, parameters=changed)).key


def test_limits_are_in_the_key():
    same, other = plan_of(BODY), plan_of(BODY + "[limits.run]\nseconds = 7\n")
    assert job(same.nodes[2]).key != job(other.nodes[2]).key
    assert job(same.nodes[1]).key == job(other.nodes[1]).key


def test_a_compile_does_not_depend_on_the_axes_of_later_stages():
    assert later_axes("compile") == {"runtime"}
    assert later_axes("export") == {"front_end", "litert_torch", "tosa", "compiler", "runtime", "flags"}
    assert later_axes("benchmark") == frozenset()


def test_a_stage_of_a_published_run_may_be_unknown():
    assert (axes_of("no-such"), later_axes("no-such")) == ((), frozenset())


def test_the_artifacts_between_the_tools_are_found_among_others():
    names = ["input_0.npy", "module.mlir", "module.vmfb"]
    assert (exchanged(names), module_of(names)) == ("module.mlir", "module.vmfb")
    assert (exchanged(names[:1]), module_of(())) == ("", "")


def test_an_interface_of_float64_is_kept_unless_a_flag_says_otherwise():
    """Compilers would make it float32, and its inputs and outputs would not fit."""
    command = kinds()["compile"].command
    words = {"flags": (), "parameters": {}, "artifacts": {"module.mlir": "m"}}
    assert "demote" not in " ".join(command(Given(**words)))
    kept = {**words, "artifacts": {"module.mlir": "m", "float64.json": "f"}}
    assert "--iree-input-demote-f64-to-f32=false" in command(Given(**kept))
    chosen = {**kept, "flags": ("--iree-input-demote-f64-to-f32=true",)}
    assert [word for word in command(Given(**chosen)) if "demote" in word] == ["--iree-input-demote-f64-to-f32=true"]


def test_a_stage_reads_its_log_and_the_outputs_that_it_names_and_no_others():
    asked: list[str] = []
    content = {"s": b"7", "v": b"a module of a gigabyte"}

    def give(digest: str) -> bytes:
        asked.append(digest)
        return content[digest]

    kind = replace(
        kinds()["compile"], reads=("stat*.csv",), read=lambda files: {name: len(each) for name, each in files.items()}
    )
    made = {"module.vmfb": "v", "statistics.csv": "s"}
    assert kind.measure(made, "two", give) == {"statistics.csv": 1, "log": 3}
    assert asked == ["s"]
    assert kind.measure({"module.vmfb": "v"}, "", give) == {"log": 0}
    assert [name for name in (*made, "expected_0.npy") if kind.looked_into(name)] == [
        "statistics.csv",
        "expected_0.npy",
    ]
    assert replace(kind, read=None).measure(made, "two", give) == {}


def test_an_output_that_was_damaged_since_gives_no_measurement():
    def damaged(digest: str) -> bytes:
        raise BlobDamaged(f"{digest}: other bytes")

    kind = replace(kinds()["compile"], reads=("statistics.csv",), read=len)
    assert kind.measure({"statistics.csv": "s"}, "", damaged) == {}
