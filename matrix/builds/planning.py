"""Checks the builds of a spec against the committed data: toolchains, locks of packages, pinned sources."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matrix.core import processes
from matrix.core.disk import is_folder_at
from matrix.core.errors import ToolchainFault
from matrix.core.keys import digest, sha256, tree_digest
from matrix.core.records import Build
from matrix.core.versions import did_you_mean, releases_first
from matrix.plan.backends.iree.firmware import archive_commands, firmware_commands
from matrix.plan.backends.iree.source_builds import (
    NATIVE,
    OWN,
    SYSTEM_PATH,
    Command,
    CrossToolchain,
    PlannedBuild,
    build_variables,
    host_commands,
    link_commands,
    places_in,
    read_cross_toolchains,
    runtime_commands,
)
from matrix.plan.user_inputs import UserBuild

BENCHMARK_SOURCES = "3.11.0"
"""The pinned sources with Google's benchmark, release 1.9.5; the crate of 3.13.0 does not have it."""

SOURCES = ("source", "benchmark")

WHEELS = ("bin", "zig")
"""Folders of packages from PyPI, by `tools.txt`."""

OF_THE_BUILD = ("here", "zig-cache", OWN)

VERSION_SECONDS = 20.0

HOST_FOLDER = "host"


def planned_build(
    user: UserBuild, base: Path, images: Path, own: Mapping[str, CrossToolchain], *, called_on: Callable[[str], bool]
) -> PlannedBuild:
    """`base` is the folder of the spec, `images` is `images/armv6`, `own` are the toolchains of the spec's targets. For
    a machine that `called_on` names, iree-benchmark-module is built besides the runtime.

    Raises ToolchainFault, LockFault.
    """
    known = {**own, **read_cross_toolchains(images / "toolchains.toml")}
    if user.toolchain not in known:
        raise ToolchainFault(
            f"builds.{user.name}.toolchain: read {user.toolchain!r}, expected one of "
            f"{', '.join(known)}{did_you_mean(user.toolchain, tuple(known))}",
            tip="images/armv6/toolchains.toml has them; a target of the spec brings one as [targets.NAME.toolchain]",
        )
    toolchain = known[user.toolchain]
    path = (base / toolchain.path).resolve() if toolchain.path else None
    programs = toolchain.programs if user.toolchain in own else ()
    benchmark = called_on(toolchain.machine) and toolchain.has_cxx_library and not toolchain.bare
    if toolchain.bare:
        runtime, linking = archive_commands(toolchain, HOST_TOOLS_FOLDER, user.options), firmware_commands(toolchain)
    else:
        runtime = runtime_commands(toolchain, HOST_TOOLS_FOLDER, user.options, benchmark=benchmark)
        linking = link_commands(toolchain)
    commands = (*host_commands(known[NATIVE], HOST_FOLDER), *runtime)
    sets = tuple(name for name in places_in(commands) if name not in (*SOURCES, *WHEELS, *OF_THE_BUILD))
    release, tree, source = _source(user, base, images)
    locks = {name: sha256(images / f"debian-{name}.toml") for name in sets} | {"tools": sha256(images / "tools.txt")}
    library = {"benchmark": sha256(images / "src" / BENCHMARK_SOURCES / "Cargo.lock")} if benchmark else {}
    build = Build(
        name=user.name,
        release=release,
        tree=tree,
        toolchain=user.toolchain,
        sets=sets,
        tools=images / "tools.txt",
        digest=digest({"source": source, "locks": locks, **library, **_identities(programs, path)}),
        machine=toolchain.machine,
        programs=programs,
        path=path,
        benchmark=BENCHMARK_SOURCES if benchmark else "",
    )
    link = _words(known[NATIVE], toolchain, linking)
    return PlannedBuild(build=build, words=_words(known[NATIVE], toolchain, commands), link=link, bare=toolchain.bare)


HOST_TOOLS_FOLDER = f"{{here}}/{HOST_FOLDER}/tools"


def find_program(word: str, path: Path | None) -> Path | None:
    """The path of a user's own program: a name, or `{toolchain}/…` with `path` as that folder."""
    found = shutil.which(word.replace(f"{{{OWN}}}", str(path)), path=SYSTEM_PATH)
    return Path(found) if found else None


def _identities(programs: Iterable[str], path: Path | None) -> dict[str, str]:
    """Identifies a user's own compilers: the content of each program, and its version. The passes behind a driver, and
    its libraries, have the same version."""
    found = {}
    for word in programs:
        program = find_program(word, path)
        said = processes.run([str(program), "--version"], timeout=VERSION_SECONDS).stdout if program else ""
        found[word] = f"{sha256(program)} {said.partition(chr(10))[0]}" if program else "missing"
    return found


def _source(user: UserBuild, base: Path, images: Path) -> tuple[str, Path | None, str]:
    """(release, tree, digest): a pinned release is identified by its lock, a user's own tree by its content."""
    pins: Mapping[str, Path] = {path.parent.name: path for path in (images / "src").glob("*/Cargo.lock")}
    if user.source in pins:
        return user.source, None, sha256(pins[user.source])
    tree = base / user.source
    if not is_folder_at(tree / "runtime" / "src" / "iree"):
        known = ", ".join(releases_first(pins))
        raise ToolchainFault(
            f"builds.{user.name}.source: read {user.source!r}, expected a pinned release ({known}) or a folder "
            "with IREE's CMakeLists.txt and runtime/src/iree",
            tip="paths in a spec are relative to its folder; a further release: images/armv6/src (CONTRIBUTING.md)",
        )
    return "", tree.resolve(), tree_digest(tree)


def _words(native: CrossToolchain, toolchain: CrossToolchain, commands: tuple[Command, ...]) -> Command:
    """Variables of both compilers, then the commands: `NAME=VALUE… -- COMMAND… --then COMMAND…`."""
    variables = dict(build_variables(toolchain))
    both = [variables.get("LD_LIBRARY_PATH"), dict(build_variables(native))["LD_LIBRARY_PATH"]]
    variables["LD_LIBRARY_PATH"] = ":".join(dict.fromkeys(place for place in both if place))
    words = [f"{name}={value}" for name, value in variables.items()]
    for index, command in enumerate(commands):
        words += ["--then" if index else "--", *command]
    return tuple(words)
