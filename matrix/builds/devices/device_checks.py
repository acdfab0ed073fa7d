"""Whether code for a device is valid, as locked tools say: SPIR-V by spirv-val, PTX by ptxas. No device is needed.

Of HSACO only the header is read: no tool for its instructions is locked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matrix.answers.whatis import HEADER_READ, INVALID, VALID, CheckedCode, code_words
from matrix.artifacts.contents.compiled_for import DeviceCode
from matrix.artifacts.elf import read_elf
from matrix.artifacts.vmfb import LoadedExecutable
from matrix.builds.counter import COUNTER_LIBRARIES, COUNTER_LOADER
from matrix.core import processes
from matrix.core.errors import EngineMissing, FileFault
from matrix.core.keys import sha256
from matrix.core.records import Lock
from matrix.environments.wheels import fetch_wheels
from matrix.images.debian.unpacked import TOOLS_MACHINE, read_set, unpack_debs
from matrix.images.workshop import Workshop
from matrix.plan.locks import pinned_packages

CHECKERS = "checkers"
"""The folder in `images` with the locks of the tools."""
SPIRV_SET, SPIRV_PACKAGE, SPIRV_TOOL = "spirv", "spirv-tools", "usr/bin/spirv-val"
PTXAS = "nvidia/cuda_nvcc/bin/ptxas"
"""In the wheel. It is a compiler's last step, and needs neither a GPU nor its driver."""
VERDICT_SECONDS = 120.0
CHECK_BYTES = 8 << 30
"""Address space of a tool: what it reads may be hostile."""
NO_TOOL = "no tool is locked"
_GLIBC = "2.28"
"""The oldest C library that the wheel is chosen for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A tool with its version: the words before a file, those behind it, and the suffix that the file has."""

    name: str
    before: tuple[str, ...]
    suffix: str

    def fault(self, content: bytes, device: str, folder: Path) -> str:
        """What the tool has against a piece of code; empty: nothing."""
        file = folder / f"code{self.suffix}"
        file.write_bytes(content)
        words = [word.replace("{device}", device).replace("{folder}", str(folder)) for word in self.before]
        limit = ("prlimit", f"--as={CHECK_BYTES}") if shutil.which("prlimit") else ()
        done = processes.run([*limit, *words, str(file)], timeout=VERDICT_SECONDS, env={"PATH": os.defpath}, cwd=folder)
        if done.ok:
            return ""
        said = f"no end after {VERDICT_SECONDS:g} s" if done.timed_out else done.output.replace(f"{folder}/", "")
        return (said.splitlines() or [f"exit code {done.exit_code}"])[0][:400]


@dataclass(slots=True, kw_only=True)
class DeviceCheckers:
    """The locked tools, fetched when they are first needed. `folder` is for their files while they are used."""

    shop: Workshop
    store: Path
    folder: Path

    def for_form(self, form: str) -> Checker | None:
        """Raises EngineMissing where the tools do not run, and the errors of fetching."""
        if form == "SPIR-V":
            return self._spirv()
        return self._ptx() if form == "PTX" else None

    def _spirv(self) -> Checker:
        """On its own C library, so that nothing of the machine is used."""
        _refuse_machine()
        lock = read_set(self.shop.images / CHECKERS, SPIRV_SET)
        root = unpack_debs(lock, TOOLS_MACHINE, self.store, source=lambda: self.shop.sources).path
        (version,) = [deb.version for deb in lock.on(TOOLS_MACHINE).debs if deb.package == SPIRV_PACKAGE]
        loader = (str(root / COUNTER_LOADER), "--library-path", str(root / COUNTER_LIBRARIES))
        words = (*loader, str(root / SPIRV_TOOL), "--target-env", "vulkan1.3")
        return Checker(name=f"spirv-val {version}", before=words, suffix=".spv")

    def _ptx(self) -> Checker:
        _refuse_machine()
        path = self.shop.images / CHECKERS / "tools.txt"
        lock = Lock(name=f"{CHECKERS}/tools", path=path, digest=sha256(path), pins=())
        (package,) = pinned_packages(lock, python="3.11", machine=TOOLS_MACHINE)
        wheel = next(filter(None, map(self.shop.files.find, sorted(package.hashes))), None)
        if wheel is None:
            (fetched,) = fetch_wheels(
                [package],
                python="3.11",
                machine=TOOLS_MACHINE,
                glibc=_GLIBC,
                index=self.shop.index,
                files=self.shop.files,
            )
            wheel = self.shop.files.find(fetched.sha256)
            assert wheel is not None  # it was just fetched
        program = self.folder / "ptxas"
        if not program.exists():
            with zipfile.ZipFile(wheel) as archive, archive.open(PTXAS) as packed, program.open("wb") as file:
                shutil.copyfileobj(packed, file)
            program.chmod(0o755)
        words = (str(program), "--gpu-name", "{device}", "--output-file", "{folder}/out.cubin")
        return Checker(name=f"ptxas {package.version}", before=words, suffix=".ptx")


@contextmanager
def device_checkers(shop: Workshop, store: Path) -> Iterator[DeviceCheckers]:
    with tempfile.TemporaryDirectory(prefix="iree-matrix-check-") as folder:
        yield DeviceCheckers(shop=shop, store=store, folder=Path(folder))


def check_executables(
    loaded: Iterable[LoadedExecutable], architectures: Sequence[str], tools: DeviceCheckers
) -> tuple[CheckedCode, ...]:
    """A verdict for each form of code in each executable. `architectures` are those that the module was compiled for.

    Raises EngineMissing where the tools do not run, and the errors of fetching."""
    found = []
    for each in loaded:
        pieces: dict[str, list[DeviceCode]] = {}
        for piece in each.executable.device_code:
            pieces.setdefault(piece.words, []).append(piece)
        found += [_checked(each, same, architectures, tools) for same in pieces.values()]
    return tuple(found)


def _checked(
    loaded: LoadedExecutable, pieces: Sequence[DeviceCode], architectures: Sequence[str], tools: DeviceCheckers
) -> CheckedCode:
    (code,) = code_words(pieces)
    checker = tools.for_form(pieces[0].form)
    if checker:
        faults = (
            checker.fault(each.of(loaded.content), each.device, tools.folder) if each.size else "its end is not known"
            for each in pieces
        )
        said, tool, good = next(filter(None, faults), ""), checker.name, VALID
    else:
        said, tool, good = _header_fault(loaded, pieces, architectures), NO_TOOL, HEADER_READ
    return CheckedCode(
        executable=loaded.executable.name, code=code, tool=tool, verdict=INVALID if said else good, said=said
    )


def _header_fault(loaded: LoadedExecutable, pieces: Sequence[DeviceCode], architectures: Sequence[str]) -> str:
    """What the header of a code object says against it: an ELF that is not whole, or another GPU than the module's."""
    for piece in pieces:
        try:
            read_elf(piece.of(loaded.content), loaded.executable.name)
        except FileFault as fault:
            return str(fault)
        if architectures and piece.device not in architectures:
            return f"it is for {piece.device}, and the module was compiled for {', '.join(architectures)}"
    return ""


def _refuse_machine() -> None:
    machine = os.uname().machine
    if machine != TOOLS_MACHINE:
        raise EngineMissing(
            f"the locked tools are programs of {TOOLS_MACHINE}, and this machine is {machine}",
            tip="check the module on such a machine; without --check `whatis` needs none",
        )
