"""What Nix runs to build: `python -I -S nixbuilder.py environment|programs|app|shell …`, with the base's own Python.

Beside it in Nix's store lie the few modules of this package that it needs, and the wheel of `installer`; so the code
that unpacks wheels is the one that makes the layers of images. `$out` is the place to fill.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HASH_LENGTH = len("58v3a6bapp9b4mm16nsixjhm8iqx4ls6-")
LINKER = "iree-lld"
PROGRAM = """#!/bin/sh
{more}exec {loader} --library-path {libraries} {options}{program} "$@"
"""
"""The dynamic loader of the base starts it, so that it has the base's libraries, whatever the machine has."""
NO_BYTECODE = "-B"
"""root can write to a store without a daemon, and a `__pycache__` in it is no longer what the digest is of."""

APP = """#!/bin/sh
export IREE_MATRIX_ENGINE="${{IREE_MATRIX_ENGINE:-nix}}" PYTHONPATH={code}
exec {python} -P -m matrix "$@"
"""


SHELL = """#!/bin/sh
export PATH={path}:"$PATH"
exec "${{SHELL:-/bin/sh}}" "$@"
"""


def environment(out: Path) -> None:
    """The wheels of a lock, unpacked."""
    from matrix.images.nix.environment_tree import write_environment

    given = json.loads(os.environ["GIVEN"])
    write_environment([_named(Path(wheel)) for wheel in given["wheels"]], out, python=given["python"])


def _named(stored: Path) -> Path:
    """A wheel under its own name: an installer reads name and version from it."""
    link = Path.cwd() / stored.name[HASH_LENGTH:]
    link.symlink_to(stored)
    return link


def programs(out: Path) -> None:
    """A `bin` whose programs start in an environment: its tools and its Python."""
    given = json.loads(os.environ["GIVEN"])
    base, root, python = given["base"], f"{given['environment']}/opt/env", given["python"]
    start = {"loader": f"{given['libraries']}/{given['loader']}", "libraries": given["libraries"]}
    (out / "bin").mkdir(parents=True)
    more = f'export IREE_LLVM_EMBEDDED_LINKER_PATH="${{IREE_LLVM_EMBEDDED_LINKER_PATH:-{out}/bin/{LINKER}}}"\n'
    for name, path in given["tools"].items():
        own = more if LINKER in given["tools"] and name != LINKER else ""
        _write(out / "bin" / name, PROGRAM.format(more=own, options="", program=f"{root}/{path}", **start))
    options = f"--argv0 {out}/bin/python "
    interpreter = f"{base}/usr/bin/python{python} {NO_BYTECODE}"
    _write(out / "bin" / "python", PROGRAM.format(more="", options=options, program=interpreter, **start))
    (out / "lib").symlink_to(f"{root}/lib")
    (out / "pyvenv.cfg").write_text(
        f"home = {base}/usr/bin\ninclude-system-site-packages = false\nversion = {python}\n", encoding="utf-8"
    )


def app(out: Path) -> None:
    """The command line of the project, from its source."""
    given = json.loads(os.environ["GIVEN"])
    (out / "bin").mkdir(parents=True)
    _write(out / "bin" / "matrix", APP.format(**given))


def shell(out: Path) -> None:
    """The user's own shell, with these programs first."""
    given = json.loads(os.environ["GIVEN"])
    (out / "bin").mkdir(parents=True)
    _write(out / "bin" / "shell", SHELL.format(path=":".join(given["paths"])))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def main() -> None:
    what, *paths = sys.argv[1:]
    sys.path += paths
    os.umask(0o022)
    out = Path(os.environ["out"])  # noqa: SIM112 - so Nix calls it
    from matrix.core.errors import MatrixError

    try:
        {"environment": environment, "programs": programs, "app": app, "shell": shell}[what](out)
    except MatrixError as error:  # Nix shows the last lines of what a builder says
        sys.exit(f"{error}\n{error.tip}")


if __name__ == "__main__":
    main()
