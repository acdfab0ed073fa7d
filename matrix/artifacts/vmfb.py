"""Reads a `.vmfb` without IREE: versions, imports, executables, sizes. Nothing in the file is executed.

The slots are those of IREE's `bytecode_module_def.fbs`, the same from 20230404.479 to 3.13. Before, bytecode 13 was in
other ones.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.contents import compiled_for
from matrix.artifacts.elf import ELF_MAGIC, Elf, read_elf
from matrix.artifacts.flatbuffer import FlatTable, root_table
from matrix.artifacts.vmfb_archive import IDENTIFIER, Container, damaged, open_container
from matrix.core.errors import FileFault

FEATURES = {0: "EXT_F32", 1: "EXT_F64"}
"""The bits whose names the runtimes print. They print garbage for later bits, so those have no name here."""

OLDER_SLOTS = {0: 0, 4: 3, 5: 4, 6: 5, 7: 6, 9: 7, 10: 8, 11: 9, 12: 10, 13: 11, 14: 12, 15: 13}
"""The slots of the root -> those up to 20230228.444, which had no features and a signature in each export."""

LARGEST_EXECUTABLE = 48 << 20

MOST_EXECUTABLE_BYTES = 96 << 20

_ENTRY_NAME = re.compile(
    r"(?P<library>.*?)_(?P<format>(?P<linkage>embedded|system)_elf|vmvx_bytecode_fb|vulkan_spirv_fb|[a-z]+_[a-z]+_fb)"
    r"(?:_(?P<architecture>[a-z0-9_]+))?\.\w+"
)

_FORMAT = re.compile(r"(?P<format>(?P<linkage>embedded|system)-elf)-(?P<architecture>[a-z0-9_]+)")

ARCHITECTURE_NAMES = {
    "arm_32": "arm",
    "arm_64": "aarch64",
    "x86_32": "i386",
    "riscv_32": "riscv32",
    "riscv_64": "riscv64",
}
"""IREE's name of an architecture -> the name in this project, where they differ."""

