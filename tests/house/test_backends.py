"""A backend is one record: the names of IREE's axes and stages stand in it, and in what is IREE's alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from matrix.plan.backends.iree.record import IREE
from matrix.plan.backends.shared import BARE, MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS
from matrix.plan.stages import backends

ROOT = Path(__file__).parents[2]
MATRIX = ROOT / "matrix"
RECORD = MATRIX / "plan" / "backends"
SHARED = {MODEL_AXIS.name, PYTHON_AXIS.name, TARGET_AXIS.name}
AXES = {axis.name for axis in IREE.axes} - SHARED
STAGES = {kind.name for kind in IREE.stages}

OTHER_WORDS = {
    "matrix/artifacts/program_audit.py": {"build"},  # a word in a program's strings
    "matrix/answers/compiling/phases.py": {"compile", "phases"},  # a word, a key of its document
    "matrix/builds/linkage.py": {"link", "runtime"},  # folders of IREE's sources, keys of a toolchain's table
    "matrix/builds/planning.py": {"benchmark", "runtime"},
    "matrix/builds/sources.py": {"runtime"},
    "matrix/builds/tools.py": {"benchmark", "link"},
    "matrix/cli/export.py": {"export"},  # verbs of the command line
    "matrix/cli/options.py": {"build"},
    "matrix/cli/run.py": {"profile"},
    "matrix/cli/arguments/phases.py": {"phases"},  # a preset
    "matrix/cli/arguments/profile.py": {"profile"},
    "matrix/cli/triaging/again.py": {"run"},
    "matrix/cli/verbs.py": {"export", "phases", "profile", "run"},
    "matrix/cli/upkeep.py": {"flags"},  # of a CPU, in /proc/cpuinfo
    "matrix/core/machine.py": {"flags"},
    "matrix/core/keys.py": {"link", "run"},  # kinds of files in a tree
    "matrix/engines/docker/image_verbs.py": {"build"},  # verbs of `image`
    "matrix/engines/docker/kind.py": {"build"},
    "matrix/engines/nix/image_verbs.py": {"build"},
    "matrix/engines/nix/kind.py": {"build"},
    "matrix/environments/index.py": {"build", "compile", "run"},  # `uv build`, `uv pip compile`, `uv tool run`
    "matrix/environments/own/packages.py": {"build"},  # a folder
    "matrix/images/layer_files.py": {"link"},  # a kind of member of a tar
    "matrix/plan/spec.py": {"benchmark"},  # the section of a spec
    "matrix/site/api/documents.py": {"run"},  # a key of the documents: the file of a run
    "matrix/site/api/files.py": {"run"},
    "matrix/site/views.py": {"count", "link"},  # a number, an address
}
"""Where the same word is another thing's name."""

IREES_NAMES = {f"matrix.plan.backends.iree.{name}" for name in ("environments", "names", "record", "stages", "values")}
IREES_OWN = {
    "matrix/answers/candidates.py",  # compiler releases ranked
    "matrix/answers/causes.py",  # gates of the `.vmfb`
    "matrix/answers/compiled.py",  # statistics of iree-compile
    "matrix/answers/predictions.py",
    "matrix/answers/whatis.py",
    "matrix/builds/linkage.py",
    "matrix/cli/boards/bundle.py",
    "matrix/cli/boards/firmware.py",
    "matrix/cli/boards/smoke.py",
    "matrix/cli/export.py",
    "matrix/plan/stages.py",  # the table of backends
    "matrix/results/migrations.py",  # files of format 1 know no other backend
    "matrix/results/weights.py",  # what a `.vmfb` weighs
}
"""What says something of IREE's stages or axes that is so of no other backend. This list only shrinks."""


def modules() -> dict[str, ast.Module]:
    paths = [path for path in sorted(MATRIX.rglob("*.py")) if not path.is_relative_to(RECORD)]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_the_names_of_irees_axes_and_stages_stand_in_its_record():
    found = {}
    for name, tree in modules().items():
        words = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if more := words & (AXES | STAGES) - OTHER_WORDS.get(name, set()):
            found[name] = more
    assert found == {}


def test_only_what_is_irees_alone_reads_its_record():
    reads = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in IREES_NAMES
    }
    assert reads == IREES_OWN


def test_a_further_backend_is_named_nowhere_but_in_its_record():
    """What reads records names none of them: neither its stages, nor its axes, nor its environments."""
    shared = {*SHARED, TORCH_AXIS.name}
    names = {
        row.name
        for backend in backends()[1:]
        for row in (*backend.stages, *backend.axes, *backend.environments)
        if row.name not in shared
    }
    words = {
        name: {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for name, tree in modules().items()
    }
    assert {name: found & names for name, found in words.items() if found & names} == {}


def test_no_stage_axis_or_environment_has_the_name_of_another():
    """Two backends may share an axis or a kind of environment; each has its own stages."""
    rows = {axis for backend in backends() for axis in backend.axes}
    kinds = {kind for backend in backends() for kind in backend.environments}
    for named in (rows, [kind for backend in backends() for kind in backend.stages], kinds):
        names = [row.name for row in named]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("backend", backends(), ids=lambda backend: backend.name)
def test_each_row_names_rows_that_there_are(backend):
    environments, axes = {kind.name for kind in backend.environments}, {axis.name for axis in backend.axes}
    stages = {kind.name for kind in backend.stages}
    for place, kind in enumerate(backend.stages):
        assert kind.environment in {*environments, BARE.name}
        assert {*kind.axes} <= axes
        before = {each.name for each in backend.stages[:place]}
        assert {*kind.after} <= before, "a stage stands behind those it follows"
        assert kind.comes_with in ("", *stages)
        assert all((ROOT / "scripts" / program).is_file() for program in (*kind.programs, kind.script) if program)
    for kind in backend.environments:
        assert {*kind.axes} <= axes
        assert kind.follows in ("", *environments)
    assert {*backend.square} <= axes
    assert (MATRIX / "data" / backend.signatures).is_file()
