"""What the tests of Nix share: its store, or a loud skip; an engine below a folder."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from command_line import ROOT
from containers import workshop
from debian_programs import program
from engine_contract import request_for

from matrix.core.errors import MatrixError
from matrix.core.store_paths import store_path_name
from matrix.engines.nix.engine import NixEngine
from matrix.engines.nix.making import Maker
from matrix.engines.nix.sandbox import Sandbox
from matrix.engines.nix.store import NixStore
from matrix.engines.worker import WorkerEvent
from matrix.images.nix.nar import STORE

USED = (("compiler", "3.8.0"), ("runtime", "3.8.0"), ("runtime", "3.12.0"), ("runtime", "3.13.0"))


def nix_or_skip() -> NixStore:
    """Debian's own, or whatever Nix is here. A skip is not a pass: it says what was not tested."""
    program("nix-build", "nix-bin")
    program("bwrap", "bubblewrap")
    try:
        return NixStore()
    except MatrixError as error:
        pytest.skip(f"NOT TESTED: Nix does not answer: {error}")


ROOTS = Path("/nix/var/nix/gcroots/auto")
STORED = Path(STORE)


def stored() -> set[str]:
    """The names in the Nix store."""
    return {path.name for path in STORED.iterdir()} if STORED.is_dir() else set()


def let_go(nix: NixStore, before: Collection[str], folder: Path) -> None:
    """Takes out of the Nix store what tests put there: what was not there `before`, is this project's, and is held by
    no root but those below `folder`, which go first."""
    for root in ROOTS.glob("*"):  # there is none before the first root
        with contextlib.suppress(OSError):
            if (link := root.readlink()).is_relative_to(folder):
                link.unlink()
    nix.delete(str(STORED / name) for name in sorted(stored() - set(before)) if is_ours(name))


def is_ours(name: str) -> bool:
    """Named as images/nix names a base, an environment or a wheel, or what Nix makes for them; or the flake."""
    plain = store_path_name(name).removesuffix(".lock").removesuffix(".drv")
    return (
        plain.startswith("iree-matrix")
        or plain in wheels()
        or (STORED / name / "matrix" / "images" / "nix" / "builder.py").is_file()
    )


@functools.cache
def wheels() -> frozenset[str]:
    """The files of all environments of the tables."""
    tables = (json.loads(path.read_bytes()) for path in (ROOT / "images" / "nix").glob("*.json"))
    return frozenset(file for table in tables for file in table["wheels"])


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
