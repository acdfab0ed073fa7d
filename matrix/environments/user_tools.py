"""A user's own tools in place of a release: found in a folder, a virtual environment or a wheel file, and installed
as an environment.

A toolchain is identified by its content: the digest covers the tools and the libraries that the dynamic loader takes
from beside them. So rebuilt tools are a new toolchain, and its jobs run again.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from matrix.core import processes
from matrix.core.disk import is_file_at, is_folder_at
from matrix.core.errors import ToolchainFault
from matrix.core.keys import digest, sha256
from matrix.core.records import Toolchain
from matrix.core.text import shell_characters
from matrix.plan.backends.backend import Axis
from matrix.plan.stages import axes

WHEEL_FOLDERS = ("iree/compiler/_mlir_libs", "iree/_runtime_libs", "iree/_runtime_libs_tracy")
"""The folders of the wheels that hold the binaries, the preferred folder first. The scripts in `bin` are Python
wrappers around them, and take five times as long to start."""
PROBE_OPTIONS = {"iree-compile": "--version", "iree-run-module": "--help"}
"""The option that a tool answers with exit code 0 if it runs at all."""
SYSTEM_LIBRARIES = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/local/lib/")
"""Folders of the machine's own libraries. They are not in the digest: the environment has the C library's version."""
TOOL_SECONDS = 60.0
TREE = "tree"
_LIBRARY = re.compile(r"^\s*(?P<name>\S+) => (?P<path>not found|/\S.*?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


def find_toolchain(name: str, path: Path, axis: str) -> Toolchain:
    """The toolchain at `path` for an axis that takes tools.

    Raises ToolchainFault where the path does not exist or lacks the tool that the axis needs.
    """
    row, place = axes()[axis], path.resolve()
    if place.name == "bin" and is_file_at(place.parent / "pyvenv.cfg"):
        place = place.parent  # the tools in a virtual environment's `bin` are wrappers: the binaries lie elsewhere
    if is_file_at(place):
        tools = _in_wheel(name, place, row)
        return Toolchain(name=name, path=place, digest=sha256(place), tools=tuple(tools.items()))
    if not is_folder_at(place):
        raise _fault(name, path, "a folder, a virtual environment, a wheel file or image:NAME, and there is none")
    folder = next((folder for folder in _folders(place) if (folder / row.tool).is_file()), None)
    if folder is None:
        raise _fault(name, path, f"{row.tool} in it, or below tools/, bin/ or a site-packages folder")
    if row.tool == "iree-compile" and (found := shell_characters(folder)):
        expected = "a path of letters, digits and _@%+=:,./- alone: iree-compile hands it to a shell unquoted"
        raise _fault(name, path, f"{expected}; it has {found}")
    files = {tool: folder / tool for tool in (row.tool, *row.tools_beside) if (folder / tool).is_file()}
    return Toolchain(
        name=name,
        path=place,
        digest=_content(files),
        tools=tuple((tool, file.relative_to(place).as_posix()) for tool, file in files.items()),
    )


def unchanged(toolchain: Toolchain) -> bool:
    """Whether the tools are those that the toolchain was found with."""
    try:
        if toolchain.path.is_file():
            return sha256(toolchain.path) == toolchain.digest
        return _content({tool: toolchain.path / place for tool, place in toolchain.tools}) == toolchain.digest
    except OSError:
        return False


def _fault(name: str, path: Path, expected: str) -> ToolchainFault:
    return ToolchainFault(
        f"toolchain {name}: read {str(path)!r}, expected {expected}",
        tip="name a cmake build, an install, a virtual environment, a wheel or an image with iree-compile (--compiler) "
        "or iree-run-module (--runtime)",
    )


def _folders(place: Path) -> Iterator[Path]:
    """The folders where tools may be, the preferred one first."""
    for site in (*sorted(place.glob("lib/python*/site-packages")), place):
        yield from (site / folder for folder in WHEEL_FOLDERS)
    yield from (place, place / "tools", place / "bin")


def _in_wheel(name: str, path: Path, axis: Axis) -> dict[str, str]:
    try:
        with zipfile.ZipFile(path) as wheel:
            members = wheel.namelist()
    except (zipfile.BadZipFile, OSError):
        raise _fault(name, path, "a whole wheel file (.whl)") from None
    for folder in WHEEL_FOLDERS:
        found = {tool: f"{folder}/{tool}" for tool in (axis.tool, *axis.tools_beside) if f"{folder}/{tool}" in members}
        if axis.tool in found:
            return found
    raise _fault(name, path, f"{axis.tool} in the wheel")


def _content(files: Mapping[str, Path]) -> str:
    libraries: dict[str, str] = {}
    for file in files.values():
        libraries |= _loaded(file)
    return digest({"tools": {tool: sha256(file) for tool, file in files.items()}, "libraries": libraries})


def _loaded(file: Path) -> dict[str, str]:
    """Name -> sha256 of the libraries that the dynamic loader takes from outside the system's folders. A script or a
    binary of another machine has none."""
    done = processes.run(["ldd", str(file)], timeout=TOOL_SECONDS)
    found = {match["name"]: match["path"] for match in _LIBRARY.finditer(done.stdout)}
    return {
        name: path if path == "not found" else sha256(Path(path))
        for name, path in found.items()
        if not path.startswith(SYSTEM_LIBRARIES)
    }


def install_toolchain(toolchain: Toolchain, root: Path) -> dict[str, str]:
    """Installs a toolchain into the folder of an environment: as a link to its folder, or as the files of its wheel.
    Returns tool -> path relative to `root`."""
    tree = root / TREE
    if toolchain.path.is_dir():
        tree.symlink_to(toolchain.path)
    else:
        unpack_wheel(toolchain.path, tree)
    return {tool: f"{TREE}/{place}" for tool, place in toolchain.tools}


def unpack_wheel(path: Path, tree: Path) -> None:
    """Unpacks a wheel. Its binaries need no installer: they load the libraries that lie beside them."""
    with zipfile.ZipFile(path) as wheel:
        for member in wheel.infolist():
            place = Path(wheel.extract(member, tree))
            if member.external_attr >> 16 & 0o111 and place.is_file():
                place.chmod(0o755)


def why_unusable(root: Path, tools: Mapping[str, str]) -> str:
    """Why the tools do not run on this machine, in one line; empty where they run."""
    for tool, place in tools.items():
        if tool not in PROBE_OPTIONS:
            continue
        file = root / place
        done = processes.run(
            [str(file), PROBE_OPTIONS[tool]], timeout=TOOL_SECONDS, env={"PATH": os.defpath, "LANG": "C"}
        )
        if not done.ok:
            said = (done.output.splitlines() or [f"exit code {done.exit_code}"])[-1]
            ended = f"no end after {TOOL_SECONDS:g} s" if done.timed_out else said
            return f"{tool} of the toolchain does not run here: {ended.replace(str(file), tool)}"
    return ""


def version_in(said: str) -> str:
    """The version in the output of `iree-compile --version`; empty where there is none."""
    found = re.search(r"version (\S+)", said)
    return found[1] if found else ""


def tool_versions(root: Path, tools: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The versions that the tools print, for the evidence. iree-run-module prints none."""
    if "iree-compile" not in tools:
        return ()
    done = processes.run([str(root / tools["iree-compile"]), "--version"], timeout=TOOL_SECONDS)
    found = version_in(done.stdout)
    return (("iree-compile", found),) if found else ()
