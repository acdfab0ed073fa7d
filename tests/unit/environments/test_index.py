"""pip's settings told to uv, and what uv's and pip's words mean. The messages are real ones; no network is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from matrix.core.errors import DiskFull, HashMismatch, IndexUnreachable, MatrixError, NotInstallable, PackageUnknown
from matrix.core.processes import Completed
from matrix.environments import pip_settings
from matrix.environments.index import PackageIndex, configured_index, without_hashes
from matrix.environments.index_failures import classify_failure, versions_in, yanked_in
from matrix.environments.pip_settings import as_uv_variables

HOST = "https://index.example/simple"
OTHER = "https://other.example/simple"


def said(stderr: str, exit_code: int = 1, *, stdout: str = "", timed_out: bool = False) -> Completed:
    return Completed(
        argv=("uv", "pip", "sync"), exit_code=exit_code, stdout=stdout, stderr=stderr, seconds=9.0, timed_out=timed_out
    )


# -- pip's settings


@pytest.fixture
def home(tmp_path, monkeypatch) -> dict[str, str]:
    """Variables of a machine with nothing set, whose own files of pip's are out of the way."""
    monkeypatch.setattr(pip_settings.sys, "prefix", str(tmp_path / "venv"))
    for folder in ("venv", "etc", "home"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(pip_settings, "SYSTEM_WIDE", tmp_path / "etc" / "pip.conf")
    return {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "etc" / "xdg")}


def conf(path: Path, **settings: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[global]\n" + "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items()))
    return path


def test_a_later_file_wins_and_a_variable_wins_over_all(home, tmp_path):
    conf(tmp_path / "etc" / "xdg" / "pip" / "pip.conf", timeout="1", retries="1", cert="xdg", proxy="p", index_url="a")
    conf(tmp_path / "etc" / "pip.conf", timeout="2", retries="2", cert="etc", index_url="b")
    conf(tmp_path / "home" / ".pip" / "pip.conf", timeout="3", retries="3", cert="legacy")
    conf(tmp_path / "home" / ".config" / "pip" / "pip.conf", timeout="4", retries="4")
    conf(tmp_path / "venv" / "pip.conf", timeout="5")
    found = pip_settings.read_pip_settings({**home, "PIP_DEFAULT_TIMEOUT": "6"})
    assert found == {"timeout": "6", "retries": "4", "cert": "legacy", "proxy": "p", "index-url": "b"}


def test_the_install_section_wins_over_global(home, tmp_path):
    path = conf(tmp_path / "venv" / "pip.conf", index_url=OTHER)
    path.write_text(path.read_text() + f"[install]\nindex_url = {HOST}\n[list]\nindex-url = no\n")
    assert pip_settings.read_pip_settings(home)["index-url"] == HOST


def test_a_named_file_replaces_the_users_and_wins(home, tmp_path):
    conf(tmp_path / "home" / ".config" / "pip" / "pip.conf", timeout="4", retries="4")
    conf(tmp_path / "venv" / "pip.conf", timeout="5")
    named = conf(tmp_path / "named.conf", timeout="7")
    assert pip_settings.read_pip_settings({**home, "PIP_CONFIG_FILE": str(named)}) == {"timeout": "7"}


def test_the_null_device_switches_all_files_off(home, tmp_path):
    conf(tmp_path / "venv" / "pip.conf", timeout="5")
    found = pip_settings.read_pip_settings({**home, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "2"})
    assert found == {"retries": "2"}


def test_a_damaged_file_is_passed_over(home, tmp_path):
    (tmp_path / "venv" / "pip.conf").write_text("no section\n")
    assert pip_settings.read_pip_settings(home) == {}


