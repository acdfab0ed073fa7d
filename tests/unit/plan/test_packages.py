"""Packages that a model names: read and not run, planned into an environment of their own, locked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from samples import catalogue, lock, spec_of

from matrix.core.data import data_root, model_files
from matrix.core.errors import IndexUnreachable, ModelUnusable, ResolutionRefused, SpecError, UsageError
from matrix.core.processes import Completed
from matrix.core.records import EnvironmentRequest, Lock, Outcome
from matrix.environments.index_failures import classify_failure
from matrix.environments.resolving import resolve_missing
from matrix.plan.axes import NONE
from matrix.plan.catalogue import Model
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import LockIndex, load_locks
from matrix.plan.question import Question
from matrix.run.own.models import MOST_FILES, files_of, packages_of
from matrix.run.planning import plan_of

ASKED = ("transformers==4.57.1",)
HASH = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
BASE_PINS = {"torch": "2.9.1", "iree-turbine": "3.9.0"}
WANTED = Path(__file__).parents[3] / "images" / "locks" / "wanted.toml"


def file(folder: Path, text: str) -> Path:
    path = folder / "model.py"
    path.write_text(text)
    return path


# -- the model file


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ('raise SystemExit\nPACKAGES = ("transformers==4.57.1", "einops")\n', ("transformers==4.57.1", "einops")),
        ('PACKAGES: tuple[str, ...] = ("einops>=0.8",)\n', ("einops>=0.8",)),
        ('PACKAGES = ["einops"]\n', ("einops",)),
        ("PACKAGES = ()\n", ()),
        ("# PACKAGES are none\n", ()),
        ("def model():\n    PACKAGES = 3\n", ()),
        ("PACKAGES = ('einops',\n", ()),
        ("import torch\n", ()),
    ],
)
def test_packages_are_read_and_not_run(tmp_path, text, packages):
    assert packages_of(file(tmp_path, text)) == packages


def test_the_files_beside_a_model_are_those_that_it_declares(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "__pycache__").mkdir()
    for name in ("weights.pt", "blocks.py", "other.py", "data/a", "data/deep/b", "data/__pycache__/c.pyc"):
        (tmp_path / name).write_text(name)
    model = file(tmp_path, 'raise SystemExit\nFILES = ("weights.pt", "blocks.py", "data/")\n')
    found = files_of(model)
    assert [name for name, _, _ in found] == ["blocks.py", "data/a", "data/deep/b", "weights.pt"]
    assert all(path == tmp_path / name for name, path, _ in found)
    before = {name: digest for name, _, digest in found}
    (tmp_path / "weights.pt").write_text("others")
    after = {name: digest for name, _, digest in files_of(model)}
    assert [name for name in before if before[name] != after[name]] == ["weights.pt"]
    assert files_of(file(tmp_path, "import torch\n")) == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"weights.pt"', "read 'weights.pt', expected a tuple of texts"),
        ('("none.pt",)', "read 'none.pt', expected a file, and there is none at"),
        ('("../weights.pt",)', "read '../weights.pt', expected a file or a folder beside the model"),
        ('("/etc/hostname",)', "read '/etc/hostname', expected a file or a folder beside the model"),
        ('("model.py",)', "read 'model.py', expected a file or a folder beside the model"),
        ('(".",)', "read '.', expected a file or a folder beside the model"),
        ('("many",)', f"read {MOST_FILES + 1} files, expected at most {MOST_FILES}"),
    ],
)
def test_files_that_cannot_be_had_are_refused(tmp_path, value, said):
    (tmp_path / "many").mkdir()
    for number in range(MOST_FILES + 1 if "many" in value else 0):
        (tmp_path / "many" / str(number)).touch()
    with pytest.raises(ModelUnusable, match="FILES: ") as caught:
        files_of(file(tmp_path, f"FILES = {value}\n"))
    assert said in str(caught.value)
    assert "weights.pt" in caught.value.tip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"einops"', "read 'einops', expected a tuple of texts"),
        ("(1,)", "read (1,), expected a tuple of texts"),
        ("NAMES", "read 'NAMES', expected a tuple of texts"),
        ('("ein ops",)', "read 'ein ops', expected a requirement"),
        ('("einops @ https://example.org/e.whl",)', "expected a package of the index, no address"),
        ('("Torch==2.8.0",)', "Torch is chosen by an axis"),
        ('("iree_turbine",)', "iree_turbine is chosen by an axis"),
        ('("--index-url=https://example.org", )', "expected a requirement"),
    ],
)
def test_packages_that_mean_nothing_are_named(tmp_path, value, said):
    with pytest.raises(ModelUnusable) as refused:
        packages_of(file(tmp_path, f"PACKAGES = {value}\n"))
    assert said in str(refused.value)
    assert "model.py: PACKAGES" in str(refused.value)
    assert "is read and not run" in refused.value.tip


# -- the plan


def planned(body: str = "", packages: tuple[str, ...] = ASKED, locks: Sequence[Lock] = ()) -> Plan:
    known = catalogue()
    index = dataclasses.replace(known.locks, locks=(*known.locks.locks, *locks), place=Path("store"))
    model = Model(name="bert", path=Path("bert.py"), digest="d2", packages=packages)
    return make_plan(spec_of(body), dataclasses.replace(known, locks=index, models={**known.models, "bert": model}))


def exporters(plan: Plan) -> list[Lock]:
    return [request.lock for request in plan.environments() if request.kind == "exporter"]


def test_a_model_with_packages_has_an_environment_of_its_own():
    plain, extended = exporters(planned("[axes]\nmodel = ['linear', 'bert']\n"))
    assert (plain.extends, plain.packages) == (None, ())
    assert (extended.extends, extended.packages, extended.digest) == (plain, ASKED, "")
    assert extended.path.parent == Path("store")
    assert "transformers" in extended.name


AXIS = "".join(
    f'[axis.transformers."{version}"]\npackages = ["transformers=={version}"]\n' for version in ("4.46.3", "4.57.1")
)


def test_an_axis_brings_packages_to_exports_only():
    plan = planned(f"[axes]\nmodel = ['bert', 'given']\nruntime = '3.10.0'\n{AXIS}", packages=("einops",))
    found = {lock.packages for lock in exporters(plan)}
    assert found == {("einops", "transformers==4.46.3"), ("einops", "transformers==4.57.1")}
    labels = [(cell.labels["model"], cell.labels["transformers"]) for cell in plan.cells]
    assert labels == [("bert", "4.46.3"), ("bert", "4.57.1"), ("given", NONE)]
    assert [plan.jobs(stage) for stage in ("export", "compile")] == [2, 3]


def test_an_axis_with_a_wrong_package_is_named():
    with pytest.raises(SpecError) as refused:
        spec_of('[axis.other.one]\npackages = ["torch==2.8.0", "einops"]\n')
    assert "axis.other.one.packages[0]: read 'torch==2.8.0'" in str(refused.value)


def test_a_committed_lock_answers_and_the_newest_of_several():
    committed = [lock("exporter", {**BASE_PINS, "transformers": version}) for version in ("4.9.0", "4.57.1", "4.46.3")]
    both = lock("exporter", {**BASE_PINS, "transformers": "4.57.1", "einops": "0.8.1"})
    body = "[axes]\nmodel = 'bert'\n"
    for asked, pins in [
        (ASKED, committed[1]),
        (("transformers",), committed[1]),
        (("Transformers<4.50",), committed[2]),
        (("einops", "transformers"), both),
    ]:
        assert exporters(planned(body, asked, [*committed, both])) == [pins]
    for asked in (("transformers>5",), ("einops",), ("transformers[vision]",)):
        (found,) = exporters(planned(body, asked, [*committed, both]))
        assert found.digest == ""
    assert exporters(planned("", (), [*committed, both]))[0].pins == tuple(BASE_PINS.items())


def test_all_models_are_those_that_need_no_package():
    assert {*model_files("packaged")} == {"bert_transformers", "mobilenet_v2_torchvision"}
    labels = {cell.labels["model"] for cell in plan_of(Question(preset="models")).cells}
    assert labels == model_files().keys() - model_files("*").keys()


def test_shipped_models_of_a_package_have_a_committed_lock():
    (mobilenet,) = exporters(plan_of(Question(models=("mobilenet_v2_torchvision",), preset="quick")))
    found = [mobilenet, *exporters(plan_of(Question(preset="packages")))]
    assert len(found) == 4
    for each in found:
        assert each.extends is None
        assert each.path.is_relative_to(data_root())


# -- the lock in the store


class Index:
    """An index that answers with what it was asked for, or refuses."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.asked: list[tuple[tuple[str, ...], str, str, str]] = []

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]:
        raise AssertionError("nobody asks which releases there are")

    def resolve(
        self, requirements: Sequence[str], *, lowest_python: str, variant: str = "cuda", previous: str = ""
    ) -> str:
        self.asked.append((tuple(requirements), lowest_python, variant, previous))
        if self.refusal:
            raise ResolutionRefused("cannot resolve", tip=self.refusal)
        return f"numpy==2.0.2{HASH}transformers==4.57.1 ; python_full_version >= '3.11'{HASH}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Committed locks: one exporter's."""
    (tmp_path / "locks" / "exporter").mkdir(parents=True)
    (tmp_path / "locks" / "wanted.toml").write_text(WANTED.read_text())
    (tmp_path / "locks" / "exporter" / "torch-2.9.1+turbine-3.9.0.cuda.txt").write_text(
        f"# pins: torch==2.9.1 iree-turbine==3.9.0\nnumpy==2.0.2{HASH}iree-base-compiler==3.9.0{HASH}"
    )
    return tmp_path / "locks"


