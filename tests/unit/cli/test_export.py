"""The words of `export`: which model, which releases, which files."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from reports import report_of
from samples import lock, plan_of, result, spec_of

from matrix.cli.export import export_plan, keep_files, model_path, newest_exporter
from matrix.core.errors import ExportFailed, ModelMissing, SpecError, UsageError
from matrix.core.records import Job, Outcome
from matrix.plan.graph import make_plan
from matrix.plan.locks import LockIndex
from matrix.plan.stages import complete, make_job
from matrix.results.run import Run
from matrix.results.signatures import recognise
from matrix.run.planning import load_catalogue
from matrix.run.store import Store

PAIRS = (("2.9.1", "3.9.0"), ("2.10.0", "3.9.0"), ("2.11.0", "3.8.0"))
LOCKS = LockIndex(
    locks=(
        *(lock("exporter", {"torch": torch, "iree-turbine": turbine}) for torch, turbine in PAIRS),
        lock("exporter", {"torch": "2.12.0", "iree-turbine": "3.10.0"}, refusal="they do not fit"),
        lock("compiler", {"iree-base-compiler": "3.9.0"}),
    ),
    pythons=("3.11",),
)


def words(model: object, output: Path = Path("m.mlir"), **more: object) -> Namespace:
    defaults = {
        "python": "3.11",
        "torch": "",
        "turbine": "",
        "torch_build": "cuda",
        "parameters": None,
        "arrays": False,
        "store": Path("store"),
    }
    return Namespace(**{"model": str(model), "output": output, **defaults, **more})


@pytest.mark.parametrize(
    ("torch", "turbine", "chosen"),
    [
        ("", "", ("2.10.0", "3.9.0")),
        ("2.9.1", "", ("2.9.1", "3.9.0")),
        ("", "3.8.0", ("2.11.0", "3.8.0")),
        ("2.11.0", "3.8.0", ("2.11.0", "3.8.0")),
    ],
)
def test_the_newest_pair_of_releases_that_is_locked(torch, turbine, chosen):
    assert newest_exporter(LOCKS, torch, turbine, variant="cuda") == chosen


def test_a_pair_without_a_lock_is_refused_by_name():
    with pytest.raises(UsageError, match=r"torch 2.12.0 with turbine \(any\) .*torch 2.9.1 with turbine 3.9.0"):
        newest_exporter(LOCKS, "2.12.0", "", variant="cuda")
    with pytest.raises(UsageError, match="a cpu build of torch, expected one of: none is locked"):
        newest_exporter(LOCKS, "", "", variant="cpu")


def test_a_shipped_model_and_a_file_of_ones_own(tmp_path):
    own = tmp_path / "my.model.py"
    own.write_text("")
    assert model_path("mobilenet_v2").name == "mobilenet_v2.py"
    assert model_path(str(own)) == own
    for missing in ("mobilenet_v9", str(tmp_path / "none.py"), str(tmp_path)):
        with pytest.raises(ModelMissing, match=r"expected one of .*mobilenet_v2"):
            model_path(missing)


def test_an_export_is_one_job_and_the_weights_can_be_left_out(tmp_path):
    own = tmp_path / "wei\u00dfe 'Kiste'"
    own.mkdir()
    (own / "mine.py").write_text("")
    for external in (None, Path("p.irpa")):
        (node,) = export_plan(words(own / "mine.py", parameters=external)).nodes
        assert dict(node.parameters)["model_file"] == str(own / "mine.py")
        assert dict(node.parameters).get("parameters") == ("external" if external else None)
    with pytest.raises(SpecError, match=r"unknown version '3\.77'"):
        export_plan(words("linear", python="3.77"))


def test_a_file_that_a_model_declares_is_an_input_and_in_the_key(tmp_path):
    """A changed weight was "3 reused", and `export` wrote the old ones."""
    (tmp_path / "mine.py").write_text('FILES = ("weights.pt", "data/a")\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("a")

    def planned(weights: str) -> Job:
        (tmp_path / "weights.pt").write_text(weights)
        (node,) = export_plan(words(tmp_path / "mine.py")).nodes
        return make_job(node, environment="e", artifacts={})

    one, again, other = planned("1"), planned("1"), planned("2")
    assert [name for name, _ in one.inputs] == ["mine.py", "file_0", "file_1"]
    assert list(json.loads(dict(one.arguments)["files"])) == ["data/a", "weights.pt"]
    assert one.key == again.key != other.key


EXTERNAL = """
[axes]
model = "mine"
turbine = "3.9.0"
torch = "2.9.1"
[models.mine]
file = "linear.py"
parameters = "external"
"""


def test_external_parameters_reach_every_stage(tmp_path):
    (tmp_path / "linear.py").write_text("")
    spec = spec_of(EXTERNAL)
    plan = make_plan(spec, load_catalogue(replace(spec, base=tmp_path)))
    known = {"module.mlir": "m", "parameters.irpa": "p", "module.vmfb": "v", "input_0.npy": "i", "expected_0.npy": "e"}
    jobs = [make_job(node, environment="e", artifacts=known) for node in plan.nodes]
    assert ("parameters", "external") in jobs[0].arguments
    assert "parameters.irpa" in jobs[0].outputs
    assert "--iree-opt-const-eval=false" in jobs[1].argv
    assert "--parameters=model=parameters.irpa" in jobs[2].argv
    assert ("parameters.irpa", "p") in jobs[2].inputs
    del known["parameters.irpa"]
    inline = make_job(plan.nodes[2], environment="e", artifacts=known)
    assert not [word for word in inline.argv if "param" in word]


def test_parameters_of_a_model_are_inline_or_external_and_of_a_python_file():
    with pytest.raises(SpecError, match=r"models\.mine\.parameters: read 'outside', expected one of inline, external"):
        spec_of(EXTERNAL.replace('"external"', '"outside"'))
    with pytest.raises(SpecError, match="expected it beside `file` only"):
        spec_of(EXTERNAL.replace("file =", "expected = 'y.npy'\nmlir ="))


def test_a_job_that_left_only_a_part_is_not_complete():
    known = {"module.mlir": "m", "module.vmfb": "v", "expected_0.npy": "e"}
    nodes = plan_of("").nodes
    export, compiling, run = (make_job(node, environment="e", artifacts=known) for node in nodes)
    assert complete(export, ["module.mlir", "export.json", "expected_0.npy"])
    assert not complete(export, ["input_0.npy", "expected_0.npy", "export.json"])
    assert not complete(export, ["module.mlir", "export.json", "input_0.npy"])
    assert complete(run, ["output_0.npy"])
    assert not complete(run, [])
    assert not complete(compiling, [])
    del known["expected_0.npy"]
    assert complete(make_job(nodes[2], environment="e", artifacts=known), [])


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as opened:
        yield opened


def exported(store: Store, folder: Path) -> Run:
    """Of one cell whose one job left these files, as the store keeps them."""
    outputs = []
    for name in ("module.mlir", "export.json", "parameters.irpa", "input_0.npy", "expected_0.npy"):
        (folder / name).write_text(f"what is in {name}")
        outputs.append(store.put(folder / name, name))
    job = result("export", outputs=outputs)
    store.record(job)
    return report_of(plan_of("stages = ['export']\n"), [job])


def test_the_files_that_were_asked_for_and_no_others(tmp_path, store):
    cell = exported(store, tmp_path)
    out = tmp_path / "new" / "m.mlir"
    assert [path for path, _ in keep_files(cell, store, words("linear", out))] == [out]
    assert out.read_text() == "what is in module.mlir"
    more = words("linear", out, parameters=tmp_path / "w.irpa", arrays=True)
    names = ["m.mlir", "w.irpa", "m.input_0.npy", "m.expected_0.npy"]
    assert [path.name for path, _ in keep_files(cell, store, more)] == names
    assert (tmp_path / "new" / "m.expected_0.npy").read_text() == "what is in expected_0.npy"
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(set(names) - {"w.irpa"})


def test_a_place_that_cannot_be_written_and_an_export_that_failed(tmp_path, store):
    cell = exported(store, tmp_path)
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UsageError, match=r"m\.mlir cannot be written"):
        list(keep_files(cell, store, words("linear", tmp_path / "taken" / "m.mlir")))
    log = "job_script.ModelFault: model() raised ValueError: no weights here in /srv/mine.py"
    job = result("export", Outcome.FAILED, key="failed", log=log)
    store.record(job)
    failed = report_of(plan_of("stages = ['export']\n"), [job])
    with pytest.raises(
        ExportFailed, match=r"failed at export: model-raised\n.*no weights here in /srv/mine.py"
    ) as raised:
        list(keep_files(failed, store, words("mine.py")))
    assert raised.value.tip == recognise(log).next_step
