"""The counter: the locked emulator with a plugin of this project, which counts the instructions of a program.

Of the sources in `images/counter` the locked compiler makes two plugins: one counts, the other also says which code is
executed. Their bytes are pinned: a figure belongs to the tool that counted it.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.core.disk import disk_errors
from matrix.core.errors import EngineMissing, LockFault, NotRunnable
from matrix.core.keys import digest, sha256
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock, Tree, read_set, unpack_debs
from matrix.images.workshop import Workshop
from matrix.plan.backends.iree.counting import COUNTER, PROFILER
from matrix.plan.backends.iree.source_builds import NATIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin of the emulator: its file, its sources in `images/counter`, and the file there with its sha256."""

    file: str
    sources: tuple[str, ...]
    pinned: str
    flags: tuple[str, ...] = ()


PLUGIN_HEADER = "plugin.h"
MACHINE_FILE = "machine.toml"
COUNTER_SET = "counter"
"""The set of packages with the emulators that load plugins, and the folder of an environment with a link to it."""
PLUGINS: Mapping[str, Plugin] = {
    COUNTER: Plugin(file="counter.so", sources=("counter.c", "cache.c", "host.c"), pinned="counter.sha256"),
    PROFILER: Plugin(
        file="profiler.so", sources=("counter.c", "blocks.c", "host.c"), pinned="profiler.sha256", flags=("-DBLOCKS",)
    ),
}
"""The word of an argv that means a plugin -> the plugin."""
PLUGIN_SECONDS = 120.0
PLUGIN_FLAGS: tuple[str, ...] = (
    "-O2",
    "-g0",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-fvisibility=hidden",
)
PLUGIN_FLAGS += ("-nostdlib", "-shared", "-Wl,--build-id=none")
"""No library is linked: the emulator has what the plugin calls."""
PLUGIN_TIP = "restore images/counter from the repository; after a change of one's own, pin the new sha256"
START_SCRIPT = """#!/bin/sh
# Starts the locked emulator on its own C library. Where the stack of the program begins depends on the lengths of its \
path
# and of its variables: it has the same path in every folder, and no variable but the time zone.
here=${{0%/*}}
exec 9<"$here"
for word do
  shift
  case $word in "$here"/*) word=/proc/self/fd/9${{word#"$here"}} ;; esac
  set -- "$@" "$word"
done
exec /usr/bin/env -i TZ=UTC0 "$here/{set}/{loader}" --library-path "$here/{set}/{libraries}" \
"$here/{set}/usr/bin/{name}" "$@"
"""
COUNTER_LOADER, COUNTER_LIBRARIES = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"


def start_script(root: Path, name: str, tree: Tree, program: str) -> Path:
    """Puts a script into an environment that starts a program of a set on the set's own C library; with a link to the
    set's folder, by its name."""
    (root / name).symlink_to(os.path.relpath(tree.path, root))
    place = root / f"{name}.sh"
    text = START_SCRIPT.format(set=name, name=program, loader=COUNTER_LOADER, libraries=COUNTER_LIBRARIES)
    place.write_text(text, encoding="utf-8")
    place.chmod(0o755)
    return place


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Makes counters in the store at `store`; `shop` has its locks and fetched files."""

    shop: Workshop
    store: Path

    def identity(self, name: str, word: str) -> str:
        """What counts: the emulator and the plugin that `word` means. Raises EngineMissing, LockFault."""
        if os.uname().machine != TOOLS_MACHINE:
            raise EngineMissing(
                f"the counter {name} is a program of {TOOLS_MACHINE}, this machine is {os.uname().machine}",
                tip=f"count on a machine of {TOOLS_MACHINE}: instructions are the same on each",
            )
        emulator = self._lock(COUNTER_SET).on(TOOLS_MACHINE).layer
        around = digest([START_SCRIPT, self._machine_files()])
        return f"{name} of {emulator} with {self._pinned(PLUGINS[word])} in {around}"

    def install(self, name: str, word: str, root: Path) -> Path:
        """Puts the plugin that `word` means into an environment, and a link to the emulators. Returns the program that
        starts `name`.

        Raises NotRunnable where there is no such emulator, or the plugin cannot be made, and the errors of fetching.
        """
        tree = self._packages(COUNTER_SET)
        if not (tree.path / "usr" / "bin" / name).is_file():
            known = ", ".join(sorted(each.name for each in (tree.path / "usr" / "bin").glob("qemu-*")))
            raise NotRunnable(f"the locked emulators have no {name}, expected one of {known}")
        self._compile(PLUGINS[word], root)
        return start_script(root, COUNTER_SET, tree, name)

    def furnish(self, libraries: Path, place: Path) -> None:
        """Makes `place` the root folder that a counted program sees: the C library at `libraries`, and the files of a
        machine that is the same everywhere. Raises LockFault."""
        files = self._machine_files()
        own = {name.partition("/")[0] for name in files}
        place.mkdir()
        for entry in sorted(libraries.iterdir()):
            if entry.name not in own:
                inside = entry.is_relative_to(self.store)
                (place / entry.name).symlink_to(os.path.relpath(entry, place) if inside else entry)
        for name, content in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def _machine_files(self) -> dict[str, str]:
        path = self._folder / MACHINE_FILE
        try:
            files = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LockFault(f"{path.name} cannot be read: {error}", tip="restore it from the repository") from error
        return {name: str(content) for name, content in files.items()}

    def _compile(self, plugin: Plugin, root: Path) -> None:
        place = root / plugin.file
        native = self._packages(NATIVE).path
        compiler = (str(native / "usr/bin/gcc"), f"--sysroot={native}", f"-B{native / 'usr/bin'}")
        variables = {"PATH": os.defpath, "LANG": "C", "LD_LIBRARY_PATH": str(native / "usr/lib/x86_64-linux-gnu")}
        with disk_errors(self.store), tempfile.TemporaryDirectory(dir=root) as folder:
            for name in (*plugin.sources, PLUGIN_HEADER):
                (Path(folder) / name).write_bytes((self._folder / name).read_bytes())
            command = [*compiler, *PLUGIN_FLAGS, *plugin.flags, *plugin.sources, "-o", str(place)]
            done = processes.run(command, timeout=PLUGIN_SECONDS, cwd=Path(folder), env=variables)
        if not done.ok:
            said = next((line for line in done.output.splitlines() if "error" in line), f"exit code {done.exit_code}")
            raise NotRunnable(f"the plugin that counts instructions cannot be compiled: {said}; {PLUGIN_TIP}")
        if (made := sha256(place)) != self._pinned(plugin):
            raise NotRunnable(
                f"the plugin that counts instructions is not the pinned one: read sha256 {made}, "
                f"expected {self._pinned(plugin)} of {plugin.pinned}; {PLUGIN_TIP}"
            )

    def _pinned(self, plugin: Plugin) -> str:
        """The sha256 of the compiled plugin."""
        path = self._folder / plugin.pinned
        try:
            return path.read_text(encoding="ascii").split()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise LockFault(f"{path.name} cannot be read: {error}", tip="restore it from the repository") from error

    @property
    def _folder(self) -> Path:
        return self.shop.images / "counter"

    def _lock(self, name: str) -> ToolLock:
        return read_set(self.shop.images / "armv6", name)

    def _packages(self, name: str) -> Tree:
        return unpack_debs(self._lock(name), TOOLS_MACHINE, self.store, source=lambda: self.shop.sources)