def test_settings_become_variables_of_uv(tmp_path):
    settings = {
        "index-url": HOST,
        "extra-index-url": f"\n{OTHER}\n{HOST}",
        "find-links": f"{tmp_path} {tmp_path / 'not-there'} {OTHER}",
        "cert": "/ca.pem",
        "trusted-host": "a.example b.example",
        "timeout": "180",
        "retries": "2",
    }
    assert as_uv_variables(settings, {}) == {
        "UV_DEFAULT_INDEX": HOST,
        "UV_INDEX": f"{OTHER} {HOST}",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path},{OTHER}",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INSECURE_HOST": "a.example b.example",
        "UV_HTTP_TIMEOUT": "180",
        "UV_HTTP_RETRIES": "2",
    }


@pytest.mark.parametrize(
    "said_to_uv",
    ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS", "UV_HTTP_TIMEOUT", "SSL_CERT_FILE"],
)
def test_what_the_user_told_uv_is_left_alone(home, tmp_path, said_to_uv):
    settings = {
        "PIP_INDEX_URL": HOST,
        "PIP_EXTRA_INDEX_URL": HOST,
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_TIMEOUT": "1",
        "PIP_CERT": "/ca.pem",
    }
    environ = {**home, **settings, said_to_uv: "mine"}
    assert configured_index(environ).environment[said_to_uv] == "mine"
    if said_to_uv == "UV_INDEX_URL":
        assert "UV_DEFAULT_INDEX" not in configured_index(environ).environment


@pytest.mark.parametrize(("read", "whole"), [("2.5", "2"), ("0.1", "1"), ("180", "180"), ("soon", "30")])
def test_uv_takes_whole_seconds(read, whole):
    assert as_uv_variables({"timeout": read}, {})["UV_HTTP_TIMEOUT"] == whole


def test_no_index_is_an_option(home):
    assert configured_index({**home, "PIP_NO_INDEX": "1"}).options == ("--no-index",)
    assert configured_index({**home, "PIP_NO_INDEX": "0"}).options == ()


def test_variables_that_would_aim_uv_elsewhere_are_dropped(home):
    environ = {**home, "VIRTUAL_ENV": "x", "UV_TORCH_BACKEND": "cpu", "PYTHONPATH": "x", "PATH": "kept"}
    assert set(configured_index(environ).environment) == {"HOME", "XDG_CONFIG_DIRS", "PATH", "COLUMNS"}


# -- what uv's words mean


