"""A `.vmfb` cut into regions that cover it: every byte of the file is in one region, and every region in one class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from matrix.artifacts.contents.dispatches import file_offset, read_dispatches, relocated_pointers, text_at
from matrix.artifacts.contents.vm_parts import BYTECODE, cuts, function_ranges, table_starts
from matrix.artifacts.elf import Elf, ElfSection
from matrix.artifacts.flatbuffer import FlatTable, root_table
from matrix.artifacts.vmfb import LoadedExecutable, Vmfb, is_debug, read_container
from matrix.artifacts.vmfb_archive import IDENTIFIER, Container, open_content
from matrix.artifacts.vmfb_audit import LARGEST_DATA
from matrix.core.errors import FileFault

CLASSES = {
    "container": "headers and checksums of the zip, and padding",
    "VM tables": "imports, exports, types and functions of the VM's module",
    "VM bytecode": "the code of the host side, which calls the dispatches",
    "VM debug": "the source map of the VM's code",
    "strings": "names and messages, of the VM and of the executables",
    "constants": "weights and other numbers, of the VM and of the executables",
    "dispatches": "machine code",
    "executable tables": "headers, relocations and pointers of the ELF files",
    "executable debug": "debug information and symbols of the ELF files",
    "other executables": "code for no CPU",
}
"""Class of bytes -> what is in it, in the order of the output."""

DEEPEST_NESTING = 2
"""Executables of IREE's VM are modules inside of a module; their own executables stay whole."""
_TABLES = (
    *(".dyn", ".hash", ".gnu.hash", ".rel", ".data.rel.ro", ".eh_frame", ".ARM.", ".riscv.attributes"),
    *(".shstrtab", ".got", ".init", ".fini", ".note"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Bytes of a file. `owner` is the executable that they are in ('' for the module itself); the `name` of a string is
    its text. `machine` and `address` are for machine code: that of the executable, and where the code is in it."""

    part: str
    owner: str
    name: str
    offset: int
    size: int
    machine: str = ""
    address: int = 0


def read_regions(container: Container) -> tuple[Vmfb, tuple[Region, ...]]:
    """The module, and its regions in the order of the file. Raises FileFault."""
    module, loaded, debug = read_container(container)
    return module, tuple(_regions(container, module, loaded, debug, deep=0))


def _regions(
    container: Container, module: Vmfb, loaded: tuple[LoadedExecutable, ...], debug: range, *, deep: int
) -> Iterator[Region]:
    named = {each.executable.name: each for each in loaded}
    start = container.start
    inner = [_region("VM debug", "source map", start + debug.start, len(debug))]
    root = root_table(container.module, IDENTIFIER, container.place)
    inner += _bytecode(container, root)
    pieces: list[list[Region]] = []
    for segment in module.segments:
        if not segment.external:
            content = container.module[segment.offset : segment.offset + segment.size]
            text = content.decode("ascii") if _is_text(content) else ""
            part = "strings" if text else "constants"
            inner.append(_region(part, text or segment.name, start + segment.offset, segment.size))
        elif segment.name not in named:
            pieces.append([_region("constants", segment.name, segment.offset, segment.size)])
        else:
            pieces.append(list(_executable(named[segment.name], segment.offset, deep)))
    filled = _filled(inner, start, start + len(container.module), "VM tables", "", owner="")
    starts = table_starts(root)
    tables = [piece for each in filled for piece in ([each] if each.name else _table_pieces(each, starts, start))]
    flat = sorted([*tables, *(each for piece in pieces for each in piece)], key=lambda each: each.offset)
    yield from _filled(flat, 0, container.size, "container", "headers and padding", owner="")


def _bytecode(container: Container, root: FlatTable) -> list[Region]:
    """The bytecode function by function, with what stands between them."""
    begin, size = root.vector(BYTECODE, 1)
    low, high = container.start + begin, container.start + begin + size
    functions = [
        _region("VM bytecode", name, container.start + start, end - start)
        for start, end, name in function_ranges(container.module, root)
    ]
    return list(_filled(functions, low, high, "VM bytecode", "padding" if functions else "code", owner=""))


def _table_pieces(region: Region, starts: list[tuple[int, str]], base: int) -> Iterator[Region]:
    for low, high, name in cuts(starts, region.offset - base, region.offset - base + region.size):
        yield _region(region.part, name, base + low, high - low)


def _region(part: str, name: str, offset: int, size: int) -> Region:
    return Region(part=part, owner="", name=name, offset=offset, size=size)


def _is_text(content: bytes) -> bool:
    return 0 < len(content) <= LARGEST_DATA and content.isascii() and content.decode("ascii").isprintable()


def _filled(regions: list[Region], start: int, end: int, part: str, name: str, *, owner: str) -> Iterator[Region]:
    """The regions in order, cut where they overlap, and a region of `part` for each gap."""
    at = start
    for each in sorted(regions, key=lambda each: each.offset):
        low, high = max(each.offset, at), min(each.offset + each.size, end)
        if low >= high:
            continue
        if low > at:
            yield Region(part=part, owner=owner, name=name, offset=at, size=low - at)
        yield each if (low, high) == (each.offset, each.offset + each.size) else _cut(each, low, high)
        at = high
    if at < end:
        yield Region(part=part, owner=owner, name=name, offset=at, size=end - at)


def _cut(region: Region, low: int, high: int) -> Region:
    return Region(part=region.part, owner=region.owner, name=region.name, offset=low, size=high - low)


def _executable(loaded: LoadedExecutable, start: int, deep: int) -> Iterator[Region]:
    name, size = loaded.executable.name, loaded.executable.size
    if loaded.elf:
        inner = _elf(loaded, loaded.elf, start)
        yield from _filled(inner, start, start + size, "executable tables", "headers and padding", owner=name)
        return
    whole = Region(part="other executables", owner=name, name="code", offset=start, size=size)
    if deep + 1 >= DEEPEST_NESTING:
        yield whole
        return
    try:
        nested = open_content(loaded.content, name)
        found = [*_regions(nested, *read_container(nested), deep=deep + 1)]
    except FileFault:  # SPIR-V and the like: no module of the VM
        yield whole
        return
    for each in found:
        yield Region(part=each.part, owner=name, name=each.name, offset=start + each.offset, size=each.size)


def _elf(loaded: LoadedExecutable, elf: Elf, start: int) -> list[Region]:
    owner, content = loaded.executable.name, loaded.content
    pointers = relocated_pointers(content, elf)
    texts = {}
    for to in pointers.values():
        offset = file_offset(elf, to)
        if offset is not None and (text := text_at(content, elf, to)):
            texts[offset] = text
    inner = [
        Region(part="strings", owner=owner, name=text, offset=start + at, size=len(text) + 1)
        for at, text in texts.items()
    ]
    for each in read_dispatches(content, elf, pointers):
        address = _address(elf, each.offset)
        inner.append(
            Region(
                part="dispatches",
                owner=owner,
                name=each.name,
                offset=start + each.offset,
                size=each.size,
                machine="thumb" if each.thumb else elf.machine,
                address=address,
            )
        )
    found: list[Region] = []
    for section in (each for each in elf.sections if each.size):
        low, high = start + section.offset, start + section.offset + section.size
        here = [each for each in inner if low <= each.offset and each.offset + each.size <= high]
        found += _filled(here, low, high, _part(section), section.name, owner=owner)
    return found


def _address(elf: Elf, offset: int) -> int:
    return next(
        (
            each.address + offset - each.offset
            for each in elf.sections
            if each.size and each.offset <= offset < each.offset + each.size
        ),
        0,
    )


def _part(section: ElfSection) -> str:
    if section.code:
        return "dispatches"
    if is_debug(section.name):
        return "executable debug"
    return "executable tables" if section.name.startswith(_TABLES) else "constants"
