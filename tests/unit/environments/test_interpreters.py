"""Which interpreter answers for a version, with fake ones that are shell scripts and the real one that runs this."""

from __future__ import annotations

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
