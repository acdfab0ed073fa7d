"""Writes the arrays that `inputs.json` describes beside it, the same on every machine: seeded, within the ranges given.

Each row has `name`, `dtype` (float32, int64, …), `shape`, `low` and `high`. Standard library only: a reproducer has a
copy of it.
"""

from __future__ import annotations

import json
import random
import struct

CODES = {"float16": "e", "float32": "f", "float64": "d", "int8": "b", "int16": "h", "int32": "i", "int64": "q"}
KINDS = {
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}


def main() -> None:
    with open("inputs.json", encoding="utf-8") as file:
        rows = json.load(file)
    for number, row in enumerate(rows):
        write(row, random.Random(number))


def write(row: "dict[str, object]", source: random.Random) -> None:
    """One array, as an .npy file of version 1.0."""
    dtype, shape = str(row["dtype"]), [int(each) for each in row["shape"]]  # type: ignore[attr-defined]
    low, high, count = row["low"], row["high"], 1
    for each in shape:
        count *= each
    whole = dtype.startswith("int")
    made = (source.randint(low, high) if whole else low + (high - low) * source.random() for _ in range(count))  # type: ignore[arg-type, operator]
    sizes = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    said = f"{{'descr': '{KINDS[dtype]}', 'fortran_order': False, 'shape': ({sizes}), }}"
    header = said.encode() + b" " * (63 - (len(said) + 10) % 64) + b"\n"
    with open(str(row["name"]), "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        file.write(struct.pack(f"<{count}{CODES[dtype]}", *made))


if __name__ == "__main__":
    main()