NO_WHEELS = """\
Using Python 3.9.18 environment at: v
error: No solution found when resolving dependencies
  cause: Because iree-base-compiler==3.13.0 has no wheels with a matching Python implementation tag (e.g., `cp39`) \
and you require iree-base-compiler==3.13.0, we can conclude that your requirements are unsatisfiable.

hint: You require CPython 3.9 (`cp39`), but we only found wheels for `iree-base-compiler` (v3.13.0) with the \
following Python implementation tags: `cp310`, `cp311`, `cp312`, `cp313`
"""
DRAWN = """\
  \u00d7 No solution found when resolving dependencies for split
  \u2502 (python_full_version == '3.9.*'):
  \u2570\u2500\u25b6 Because the requested Python version (>=3.9) does not satisfy
      Python>=3.10 and torch==2.9.1 depends on Python>=3.10, we can conclude
      that torch==2.9.1 cannot be used.
      And because you require torch==2.9.1, we can conclude that your
      requirements are unsatisfiable.

      hint: The `requires-python` value (>=3.9) includes Python versions that
      are not supported by your dependencies (e.g., torch==2.9.1 only supports
      >=3.10). Consider using a more restrictive `requires-python` value (like
      >=3.10).
"""
NO_VERSION = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of iree-base-runtime==3.7.1 and you require iree-base-runtime==3.7.1, we can \
conclude that your requirements are unsatisfiable.
"""
REFUSED_CONNECTION = """\
Using Python 3.11.2 environment at: v
error: Request failed after 3 retries in 4.7s
  cause: Failed to fetch: http://user:secret@127.0.0.1:9/simple/sympy/
  cause: error sending request for url (http://user:secret@127.0.0.1:9/simple/sympy/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
OFFLINE = """\
error: No solution found when resolving dependencies
  cause: Because iree-base-compiler was not found in the cache and you require iree-base-compiler==3.8.0, we can \
conclude that your requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may \
only be read from the cache.
"""
NOT_CACHED = """\
error: Failed to download `iree-base-runtime==3.9.0`
  cause: Network connectivity is disabled, but the requested data wasn't found in the cache: https://x.example/a.whl
"""
PYTHON_TOO_OLD = """\
error: No solution found when resolving dependencies
  cause: Because the current Python version (3.9.18) does not satisfy Python>=3.10 and you require filelock==4.1.0, we \
can conclude that your requirements are unsatisfiable.
"""
NOT_IN_REGISTRY = """\
error: No solution found when resolving dependencies
  cause: Because iree-base-compiler was not found in the package registry and you require iree-base-compiler==3.8.0, \
we can conclude that your requirements are unsatisfiable.
"""
WRONG_HASH = """\
Resolved 4 packages in 71ms
Downloading numpy (16.1MiB)
error: Failed to download `mpmath==1.3.0`
  cause: Hash mismatch for `mpmath==1.3.0`

         Expected:
           sha256:70000b2a9774d00c7bc92411c19a89209d5da7c4c9a9e227be8330a23a25b91f

         Computed:
           sha256:a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c
"""
FULL = """\
error: Failed to install: numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (numpy==2.4.6)
  cause: failed to copy file from /a to /b: No space left on device (os error 28)
"""
BAD_ARCHIVE = """\
error: Failed to download `numpy==2.4.6`
  cause: Failed to extract archive: numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
  cause: Bad uncompressed size (got 002b3ccb, expected 002b3cd1) for file: numpy.libs/libgfortran-040039e1.so.5.0.0
"""
CUT_OFF = """\
error: Failed to download `numpy==2.4.6`
  cause: Failed to extract archive: numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
  cause: error reading a body from connection
  cause: end of file before message length reached
"""


@pytest.mark.parametrize(
    ("text", "exit_code", "kind", "words"),
    [
        (BAD_ARCHIVE, 2, HashMismatch, "manylinux_2_28_x86_64.whl is no whole wheel: Bad uncompressed size"),
        (CUT_OFF, 2, IndexUnreachable, "end of file before message length reached"),
        (NO_WHEELS, 1, NotInstallable, "has no wheels with a matching Python implementation tag"),
        (DRAWN, 1, NotInstallable, "does not satisfy Python>=3.10"),
        (NO_VERSION, 1, NotInstallable, "there is no version of iree-base-runtime==3.7.1"),
        (REFUSED_CONNECTION, 2, IndexUnreachable, "Connection refused"),
        (OFFLINE, 1, IndexUnreachable, "the network is off"),
        (NOT_CACHED, 1, IndexUnreachable, "the network is off"),
        (NOT_IN_REGISTRY, 1, PackageUnknown, "the package index has no package iree-base-compiler"),
        (WRONG_HASH, 1, HashMismatch, "mpmath==1.3.0"),
        (FULL, 2, DiskFull, "no space left"),
        ("error: something new", 2, MatrixError, "exit code 2"),
    ],
)
def test_every_failure_has_its_class(text, exit_code, kind, words):
    error = classify_failure(said(text, exit_code), what="cannot install compiler/3.8.0", where="compiler/3.8.0.txt")
    assert type(error) is kind
    assert words in str(error)
    if isinstance(error, MatrixError):
        assert str(error).startswith("cannot install compiler/3.8.0: ")
        assert error.tip


@pytest.mark.parametrize("text", [NO_WHEELS, DRAWN, NO_VERSION])
def test_a_reason_is_one_line_without_logic(text):
    error = classify_failure(said(text), what="", where="")
    assert isinstance(error, NotInstallable)
    assert "\n" not in error.reason
    assert "unsatisfiable" not in error.reason
    assert "hint" not in error.reason
    assert not error.reason.startswith("Because")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            NO_WHEELS,
            "iree-base-compiler==3.13.0 has no wheels with a matching Python implementation tag (e.g., `cp39`)",
        ),
        (
            DRAWN,
            "the requested Python version (>=3.9) does not satisfy Python>=3.10"
            " and torch==2.9.1 depends on Python>=3.10",
        ),
        (NO_VERSION, "there is no version of iree-base-runtime==3.7.1"),
        (
            PYTHON_TOO_OLD,
            "the current Python version (3.9.18) does not satisfy Python>=3.10 and you require filelock==4.1.0",
        ),
    ],
)
def test_the_reason_word_for_word(text, expected):
    assert str(classify_failure(said(text), what="", where="")) == expected


