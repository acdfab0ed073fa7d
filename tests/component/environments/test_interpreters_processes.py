"""Interpreters are started to say what they are: shell scripts here, and the real one that runs this."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from matrix.core.errors import EngineMissing
from matrix.environments import interpreters


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No answer of another test is remembered, and uv has no Pythons of its own and downloads none."""
    interpreters._ask.cache_clear()
    monkeypatch.setattr(interpreters, "_found", {})
    monkeypatch.setattr(interpreters, "_uv_managed", lambda python, environ: iter(()))


def fake(path: Path, version: str, *, implementation: str = "cpython", real: Path | None = None) -> Path:
    """A script that answers as an interpreter of that version would."""
    answer = {
        "path": str(real or path),
        "version": version,
        "implementation": implementation,
        "c_library": "glibc 2.99",
        "machine": "x86_64",
    }
    return script(path, f"echo '{json.dumps(answer)}'")


def script(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def environ(tmp_path: Path, *on_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": os.pathsep.join(map(str, on_path)), "UV_PYTHON_DOWNLOADS": "never"}


def test_a_process_and_the_running_interpreter_say_the_same():
    assert interpreters._ask(Path(sys.executable)) == interpreters.running()
    assert interpreters._ask(interpreters.running().path) == interpreters.running()


def test_the_path_comes_before_pyenv(tmp_path):
    on_path = fake(tmp_path / "bin" / "python3.77", "3.77.1")
    in_pyenv = fake(tmp_path / ".pyenv" / "versions" / "3.77.5" / "bin" / "python3.77", "3.77.5")
    found = list(interpreters.find_all("3.77", environ(tmp_path, on_path.parent)))
    assert [info.path for info in found] == [on_path, in_pyenv]


def test_a_shim_that_does_not_answer_is_passed_over(tmp_path):
    said = "pyenv: python3.77: command not found"
    shim = script(tmp_path / ".pyenv" / "shims" / "python3.77", f"echo '{said}' >&2; exit 127")
    real = fake(tmp_path / ".pyenv" / "versions" / "3.77.5" / "bin" / "python3.77", "3.77.5")
    assert [info.path for info in interpreters.find_all("3.77", environ(tmp_path, shim.parent))] == [real]


def test_a_shim_that_answers_is_known_by_the_real_path(tmp_path):
    real = fake(tmp_path / "opt" / "python3.77", "3.77.2")
    shim = fake(tmp_path / "shims" / "python3.77", "3.77.2", real=real)
    assert [info.path for info in interpreters.find_all("3.77", environ(tmp_path, shim.parent))] == [real]


def test_pyenvs_root_is_the_one_that_is_set_and_the_newest_patch_is_first(tmp_path):
    versions = tmp_path / "elsewhere" / "versions"
    for version in ("3.77.9", "3.77.10", "3.7.7", "3.77-dev"):
        fake(versions / version / "bin" / "python3.77", version)
    found = interpreters.find_all("3.77", {**environ(tmp_path), "PYENV_ROOT": str(tmp_path / "elsewhere")})
    assert [info.version for info in found] == ["3.77.10", "3.77.9"]


@pytest.mark.parametrize(
    ("version", "implementation"), [("3.77.1", "pypy"), ("3.77.1", "cpython-t"), ("3.76.1", "cpython")]
)
def test_another_implementation_or_version_does_not_count(tmp_path, version, implementation):
    on_path = fake(tmp_path / "bin" / "python3.77", version, implementation=implementation)
    assert list(interpreters.find_all("3.77", environ(tmp_path, on_path.parent))) == []


@pytest.mark.parametrize("line", ["exit 1", "echo no json", "echo '{}'", "kill -9 $$"])
def test_what_answers_nonsense_is_no_python(tmp_path, line):
    assert interpreters.probe(script(tmp_path / "python3.77", line)) is None
    with pytest.raises(EngineMissing):
        interpreters.describe(tmp_path / "python3.77")
