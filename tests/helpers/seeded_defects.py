"""Seeded defects: linkers for `--iree-llvmcpu-embedded-linker-path` that make one dispatch of a module wrong.

A linker changes machine code or a constant in the object that IREE's code generator wrote, then calls IREE's own one.
So the module is compiled as ever, and computes something else: what a miscompile does. Which dispatch is wrong is known
here, and by nothing that looks for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

LINKER = '''#!{python}
import os, re, struct, sys

FUNCTION, CHANGE = {function!r}, {change!r}


def compiler():
    """IREE's linker lies beside the compiler that calls."""
    process = os.getppid()
    while process > 1:
        words = open(f"/proc/{{process}}/cmdline", "rb").read().decode().split(chr(0))
        linker = os.path.join(os.path.dirname(words[0]), "iree-lld")
        if os.path.basename(words[0]) == "iree-compile" and os.path.isfile(linker):
            return linker
        process = int(open(f"/proc/{{process}}/stat").read().rpartition(")")[2].split()[1])


def sections(data):
    start, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    return [struct.unpack_from("<IIQQQQIIQQ", data, start + size * n) for n in range(count)]


def functions(data):
    """(name, place in the file, bytes) of each function."""
    every = sections(data)
    for _, kind, _, _, offset, size, link, *_ in every:
        if kind == 2:  # SHT_SYMTAB
            names = every[link][4]
            for place in range(offset, offset + size, 24):
                name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", data, place)
                end = data.index(b"\\0", names + name)
                if info & 15 == 2 and 0 < section < len(every):
                    yield data[names + name : end].decode(), every[section][4] + value, length


def swapped(data, place, length, before, after):
    """Packed or scalar float instructions of AVX with another operation: the byte behind a VEX prefix of map 0F."""
    changed = 0
    for at in range(place, place + length - 4):
        two = data[at] == 0xC5 and data[at + 1] & 1 == 0
        three = data[at] == 0xC4 and data[at + 1] & 31 == 1
        where = at + 2 if two else at + 3
        if (two or three) and data[where] == before:
            data[where] = after
            changed += 1
    return changed


for word in sys.argv[1:]:
    if word.endswith(".o") and os.path.isfile(word):
        data = bytearray(open(word, "rb").read())
        if data[:5] != b"\\x7fELF\\x02":
            continue
        changed = 0
        if "constant" in CHANGE:
            before, after = (struct.pack("<f", each) for each in CHANGE["constant"])
            changed = data.count(before)
            data = data.replace(before, after)
        else:
            for name, place, length in functions(data):
                if re.fullmatch(FUNCTION, name):
                    changed += swapped(data, place, length, *CHANGE["opcode"])
        open(word, "wb").write(data)
        print(f"seeded defect: {{changed}} places", file=sys.stderr, flush=True)
os.execv(compiler(), ["iree-lld", *sys.argv[1:]])
'''
ADD, MULTIPLY, SUBTRACT, MINIMUM, DIVIDE, MAXIMUM = 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F
"""The operation of a float instruction of AVX."""
NO_INSTRUCTION = 0xFF
"""And one that there is not: SIGILL."""


def defective_linker(
    path: Path, *, function: str = "", opcode: tuple[int, int] = (0, 0), constant: tuple[float, float] | None = None
) -> str:
    """The flag of a linker, written to `path`. `function` is a pattern for the dispatch's name, in which float
    operations `opcode[0]` become `opcode[1]`; or a `constant` of all dispatches becomes another one."""
    change = {"constant": constant} if constant else {"opcode": opcode}
    path.write_text(LINKER.format(python=sys.executable, function=function, change=change), encoding="utf-8")
    path.chmod(0o755)
    return f"--iree-llvmcpu-embedded-linker-path={path}"