def extended(folder: Path, *, python: str = "3.11", packages: tuple[str, ...] = ("transformers",)) -> Lock:
    locks = load_locks(folder, folder.parent / "store")
    base = locks.find("exporter", BASE_PINS)
    assert base is not None
    return locks.with_packages(base, packages, python)


def resolved(folder: Path, index: Index, **options: str) -> Lock:
    lock = extended(folder, **options)
    said: list[str] = []
    request = EnvironmentRequest(kind="exporter", python=options.get("python", "3.11"), lock=lock)
    assert resolve_missing([request, request], index, said.append) == (lock.path,)
    assert "transformers with exporter/torch-2.9.1+turbine-3.9.0.cuda" in said[0]
    return extended(folder, **options)


def test_what_is_resolved_once_stays(folder):
    index = Index()
    lock = resolved(folder, index)
    ((requirements, python, variant, previous),) = index.asked
    assert requirements == ("torch==2.9.1", "iree-turbine==3.9.0", "iree-base-compiler==3.9.0", "transformers")
    assert (python, variant) == ("3.11", "cuda")
    assert "numpy==2.0.2" in previous
    assert lock.name == "exporter/torch-2.9.1+turbine-3.9.0+transformers-4.57.1.cuda"
    assert dict(lock.pins) == {**BASE_PINS, "transformers": "4.57.1"}
    assert lock.digest
    assert resolve_missing([EnvironmentRequest(kind="exporter", python="3.11", lock=lock)], index, print) == ()
    assert not list(lock.path.parent.glob("*.partial-*"))


