"""The builder that Nix runs: `python -I -S builder.py environment|programs|app|shell …`, with the base's Python.

Nix's store has the few modules of this package that it imports, and the wheel of `installer`. So the same code unpacks
wheels here and for the layers of images. `$out` is the output folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HASH_LENGTH = len("58v3a6bapp9b4mm16nsixjhm8iqx4ls6-")
EMBEDDED_LINKER = "iree-lld"
PROGRAM = """#!/bin/sh
{more}exec {loader} --library-path {libraries} {options}{program} "$@"
"""
"""The base's dynamic loader starts the program, so that it uses the base's libraries, not the machine's."""
NO_BYTECODE = "-B"
"""In a store without a daemon root can write, and a `__pycache__` would change the content that was digested."""

APP = """#!/bin/sh
export IREE_MATRIX_ENGINE="${{IREE_MATRIX_ENGINE:-nix}}" PYTHONPATH={code}
exec {python} -P -m matrix "$@"
"""


SHELL = """#!/bin/sh
export PATH={path}:"$PATH"
exec "${{SHELL:-/bin/sh}}" "$@"
"""


def build_environment(out: Path) -> None:
    """Unpacks the wheels of a lock."""
    from matrix.images.nix.environment_tree import write_environment

    given = json.loads(os.environ["GIVEN"])
    write_environment([_named(Path(wheel)) for wheel in given["wheels"]], out, python=given["python"])


def _named(stored: Path) -> Path:
    """A link to a wheel with its original name: the installer reads name and version from it."""
    link = Path.cwd() / stored.name[HASH_LENGTH:]
    link.symlink_to(stored)
    return link


def build_programs(out: Path) -> None:
    """Writes a `bin` with the tools and the Python of an environment."""
    given = json.loads(os.environ["GIVEN"])
    base, root, python = given["base"], f"{given['environment']}/opt/env", given["python"]
    start = {"loader": f"{given['libraries']}/{given['loader']}", "libraries": given["libraries"]}
    (out / "bin").mkdir(parents=True)
    more = f'export IREE_LLVM_EMBEDDED_LINKER_PATH="${{IREE_LLVM_EMBEDDED_LINKER_PATH:-{out}/bin/{EMBEDDED_LINKER}}}"\n'
    for name, path in given["tools"].items():
        own = more if EMBEDDED_LINKER in given["tools"] and name != EMBEDDED_LINKER else ""
        _write(out / "bin" / name, PROGRAM.format(more=own, options="", program=f"{root}/{path}", **start))
    options = f"--argv0 {out}/bin/python "
    interpreter = f"{base}/usr/bin/python{python} {NO_BYTECODE}"
    _write(out / "bin" / "python", PROGRAM.format(more="", options=options, program=interpreter, **start))
    (out / "lib").symlink_to(f"{root}/lib")
    (out / "pyvenv.cfg").write_text(
        f"home = {base}/usr/bin\ninclude-system-site-packages = false\nversion = {python}\n", encoding="utf-8"
    )


def build_app(out: Path) -> None:
    """Writes the project's command line, which runs from its source."""
    given = json.loads(os.environ["GIVEN"])
    (out / "bin").mkdir(parents=True)
    _write(out / "bin" / "matrix", APP.format(**given))


def build_shell(out: Path) -> None:
    """Writes a script that starts the user's shell with these programs first on the PATH."""
    given = json.loads(os.environ["GIVEN"])
    (out / "bin").mkdir(parents=True)
    _write(out / "bin" / "shell", SHELL.format(path=":".join(given["paths"])))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def run_builder() -> None:
    what, *paths = sys.argv[1:]
    sys.path += paths
    os.umask(0o022)
    out = Path(os.environ["out"])  # noqa: SIM112 - Nix's name
    from matrix.core.errors import MatrixError

    try:
        {"environment": build_environment, "programs": build_programs, "app": build_app, "shell": build_shell}[what](
            out
        )
    except MatrixError as error:  # Nix shows the last lines of the output
        sys.exit(f"{error}\n{error.tip}")


if __name__ == "__main__":
    run_builder()
