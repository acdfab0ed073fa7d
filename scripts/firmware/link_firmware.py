"""Links a module into a program for a board, if the board has the memory for the module itself.

    python link_firmware.py NAME=VALUE… -- COMMAND…

The words of the last command say what memory the board has (`-Wl,--defsym,flash_bytes=0x400000`). Before anything is
linked, the least that the module takes is compared with it: the module and its machine code in flash; its inputs,
outputs and intermediate results in RAM. Standard library only.
"""

from __future__ import annotations

import csv
import glob
import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # an isolated Python leaves its script's folder out

import steps

MEMORY = re.compile(r"-Wl,--defsym,(\w+)=(\w+)\Z")
QUERY = re.compile(r"([A-Za-z0-9_$]+_library_query)\(")
TOO_LARGE = 3
"""The exit status if the board is too small."""
ALLOCATED, NO_BITS = 2, 8
"""ELF: SHF_ALLOC, SHT_NOBITS."""


def main(words: "list[str]") -> int:
    board = {found[1]: int(found[2], 0) for word in words for found in [MEMORY.match(word)] if found}
    flash = size("module.vmfb") + code("module.o")
    arrays = sum(size(name) for kind in ("input", "expected") for name in glob.glob(f"{kind}_*.npy"))
    memory = arrays + transients("statistics.csv")
    for kind, needed, has in (("flash", flash, board["flash_bytes"]), ("RAM", memory, board["ram_bytes"])):
        if needed > has:
            print(f"the model needs at least {needed:,} bytes of {kind}, and the board has {has:,} bytes")
            return TOO_LARGE
    if os.path.exists("module.h"):
        with open("module.h", encoding="utf-8") as file, open("query.h", "w", encoding="utf-8") as made:
            made.write(f"#define LIBRARY_QUERY {QUERY.search(file.read())[1]}\n")
    return steps.main(words)


def size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def code(path: str) -> int:
    """The bytes of an object's sections that are loaded: ELF of 32 bits, little-endian."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as file:
        content = file.read()
    (begin,), (entry, count) = struct.unpack_from("<I", content, 32), struct.unpack_from("<HH", content, 46)
    sections = (struct.unpack_from("<10I", content, begin + entry * index) for index in range(count))
    return sum(each[5] for each in sections if each[2] & ALLOCATED and each[1] != NO_BITS)


def transients(path: str) -> int:
    """The bytes of a call's intermediate results, as the compiler counted them; 0 if it did not."""
    if not os.path.exists(path):
        return 0
    with open(path, encoding="utf-8") as file:
        rows = list(csv.reader(line for line in file if not line.startswith(";")))
    found = next((index for index, names in enumerate(rows) if "Transient Size" in names), None)
    return 0 if found is None else int(rows[found + 1][rows[found].index("Transient Size")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