LIBRARY_QUERY = b"iree_hal_executable_library_query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """An import or export. `signature` is the calling convention, such as `0rIi_v` (i: i32, I: i64, r: reference)."""

    name: str
    signature: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """Compiled code of one target.

    `format` is IREE's (`embedded-elf`, `system-elf`, `vmvx-bytecode-fb`, …); `architecture` comes from its name;
    `machine` and `float_abi` come from the ELF header ('' without one); `library_abi` is the version of the
    executable-library interface that the code requires of the runtime (None: no ELF file of IREE); `device_header`
    is whether code for a device has IREE's header before its FlatBuffer (None: no such code); `device_code` are
    its pieces.
    """

    name: str
    format: str
    linkage: str
    architecture: str
    size: int
    machine: str = ""
    float_abi: str = ""
    library_abi: int | None = None
    device_header: bool | None = None
    device_code: tuple[compiled_for.DeviceCode, ...] = ()
    sections: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Read-only data: in the module (`offset` is relative to it), or after it in the file (`external`)."""

    name: str
    external: bool
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vmfb:
    """A module. `parts` are (name, bytes) pairs whose sum is `size`; `modules` are (name, minimum version) pairs;
    `types` are those of its VM code; `cpus`, `architectures` (of devices) and `subgroups` (their sizes) are what it was
    compiled for, from the module's messages."""

    name: str
    size: int
    zipped: bool
    bytecode_version: tuple[int, int]
    features: int
    modules: tuple[tuple[str, int], ...]
    imports: tuple[Function, ...]
    exports: tuple[Function, ...]
    executables: tuple[Executable, ...]
    segments: tuple[Segment, ...]
    types: tuple[str, ...] = ()
    cpus: tuple[str, ...]
    architectures: tuple[str, ...] = ()
    subgroups: tuple[int, ...] = ()
    debug_database: bool
    parts: tuple[tuple[str, int], ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return feature_names(self.features)

    @property
    def bytecode(self) -> str:
        return ".".join(map(str, self.bytecode_version))


def feature_names(bits: int) -> tuple[str, ...]:
    return tuple(FEATURES.get(bit, f"bit {bit}") for bit in range(32) if bits >> bit & 1)


def read_vmfb(path: Path) -> Vmfb:
    """Reads any file within 2 s and 200 MB. Raises FileFault for a file that is not a whole `.vmfb`."""
    with open_container(path) as container:
        return read_container(container)[0]


def read_container(container: Container) -> tuple[Vmfb, tuple[LoadedExecutable, ...], range]:
    """The module, its executables with their bytes, and the range of the debug database in the module."""
    root = root_table(container.module, IDENTIFIER, container.place)
    if older := root.vector(14, 1) == (0, 0):  # the bytecode; it was no further than 12
        root = root.renumbered(OLDER_SLOTS)
    segments = _segments(root, container)
    loaded = tuple(_executables(container, segments, _only_format(container.module, segments)))
    version = root.u32(13)
    debug = _debug_extent(root, len(container.module))
    module = Vmfb(
        name=root.text(0),
        size=container.size,
        zipped=container.zipped,
        bytecode_version=(version >> 16, version & 0xFFFF),
        features=root.u32(2),
        modules=tuple((each.text(0), each.u32(1)) for each in root.tables(5)),
        imports=tuple(_import(each) for each in root.tables(6)),
        exports=tuple(map(_older_export, root.tables(7))) if older else _exports(root),
        executables=tuple(each.executable for each in loaded),
        segments=segments,
        types=tuple(each.text(0) for each in root.tables(4)),
        cpus=compiled_for.target_cpus(container.module),
        architectures=compiled_for.device_architectures(container.module),
        subgroups=compiled_for.device_subgroups(container.module),
        debug_database=len(debug) > 0,
        parts=_parts(container, segments, loaded, debug=len(debug), bytecode=root.vector(14, 1)[1]),
    )
    return module, loaded, debug


def _import(table: FlatTable) -> Function:
    """The flags are 1 for a required import and 2 for an optional one; without flags it is required."""
    return Function(name=table.text(0), signature=_convention(table.table(1)), optional=table.u32(2) == 2)


def _convention(table: FlatTable | None) -> str:
    return table.text(0) if table else ""


def _older_export(table: FlatTable) -> Function:
    return Function(name=table.text(0), signature=_convention(table.table(1)))


def _exports(root: FlatTable) -> tuple[Function, ...]:
    signatures = [_convention(each) for each in root.tables(8)]
    exports = [(each.text(0), each.u32(1)) for each in root.tables(7)]
    return tuple(
        Function(name=name, signature=signatures[number] if number < len(signatures) else "")
        for name, number in exports
    )


def _segments(root: FlatTable, container: Container) -> tuple[Segment, ...]:
    """An external segment has the name of the zip entry with its bytes; a bare module has no names."""
    named = {entry.offset: entry for entry in container.entries}
    found = []
    for number, table in enumerate(root.tables(9)):
        start, length = table.vector(2, 1)
        if start:
            found.append(Segment(name=f"segment {number}", external=False, offset=start, size=length))
            continue
        offset, length = container.base + table.u64(3), table.u64(4)
        if offset + length > container.size:
            raise damaged(container.place, f"segment {number}, {length} bytes at {offset}", "one inside of the file")
        entry = named.get(offset)
        name = entry.name if entry and entry.size == length else f"segment {number}"
        found.append(Segment(name=name, external=True, offset=offset, size=length))
    # Segments overlap only in a hostile file; then no bound on the work would hold.
    if sum(each.size for each in found) > container.size:
        raise damaged(container.place, "segments that overlap", "segments one after the other")
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedExecutable:
    """An executable and its bytes."""

    executable: Executable
    content: bytes
    elf: Elf | None


def _only_format(module: bytes, segments: tuple[Segment, ...]) -> re.Match[str] | None:
    """The executable format that the module asks the device for, if it is only one: the only hint at the format of
    the nameless executables in a bare module."""
    small = [module[each.offset : each.offset + each.size] for each in segments if not each.external and each.size < 64]
    found = [matched for text in small if (matched := _FORMAT.fullmatch(text.decode("latin-1")))]
    return found[0] if len(found) == 1 else None


def _executables(
    container: Container, segments: tuple[Segment, ...], only_format: re.Match[str] | None
) -> Iterator[LoadedExecutable]:
    """The external segments with the name or the first bytes of an executable, and those in the module that begin as
    code for a device (of CUDA, up to 3.7). Checks the zip's checksum."""
    left = MOST_EXECUTABLE_BYTES
    checksums = {entry.offset: entry.crc for entry in container.entries}
    for segment in segments:
        read = container.read if segment.external else lambda at, size: container.module[at : at + size]
        matched = segment.external and _ENTRY_NAME.fullmatch(segment.name[:512])
        head = read(segment.offset, min(8, segment.size))
        if not (matched or (head[:4] == ELF_MAGIC if segment.external else compiled_for.device_format(head))):
            continue
        left -= segment.size
        if segment.size > LARGEST_EXECUTABLE or left < 0:
            raise damaged(container.place, f"executables of more than {LARGEST_EXECUTABLE >> 20} MiB", "smaller ones")
        content = read(segment.offset, segment.size)
        if segment.external and checksums.get(segment.offset, -1) not in (-1, zlib.crc32(content)):
            raise damaged(container.place, f"{segment.name!r}, not what its checksum says", "whole bytes")
        yield _load(segment, content, matched or only_format, f"{container.place}: {segment.name}")


def _load(segment: Segment, content: bytes, matched: re.Match[str] | None, place: str) -> LoadedExecutable:
    named = matched.groupdict(default="") if matched else {"format": "", "linkage": "", "architecture": ""}
    elf = read_elf(content, place) if content[:4] == ELF_MAGIC else None
    executable = Executable(
        name=segment.name,
        format=compiled_for.device_format(content) or (named["format"] or "elf").replace("_", "-"),
        linkage=named["linkage"],
        architecture=ARCHITECTURE_NAMES.get(named["architecture"], named["architecture"]),
        size=segment.size,
        machine=elf.machine if elf else "",
        float_abi=elf.float_abi if elf else "",
        library_abi=_library_abi(content, elf) if elf else None,
        device_header=compiled_for.device_header(content),
        device_code=compiled_for.device_code(content),
        sections=tuple((each.name, each.size) for each in elf.sections if each.size) if elf else (),
    )
    return LoadedExecutable(executable=executable, content=content, elf=elf)


def _library_abi(content: bytes, elf: Elf) -> int | None:
    """The version in `iree_hal_executable_library_header_t`, the first record in the relocated data. The executable
    refuses a runtime that offers another version."""
    names, data = elf.section(".dynstr"), elf.section(".data.rel.ro")
    if not names or not data or LIBRARY_QUERY not in content[names.offset : names.offset + names.size]:
        return None
    if data.size < 4:
        return None
    (version,) = struct.unpack_from("<I", content, data.offset)
    return int(version) if 0 < version < 256 else None


def _debug_extent(root: FlatTable, size: int) -> range:
    """The range of the debug database: from its table to the next object of the root. The compiler writes each field in
    one piece. Compared with a module stripped of its source map, the size is right to within 100 bytes."""
    table = root.table(15)
    if not table:
        return range(0)
    later = [target for target in _starts(root) if target > table.position]
    return range(table.position, min(later, default=size))


def _starts(root: FlatTable) -> Iterator[int]:
    for slot in (4, 5, 6, 7, 8):
        yield from (each.position for each in root.tables(slot))
    for slot in (4, 5, 6, 7, 8, 9, 12, 14):
        yield root.vector(slot, 1)[0]


PARTS = (
    "code",
    "executable data",
    "executable debug",
    "other executables",
    "constants",
    "VM bytecode",
    "VM data",
    "VM debug",
    "VM tables",
    "rest",
)


def _parts(
    container: Container,
    segments: tuple[Segment, ...],
    loaded: tuple[LoadedExecutable, ...],
    *,
    debug: int,
    bytecode: int,
) -> tuple[tuple[str, int], ...]:
    sizes: Counter[str] = Counter()
    executables = {each.executable.name for each in loaded}
    for each in loaded:
        if not each.elf:
            sizes["other executables"] += each.executable.size
            continue
        code = sum(section.size for section in each.elf.sections if section.code)
        debugging = sum(section.size for section in each.elf.sections if is_debug(section.name))
        sizes["code"] += code
        sizes["executable debug"] += debugging
        sizes["executable data"] += each.executable.size - code - debugging
    rest = [each for each in segments if each.name not in executables]
    sizes["constants"] = sum(each.size for each in rest if each.external)
    data = sum(each.size for each in rest if not each.external)
    sizes.update({"VM bytecode": bytecode, "VM data": data, "VM debug": debug})
    embedded = sum(each.size for each in segments if not each.external)
    sizes["VM tables"] = len(container.module) - embedded - bytecode - debug
    sizes["rest"] = container.size - sum(sizes.values())
    return tuple((name, sizes[name]) for name in PARTS)


def is_debug(name: str) -> bool:
    return name.startswith(".debug_") or name in (".symtab", ".strtab", ".comment")


def entry_points(path: Path) -> tuple[str, ...]:
    """The functions of a `.vmfb`, without IREE's own (`__init`) and the asynchronous variants (`main$async`)."""
    try:
        names = [function.name for function in read_vmfb(path).exports]
    except FileFault:
        names = []
    return tuple(name for name in names if not name.startswith("__") and "$" not in name)