def test_another_question_is_another_lock(folder):
    resolved(folder, Index())
    assert extended(folder, python="3.12").digest == ""
    assert extended(folder, packages=("transformers", "einops")).digest == ""
    base = folder / "exporter" / "torch-2.9.1+turbine-3.9.0.cuda.txt"
    base.write_text(base.read_text().replace("numpy==2.0.2", "numpy==2.1.0"))
    assert extended(folder).digest == ""


def test_a_damaged_lock_of_the_store_is_resolved_again(folder):
    lock = resolved(folder, Index())
    lock.path.write_text("# pins: ")
    assert extended(folder).digest == ""
    assert resolved(folder, Index()) == lock


def test_a_refusal_is_kept_and_makes_the_cells_not_installable(folder):
    lock = resolved(folder, Index("transformers 9 is not there"))
    assert lock.refusal == "transformers 9 is not there"
    known = catalogue()
    model = Model(name="bert", path=Path("bert.py"), digest="d2", packages=("transformers",))
    locks = load_locks(folder, folder.parent / "store")
    index = LockIndex(
        locks=(*known.locks.locks[1:], *locks.locks),
        pythons=known.locks.pythons,
        extended=locks.extended,
        place=locks.place,
    )
    plan = make_plan(
        spec_of("[axes]\nmodel = 'bert'\n"), dataclasses.replace(known, locks=index, models={"bert": model})
    )
    (cell,) = plan.cells
    assert plan.nodes[cell.nodes[0]].obstacle == (Outcome.NOT_INSTALLABLE, "transformers 9 is not there")


class Misspelled(Index):
    """An index that has torch, and no package of the name that is asked for; or nothing at all."""

    def __init__(self, *, everything: bool) -> None:
        super().__init__()
        self.everything = everything

    def releases(self, package: str, *, pythons: Sequence[str]) -> list[str]:
        if self.everything:
            raise IndexUnreachable(f"the index offers no release of {package}")
        return ["2.9.1"]

    def resolve(self, requirements: Sequence[str], **_: str) -> str:
        said = "Because transfomers was not found in the package registry and you require transfomers, we can conclude"
        done = Completed(argv=("uv",), exit_code=1, stdout="", stderr=f"  x No solution found:\n  {said}", seconds=1.0)
        raise classify_failure(done, what="cannot resolve", where="a lock")


def test_a_misspelled_package_is_said_to_be_one(folder):
    lock = extended(folder, packages=("transfomers",))
    request = EnvironmentRequest(kind="exporter", python="3.11", lock=lock)
    with pytest.raises(ModelUnusable, match="the package index has no package 'transfomers'") as caught:
        resolve_missing([request], Misspelled(everything=False), print)
    assert "spelling" in caught.value.tip and "--offline" not in caught.value.tip
    with pytest.raises(IndexUnreachable):  # it has no torch either: the index is at fault
        resolve_missing([request], Misspelled(everything=True), print)


# -- how a model is exported, on the command line


def test_parameters_and_strict_reach_the_export_of_a_model_in_python(tmp_path):
    model = file(tmp_path, "def model(): ...\ndef inputs(): ...\n")
    asked = Question(preset="models", models=(str(model),), parameters="external", strict="false")
    (export,) = {node.parameters for node in plan_of(asked).nodes if node.stage == "export"}
    assert ("parameters", "external") in export and ("strict", "false") in export
    (compiled,) = {node.flags for node in plan_of(asked).nodes if node.stage == "compile"}
    assert "--iree-opt-const-eval=false" in compiled
    assert asked.options[-4:] == ("--parameters", "external", "--strict", "false")
    with pytest.raises(UsageError, match="--parameters: read 'external', expected a model beside it"):
        plan_of(Question(preset="models", models=("linear",), parameters="external"))
