"""The rooms of `matrix/`: their sizes, their faces, and that a name means one thing in all of them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MATRIX = ROOT / "matrix"
CODE = sorted(path for folder in (MATRIX, ROOT / "scripts") for path in folder.rglob("*.py"))
ROOMS = sorted(path.parent for path in MATRIX.rglob("__init__.py"))
FUNCTION_LINES, MODULE_LINES, MODULES, PACKAGES = 50, 350, 12, 12
HEAVY = {
    "dask",
    "distributed",
    "numpy",
    "docker",
    "jinja2",
    "flatbuffers",
    "debian",
    "requests",
    "onnx",
    "cyclonedx",
    "rich",
    "PIL",
}
"""Packages that cost a verb its start and that few verbs use."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(path: Path) -> set[str]:
    """The functions, classes and constants that a module defines at its top."""
    names: set[str] = set()
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_a_module_fits_in_a_head():
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}


def test_a_function_fits_on_a_screen():
    long = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in CODE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name: count for name, count in long.items() if count > FUNCTION_LINES} == {}


def test_a_folder_can_be_read_at_a_glance():
    counts = {name_of(room): len({*room.glob("*.py")} - {room / "__init__.py"}) for room in ROOMS}
    assert {name: count for name, count in counts.items() if count > MODULES} == {}
    assert len([room for room in ROOMS if room.parent == MATRIX]) <= PACKAGES


@pytest.mark.parametrize("room", [room for room in ROOMS if room != MATRIX], ids=name_of)
def test_a_room_says_what_it_is_for_and_nothing_else(room):
    """No re-exports: they would import for every verb what one verb needs."""
    tree = parsed(room / "__init__.py")
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_a_public_name_is_defined_once():
    places = defaultdict(list)
    for path in sorted(MATRIX.rglob("*.py")):
        for name in public_names(path):
            places[name].append(name_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "portability"],
        ["plan", "models"],
        ["whatis", "--help"],
        ["show", "results/portability.json"],
        ["advise", "--model", "linear"],
        ["diff", "compiler", "3.8.0", "3.9.0"],
    ],
    ids=" ".join,
)
def test_a_verb_imports_nothing_that_it_does_not_use(words):
    code = (
        "import sys\nfrom matrix.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('\\n' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert HEAVY & {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()} == set()


def test_a_module_that_a_text_names_exists():
    """A module of the package in backticks, perhaps with a name that it defines, in code and documents."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    texts = [ROOT / name for name in listed.stdout.splitlines() if name.endswith((".py", ".md"))]
    missing = []
    for path in texts:
        for named in set(re.findall(r"`(matrix(?:\.[A-Za-z_]\w*)+)`", path.read_text(encoding="utf-8"))):
            place, rest = MATRIX, named.split(".")[1:]
            while rest and (place / rest[0]).is_dir():
                place /= rest.pop(0)
            module = (
                place / f"{rest.pop(0)}.py" if rest and (place / f"{rest[0]}.py").is_file() else place / "__init__.py"
            )
            if rest and rest[0] not in public_names(module):
                missing.append(f"{name_of(path)}: {named}")
    assert missing == []