def test_a_hash_mismatch_names_package_version_and_lock():
    error = classify_failure(said(WRONG_HASH), what="cannot install compiler/3.8.0", where="compiler/3.8.0.txt")
    assert "mpmath==1.3.0" in str(error)
    assert "compiler/3.8.0.txt" in str(error)
    assert "nox -s lock" in getattr(error, "tip", "")


def test_an_address_never_reaches_the_message():
    error = classify_failure(said(REFUSED_CONNECTION, 2), what="cannot install x", where="x")
    assert "secret" not in str(error)


def test_no_end_in_time_is_the_index():
    assert isinstance(classify_failure(said("", -15, timed_out=True), what="w", where="x"), IndexUnreachable)


# -- pip's words


def test_versions_as_pip_prints_them():
    text = "iree-base-compiler (3.13.0)\nAvailable versions: 3.13.0, 3.12.0, 3.7.1\n  INSTALLED: 3.7.1\n"
    assert versions_in(said("WARNING: experimental", 0, stdout=text)) == ["3.13.0", "3.12.0", "3.7.1"]


def test_a_package_without_wheels_for_a_python_has_no_versions():
    assert versions_in(said("ERROR: No matching distribution found for torch")) == []


@pytest.mark.parametrize("broken", [
    "NewConnectionError('<x>: Failed to establish a new connection: [Errno 111] Connection refused')",
    """NewConnectionError("HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new connection: """
    """[Errno 111] Connection refused")""",  # pip 26.3
])  # fmt: skip
def test_pip_without_a_connection(broken):
    text = (
        "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection "
        f"broken by '{broken}': /simple/\n"
        "ERROR: No matching distribution found for torch\n"
    )
    with pytest.raises(IndexUnreachable, match=r"connection: \[Errno 111\] Conn\w+ refused$"):
        versions_in(said(text))


def test_another_failure_of_pip_can_be_replayed():
    with pytest.raises(MatrixError, match="uv pip sync"):
        versions_in(said("Traceback: boom", 2))


def test_releases_are_the_union_over_the_pythons(monkeypatch):
    fits = {"3.9": ["3.10.0", "3.9.0"], "3.14": ["3.13.0", "3.10.0", "3.14.0rc1"], "3.15": []}
    monkeypatch.setattr(PackageIndex, "_releases", lambda self, package, python: fits[python])
    found = PackageIndex(environment={}).releases("iree-base-compiler", pythons=list(fits))
    assert found == ["3.13.0", "3.10.0", "3.9.0"]


def test_no_release_at_all_is_not_believed(monkeypatch):
    monkeypatch.setattr(PackageIndex, "_releases", lambda self, package, python: [])
    with pytest.raises(IndexUnreachable, match="no release of iree-base-compiler"):
        PackageIndex(environment={}).releases("iree-base-compiler", pythons=["3.9"])


# -- locks


def test_hashes_are_taken_off_and_markers_stay():
    text = (
        "# pins: a==1\na==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "numpy==2.0.2 ; python_full_version < '3.10' \\\n    --hash=sha256:22\n"
    )
    assert without_hashes(text) == "a==1\nnumpy==2.0.2 ; python_full_version < '3.10'\n"
    assert without_hashes("") == ""


def test_a_yanked_release_is_seen():
    text = 'warning: `requests==2.32.0` is yanked (reason: "Yanked due to conflicts")\n'
    reason = "requests==2.32.0 was yanked from the index: Yanked due to conflicts"
    assert yanked_in(text, ["requests==2.32.0"]) == reason
    assert yanked_in(text, ["requests==2.32.1"]) == ""
