"""Which interpreter answers for a version, with fake ones that are shell scripts and the real one that runs this."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.core import processes
from matrix.core.errors import EngineMissing
from matrix.environments import interpreters
from matrix.run.store import Store

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


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


def test_the_running_interpreter_is_described_without_a_process(monkeypatch):
    monkeypatch.setattr(processes, "run", lambda *args, **kwargs: pytest.fail("started a process"))
    info = interpreters.find(THIS)
    assert info == interpreters.describe(Path(sys.executable))
    assert info.version == ".".join(map(str, sys.version_info[:3]))
    assert info.implementation == "cpython"
    assert info.path.is_file()
    assert not info.path.is_symlink()


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


def test_a_missing_python_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "_download", lambda python, environ: pytest.fail("tried to download"))
    for name, value in environ(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    with pytest.raises(EngineMissing, match=r"no Python 3\.77") as missing:
        interpreters.find("3.77")
    for word in ("apt install python3.77", "pyenv install 3.77", "uv python install 3.77"):
        assert word in missing.value.tip


def test_a_missing_python_is_looked_for_once(tmp_path, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(interpreters, "find_all", lambda python, environ: asked.append(python) or iter(()))
    monkeypatch.setattr(interpreters, "_download", lambda python, environ: asked.append("download"))
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS", raising=False)
    monkeypatch.delenv("UV_OFFLINE", raising=False)
    for _ in range(3):
        with pytest.raises(EngineMissing):
            interpreters.find("3.77")
    assert asked == ["3.77", "download"]


def test_nothing_is_downloaded_offline(monkeypatch):
    monkeypatch.setattr(interpreters, "_download", lambda python, environ: pytest.fail("tried to download"))
    monkeypatch.setattr(interpreters, "find_all", lambda python, environ: iter(()))
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS", raising=False)
    with pytest.raises(EngineMissing):
        interpreters.find("3.77", offline=True)


def test_uv_is_found_from_many_threads():
    from concurrent.futures import ThreadPoolExecutor

    interpreters._uv_binary.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: interpreters.uv_binary(), range(32)))
    assert len(found) == 1
    assert os.access(found.pop(), os.X_OK)


def test_a_plan_says_which_python_is_missing_and_goes_on(tmp_path, monkeypatch, capsys):
    """A store that is there already makes it look at what stands; a machine without a Python is no reason to stop."""
    running = interpreters.find_all
    monkeypatch.setattr(
        interpreters, "find_all", lambda python, environ: running(python, environ) if python == THIS else ()
    )
    with Store(tmp_path / "store"):
        pass
    words = ["--python", ">=3.13", "--only", "runtime=3.13.0", "--only", "compiler=3.13.0", "--engine", "venv"]
    assert main(["plan", "pythons", "--store", str(tmp_path / "store"), *words]) == 0
    said = capsys.readouterr().out
    assert re.search(r"missing +no Python 3\.14 on this machine: 6 environments stay untested", said), said
    assert re.search(r"cells +12, 0 done, 12 stay untested", said), said
