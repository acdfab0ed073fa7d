"""What the tests of Nix share: its store, or a loud skip; an engine below a folder."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ROOT
from containers import workshop
from debian_programs import program
from engine_contract import request_for

from matrix.engines.nix import NixEngine
from matrix.engines.sandbox import Sandbox
from matrix.errors import MatrixError
from matrix.nixmaking import Maker
from matrix.nixstore import NixStore
from matrix.worker import WorkerEvent

USED = (("compiler", "3.8.0"), ("runtime", "3.8.0"), ("runtime", "3.12.0"), ("runtime", "3.13.0"))


def nix_or_skip() -> NixStore:
    """Debian's own, or whatever Nix is here. A skip is not a pass: it says what was not tested."""
    program("nix-build", "nix-bin")
    program("bwrap", "bubblewrap")
    try:
        return NixStore()
    except MatrixError as error:
        pytest.skip(f"NOT TESTED: Nix does not answer: {error}")


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


def own_nix(*mount: object) -> list[str]:
    """What stands before a command that shall see another `/nix`: what to mount there."""
    words = ["unshare", "--mount", "sh", "-c", f'mount {" ".join(map(str, mount))} /nix && exec "$@"', "sh"]
    done = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: another /nix needs the right to mount: {done.stderr.strip()}")
    return words


def new_engine(
    folder: Path,
    on_event: Callable[[WorkerEvent], None],
    sandbox: Sandbox | None = None,
    maker: Maker | None = None,
) -> NixEngine:
    """An engine of which everything but the store of Nix lies below `folder`."""
    engine = NixEngine(
        roots=folder / "roots",
        scratch=folder / "scratch",
        scripts=ROOT / "scripts",
        slots=2,
        on_event=on_event,
        maker=maker or Maker(workshop(folder), platform.machine(), code=ROOT),
        sandbox=sandbox,
    )
    for kind, version in USED:  # as a run does: an engine starts jobs in what it was asked about
        engine.recipe(request_for(kind, version))
    return engine
