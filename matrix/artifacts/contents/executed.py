"""Which code of a module a call executed: the blocks that the profiler wrote, found in the module's executables.

Where a runtime puts an executable, only the runtime knows. But it keeps the place of code within a page, and the bytes
of code are not changed as it is loaded. So of each block that could be the entry of a dispatch the bytes are compared,
and the place where most code fits is that of the executable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.artifacts.contents.debug_lines import DebugFunction, LineRange, read_functions, read_lines
from matrix.artifacts.contents.dispatches import named_entries
from matrix.artifacts.elf import ElfSection
from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.artifacts.vmfb import LoadedExecutable
from matrix.core.errors import FileFault

PAGE = 4096
NO_NAMES = "compile it with the debug information that iree-compile writes unless it is told not to"

Line = tuple[str, int]
"""A file and a line of it; line 0: of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """Code without a branch inside: where it lay in memory, how often it was executed, and its instructions' sizes."""

    address: int
    executed: int
    sizes: tuple[int, ...]
    code: bytes

    @property
    def instructions(self) -> int:
        return self.executed * len(self.sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedDispatch:
    """What a call executed of one dispatch: instructions, how often it was entered, and the instructions by line.
    `folded` are dispatches with the same code, which the linker left out."""

    name: str
    instructions: int
    calls: int
    lines: Mapping[Line, int] = field(default_factory=dict)
    folded: tuple[str, ...] = ()

    @property
    def line(self) -> Line | None:
        """The line with most instructions; None where no instruction has one."""
        with_one = {line: count for line, count in self.lines.items() if line[1]}
        return max(with_one, key=lambda line: (with_one[line], -line[1])) if with_one else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedCode:
    """`instructions` of a call: in the module's executables `kernel`, the others in the runtime. The dispatches, those
    with most instructions first; `unnamed` instructions are of the kernel and in no dispatch."""

    instructions: int
    kernel: int
    unnamed: int
    dispatches: tuple[ExecutedDispatch, ...]


def read_blocks(content: bytes, place: str) -> tuple[CodeBlock, ...]:
    """The blocks of a file of the profiler. Raises FileFault."""
    try:
        rows = read_json(content)["blocks"]
        found = tuple(_block(*row) for row in rows)
    except (JsonFault, KeyError, TypeError, ValueError) as error:
        raise _fault(place, f"no blocks of the profiler ({error})", "the whole file", "run again") from None
    return found


def _block(address: object, executed: object, sizes: object, code: object) -> CodeBlock:
    if type(address) is not int or type(executed) is not int or not isinstance(sizes, str) or not isinstance(code, str):
        raise TypeError("a block of other fields")
    made = CodeBlock(
        address=address, executed=executed, sizes=tuple(int(each, 16) for each in sizes), code=bytes.fromhex(code)
    )
    if address < 0 or executed <= 0 or sum(made.sizes) != len(made.code) or not all(made.sizes):
        raise ValueError(f"a block at {address} whose sizes are not those of its code")
    return made


def executed_code(blocks: Sequence[CodeBlock], executables: Iterable[LoadedExecutable], place: str) -> ExecutedCode:
    """What the blocks execute of the executables. Raises FileFault where one has no names, or none of its code."""
    loaded = [each for each in executables if each.elf]
    if not loaded:
        raise _fault(place, "a module without machine code", "executables with machine code", "choose a CPU target")
    found: list[ExecutedDispatch] = []
    kernel = named = 0
    for each in loaded:
        code = _Executable(each, f"{place}: {each.executable.name}")
        base = code.base(blocks)
        if base is None:
            continue
        inside = [block for block in blocks if code.holds(block, base)]
        kernel += sum(block.instructions for block in inside)
        found += code.dispatches(inside, base)
    if not found:
        raise _fault(place, "no block of this module's code", "the blocks of a call of it", "run both again")
    named = sum(each.instructions for each in found)
    ordered = sorted(found, key=lambda each: (-each.instructions, each.name))
    whole = sum(block.instructions for block in blocks)
    return ExecutedCode(instructions=whole, kernel=kernel, unnamed=kernel - named, dispatches=tuple(ordered))


class _Executable:
    """An executable with its names and lines."""

    def __init__(self, loaded: LoadedExecutable, place: str) -> None:
        assert loaded.elf is not None  # the caller asks for no other
        self.content, self.elf, self.name = loaded.content, loaded.elf, loaded.executable.name
        self.code: list[ElfSection] = [each for each in self.elf.sections if each.code and each.size]
        functions = read_functions(self.content, self.elf, place)
        self.functions = sorted((each for each in functions if each.high > each.low > 0), key=lambda each: each.low)
        if not self.functions:
            raise _fault(place, "no debug information", "the names of its dispatches", NO_NAMES)
        self.starts = [each.low for each in self.functions]
        self.lines = read_lines(self.content, self.elf, place)
        self.line_starts = [each.low for each in self.lines]
        self.folded = _folded(functions, named_entries(self.content, self.elf))

    def base(self, blocks: Sequence[CodeBlock]) -> int | None:
        """Where it was loaded: there most executed code has its bytes, and no block others. None: nowhere."""
        at: dict[int, list[CodeBlock]] = {}
        for block in blocks:
            at.setdefault(block.address % PAGE, []).append(block)
        candidates = Counter(
            block.address - low
            for low in self.starts
            for block in at.get(low % PAGE, ())
            if self._bytes(low, len(block.code)) == block.code
        )
        fits = {base: self._fit(blocks, base) for base, _ in candidates.most_common(PAGE)}
        best = max(fits, key=lambda base: (fits[base], -base), default=None)
        return best if best is not None and fits[best] > 0 else None

    def _fit(self, blocks: Iterable[CodeBlock], base: int) -> int:
        """The instructions whose code fits; 0 where other code was executed there."""
        found = 0
        for block in blocks:
            if self.holds(block, base):
                if self._bytes(block.address - base, len(block.code)) != block.code:
                    return 0
                found += block.instructions
        return found

    def holds(self, block: CodeBlock, base: int) -> bool:
        address = block.address - base
        return any(each.address <= address < each.address + each.size for each in self.code)

    def _bytes(self, address: int, size: int) -> bytes:
        for each in self.code:
            if each.address <= address and address + size <= each.address + each.size:
                start = each.offset + address - each.address
                return self.content[start : start + size]
        return b""

    def dispatches(self, blocks: Iterable[CodeBlock], base: int) -> list[ExecutedDispatch]:
        lines: dict[str, Counter[Line]] = {}
        calls: Counter[str] = Counter()
        for block in blocks:
            address = block.address - base
            for size in block.sizes:
                if function := self._function(address):
                    lines.setdefault(function.name, Counter())[self._line(address)] += block.executed
                    if address == function.low == block.address - base:
                        calls[function.name] += block.executed
                address += size
        return [
            ExecutedDispatch(
                name=name,
                instructions=sum(counts.values()),
                calls=calls[name],
                lines=dict(counts),
                folded=self.folded.get(name, ()),
            )
            for name, counts in lines.items()
        ]

    def _function(self, address: int) -> DebugFunction | None:
        index = bisect_right(self.starts, address) - 1
        return self.functions[index] if index >= 0 and address < self.functions[index].high else None

    def _line(self, address: int) -> Line:
        index = bisect_right(self.line_starts, address) - 1
        found: LineRange | None = self.lines[index] if index >= 0 else None
        return (found.file, found.line) if found and address < found.high else ("", 0)


def _folded(functions: Iterable[DebugFunction], entries: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """A function -> those without code of their own whose entry is its own."""
    kept = {each.low: each.name for each in functions if each.low}
    found: dict[str, tuple[str, ...]] = {}
    for each in functions:
        if not each.low and (other := kept.get(entries.get(each.name, 0))):
            found[other] = (*found.get(other, ()), each.name)
    return found


def _fault(place: str, read: str, expected: str, tip: str) -> FileFault:
    return FileFault(f"{place}: read {read}, expected {expected}", tip=tip)
