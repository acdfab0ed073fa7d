"""What Nix says when it fails becomes an error with a next step. The messages are those of Nix 2.8 and 2.18."""

from __future__ import annotations

import pytest

from matrix.core.errors import DiskFull, EngineMissing, ImageFault, MatrixError, ProgramKilled, StoreUnusable
from matrix.core.processes import Completed
from matrix.engines.nix.store import InputLacking, Settings, nix_failure

SAID = {
    "error: writing to file: No space left on device": DiskFull,
    "error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused": EngineMissing,
    "error: opening lock file '/nix/var/nix/db/big-lock': Permission denied": StoreUnusable,
    "error: creating directory '/nix/store/.links': Read-only file system": StoreUnusable,
    "error: remounting /nix/store writable: Invalid argument": StoreUnusable,
    "error: hash mismatch in fixed-output derivation '/nix/store/x.drv':\n  specified: sha256-a\n  got: sha256-b": (
        ImageFault
    ),
    "x.whl is not in the Nix store: put it there with: python -m matrix image build --engine nix": InputLacking,
    "error: builder for '/nix/store/x.drv' failed with exit code 1": ImageFault,
    "x.whl: no space left to unpack it\nerror: builder for '/nix/store/x.drv' failed with exit code 1": DiskFull,
    "don't know how to build these paths:\n  /nix/store/x": InputLacking,
    "error: builder for '/nix/store/x.drv' failed due to signal 9 (Killed)": ProgramKilled,
    "error: builder for '/nix/store/x.drv' failed with exit code 130": ProgramKilled,
    "error: interrupted by the user": ProgramKilled,
    "error: unexpected EOF reading a line\n(use '--show-trace' to show detailed location information)": ProgramKilled,
    "error: cannot evaluate": MatrixError,
}


def ended(stderr: str) -> Completed:
    return Completed(argv=("nix-build", "x.nix"), exit_code=1, stdout="", stderr=stderr, seconds=1.0)


@pytest.mark.parametrize(("said", "kind"), SAID.items(), ids=range(len(SAID)))
def test_a_failure_has_a_class_and_a_next_step(said, kind):
    error = nix_failure(ended("warning: the group 'nixbld' does not exist\n" + said), "cannot build x")
    assert type(error) is kind
    assert str(error).startswith("cannot build x")
    assert said.splitlines()[-1].strip() in str(error)
    assert error.tip


QUOTED = """\
error: builder for '/nix/store/x.drv' failed with exit code 130;
       last 3 log lines:
       > Traceback (most recent call last):
       >   File "builder.py", line 103, in run_builder
       > KeyboardInterrupt
       For full logs, run 'nix log /nix/store/x.drv'."""
PRINTED = """\
building '/nix/store/x.drv'...
Traceback (most recent call last):
  File "builder.py", line 103, in run_builder
    getattr(build, what)(out)
KeyboardInterrupt
error: builder for '/nix/store/x.drv' failed with exit code 130"""


@pytest.mark.parametrize("said", [QUOTED, PRINTED], ids=["quoted", "printed"])
def test_a_builder_that_was_interrupted_leaves_no_traceback(said):
    text = str(nix_failure(ended(said), "cannot build x"))
    assert "Traceback" not in text and "builder.py" not in text
    assert "KeyboardInterrupt" in text and "exit code 130" in text


def settings(*substituters: str, group: str = "") -> Settings:
    return Settings(version="2.8.0", sandbox=True, substituters=substituters, build_users_group=group)


def test_only_a_cache_of_ones_own_is_asked():
    assert not settings("https://cache.nixos.org/").asks_caches
    assert not settings().asks_caches
    assert settings("https://cache.nixos.org/", "file:///cache").asks_caches
    assert "substitute" in settings("https://cache.nixos.org/").options
    assert "substitute" not in settings("file:///cache").options


def test_root_builds_where_nobody_made_build_users(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "build-users-group" in settings(group="no-such-group-here").options
    assert "build-users-group" not in settings(group="root").options
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "build-users-group" not in settings(group="no-such-group-here").options
