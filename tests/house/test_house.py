"""The rules of the house, held by tools: types, style, layers, and what must not be in any file."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from matrix.cli.verbs import VERB_MODULES, VERBS
from matrix.engines.choice import ENGINE_KINDS

ROOT = Path(__file__).parents[2]
CODE = sorted(path.relative_to(ROOT) for room in ("matrix", "scripts") for path in (ROOT / room).rglob("*.py"))
MATRIX = [path for path in CODE if path.parts[0] == "matrix"]
SCRIPTS = [path for path in CODE if path.parts[0] == "scripts"]
VAGUE = {"util", "utils", "helper", "helpers", "manager", "common", "misc"}

# Written in pieces, so that this file does not hold what it looks for.
REGISTRY = re.compile("py" r"pi\.org|python" r"hosted|files\.py" "python")
OWN_PATHS = re.compile(r"/(?:" "home" "|" "root" "|" "Users" r")/[\w.-]+|/" r"work/main|/" r"tmp/(?:wc|exp|bn)\b")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def tool(*words: str) -> None:
    """Runs a tool of this Python on the checkout; what it says is the message of the failure."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def files() -> list[Path]:
    """What is, or could be, in a commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_there_is_code_to_look_at():
    assert len(MATRIX) > 30
    assert Path("scripts/worker.py") in SCRIPTS


@pytest.mark.parametrize("path", MATRIX, ids=str)
def test_every_function_is_typed(path):
    bare = []
    for node in functions(path):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        untyped = [each.arg for each in every if each and not each.annotation and each.arg not in ("self", "cls")]
        bare += [node.name] * (node.returns is None) + untyped
    assert bare == []


def test_style():
    tool("-m", "ruff", "check")


def test_types():
    tool("-m", "mypy")


def test_imports_point_down_only():
    tool("-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache")


@functools.cache
def imports(path: Path) -> set[str]:
    """The first names of all imports, those inside functions among them."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0] if not node.level else "")
    return names


def test_the_package_and_the_scripts_do_not_know_each_other():
    here = {path.stem for path in SCRIPTS if path.parent == Path("scripts")}
    for path in SCRIPTS:
        assert "matrix" not in imports(path), path
    for path in MATRIX:
        assert "scripts" not in imports(path), path
        assert not imports(path) & (here - {"environment", "jobs"}), path
        assert "" not in imports(path), f"{path}: a relative import"


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_scripts_are_python_3_9(path):
    ast.parse((ROOT / path).read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize(
    "name",
    [
        *("worker.py", "box.py", "children.py", "confine.py", "cores.py", "jobs.py", "keeper.py", "forked.py"),
        *("environment.py", "protocol.py"),
    ],
)
def test_the_worker_needs_the_standard_library_only(name):
    own = {path.stem for path in SCRIPTS}
    assert imports(Path("scripts") / name) - own <= set(sys.stdlib_module_names)


def test_every_engine_passes_the_contract():
    for name in (kind.name for kind in ENGINE_KINDS):
        tests = ast.parse((ROOT / "tests" / "real" / f"test_engine_{name}.py").read_text(encoding="utf-8"))
        classes = [node for node in tests.body if isinstance(node, ast.ClassDef)]
        assert any(
            ast.unparse(base) in ("EngineContract", "DockerContract") for node in classes for base in node.bases
        ), name


ENGINES_NAMED = {
    "matrix/core/records.py": "the name of the default",
    "matrix/environments/index.py": "a command of uv",
    "matrix/environments/own/packages.py": "a folder",
    "matrix/plan/user_inputs.py": "a folder",
    "matrix/images/nix/locking.py": "a folder",
}
"""Where a literal outside `engines/` is an engine's name, and what it is there."""


def test_only_the_engines_name_an_engine():
    names = {kind.name for kind in ENGINE_KINDS}
    literals, imported = set(), set()
    for path in MATRIX:
        if path.parts[1] == "engines":
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and node.value in names:
                literals.add(path.as_posix())
            if isinstance(node, ast.ImportFrom) and set((node.module or "").split(".")[2:3]) & names:
                imported |= {path.as_posix()} if (node.module or "").startswith("matrix.engines.") else set()
            if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith("engine.name"):
                literals.add(path.as_posix())
    assert (literals, imported) == (set(ENGINES_NAMED), set())


def test_no_test_imports_a_test():
    tests = [path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]
    imported = {path.name: {name for name in imports(path) if name.startswith("test_")} for path in tests}
    assert {name: found for name, found in imported.items() if found - {Path(name).stem}} == {}


def test_unit_and_component_tests_mirror_the_rooms():
    rooms = {path.name for path in (ROOT / "matrix").iterdir() if (path / "__init__.py").is_file()} | {"scripts"}
    for kind in ("unit", "component"):
        assert {path.parent.name for path in (ROOT / "tests" / kind).rglob("test_*.py")} <= rooms


def test_every_verb_is_a_function_of_its_module():
    verbs = {verb: module for module, verbs in VERB_MODULES.items() for verb in verbs}
    assert set(verbs) == set(VERBS)
    for verb, module in verbs.items():
        assert callable(getattr(importlib.import_module(f"matrix.cli.{module}"), "do_" + verb.replace("-", "_"))), verb


def test_the_flakes_lock_has_what_the_package_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    locked = (ROOT / "images" / "nix" / "matrix.txt").read_text(encoding="utf-8")
    assert wanted <= set(re.findall(r"(?m)^([a-z0-9-]+)==", locked)), "run `nox -s lock -- --nix-only`"


def test_names_say_something():
    assert [path for path in files() if path.suffix == ".py" and path.stem in VAGUE] == []


def test_no_file_names_a_registry_or_a_folder_of_somebodys_machine():
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in REGISTRY.finditer(text)]
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in OWN_PATHS.finditer(text)]
    assert found == []
