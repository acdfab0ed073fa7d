"""Files that mean harm: a clear error within 2 s and 200 MB, and nothing else."""

from __future__ import annotations

import os
import re
import resource
import struct
import time
import zipfile
from pathlib import Path
from random import Random

import pytest
from measured import command_line
from modules import FILES, module, mutated, zipped
from pace import allowed

from matrix.artifacts.mlir import read_mlir
from matrix.artifacts.vmfb_audit import audit
from matrix.core.errors import FileFault

SECONDS = 2.0
BYTES = 200 << 20
MLIR = Path(__file__).parents[1] / "data" / "linear.mlirbc"


def bare(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def table(*slots: bytes) -> bytes:
    """A FlatBuffer with the identifier and one table whose fields are `slots`, four bytes each."""
    vtable = struct.pack("<HH", 4 + 2 * len(slots), 4 + 4 * len(slots))
    vtable += b"".join(struct.pack("<H", 4 + 4 * index if slot else 0) for index, slot in enumerate(slots))
    vtable += bytes(-len(vtable) % 4)
    return (
        struct.pack("<I", 8 + len(vtable))
        + b"IREE"
        + vtable
        + struct.pack("<i", len(vtable))
        + b"".join(slot or bytes(4) for slot in slots)
    )


def zip_bomb(folder: Path) -> Path:
    path = folder / "bomb.vmfb"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("module.fb", "w") as entry,
    ):
        for _ in range(250):
            entry.write(bytes(1 << 20))
    return path


def overlapping(folder: Path) -> Path:
    """Entries of which each claims all the bytes behind it."""
    path = zipped(folder / "quine.vmfb", {f"e{index}": b"x" * 1000 for index in range(1000)})
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<II", content, at + 20, 500_000, 500_000)
        at = content.find(b"PK\x01\x02", at + 46)
    path.write_bytes(content)
    return path


def huge_directory(folder: Path) -> Path:
    return zipped(folder / "many.vmfb", {f"{index:0100}": b"" for index in range(30_000)})


def sparse(folder: Path) -> Path:
    path = folder / "sparse.vmfb"
    with path.open("wb") as file:
        file.write(struct.pack("<II", 0xFFFFFFF0, 8) + b"IREE")
        file.truncate(8 << 30)
    return path


def shared_texts(folder: Path) -> Path:
    """A vector of a million exports that are all the same table, with a name of 4 KB."""
    count = 1_000_000
    empty = b""
    slots = [empty] * 7 + [struct.pack("<I", 4)]
    head = table(*slots)
    vector_at = len(head)
    last = vector_at + 4 + 4 * count
    inner = struct.pack("<HHH", 6, 8, 4) + bytes(2) + struct.pack("<iI", 8, 4) + struct.pack("<I", 4000) + b"n" * 4000
    offsets = b"".join(struct.pack("<I", last + 8 - (vector_at + 4 + 4 * index)) for index in range(count))
    path = folder / "texts.vmfb"
    path.write_bytes(bare(head + struct.pack("<I", count) + offsets + inner))
    return path


def almost_leaks(folder: Path) -> Path:
    """40 MB of what looks like the beginning of a path, a file name and a dispatch at every character."""
    path = folder / "strings.vmfb"
    path.write_bytes(bare(table() + (b"/a@/+a._dispatch_$/b_linked-" * 1_500_000)))
    return path


def many_sections(folder: Path) -> Path:
    """A real module whose executable says that it has 65,535 sections."""
    content = bytearray(module("bare-3.13.0").read_bytes())
    struct.pack_into("<H", content, content.find(b"\x7fELF") + 60, 0xFFFF)
    path = folder / "sections.vmfb"
    path.write_bytes(content)
    return path


def one_line_of_mlir(folder: Path) -> Path:
    path = folder / "line.mlir"
    path.write_bytes(b"func.func @f(\n%x = torch.op " + b"!ab.c " * 20_000_000)
    return path


def many_lines_of_mlir(folder: Path) -> Path:
    path = folder / "lines.mlir"
    path.write_bytes(b"func.func @f(\n" + b"%a = b.c !d.e\n" * 5_000_000)
    return path


def nothing(folder: Path) -> Path:
    path = folder / "nothing.vmfb"
    path.touch()
    return path


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.vmfb")
    return folder / "pipe.vmfb"


REFUSED = {
    zip_bomb: "compressed or encrypted",
    overlapping: "overlap|whole entries",
    huge_directory: "zip directory of more than 1 MiB",
    sparse: "a module of 4294967280 bytes",
    shared_texts: "lead in circles",
    many_sections: "65535 sections",
    nothing: "as its first bytes",
    a_pipe: "read no file",
}
READ = (almost_leaks, one_line_of_mlir, many_lines_of_mlir)


@pytest.mark.parametrize("make", [*REFUSED, *READ], ids=lambda make: make.__name__)
def test_a_hostile_file_costs_little_and_is_named(make, tmp_path):
    status, said, seconds, peak = command_line(["whatis", str(make(tmp_path))])
    assert "Traceback" not in said and "a defect of this project" not in said
    if make in REFUSED:
        assert status == FileFault.exit_code, said
        assert re.search(REFUSED[make], said), said
        assert "TIP" in said
    else:
        assert status == 0, said
    assert seconds < allowed(SECONDS)
    assert peak < BYTES


def fuzz(count: int, seed: int, path: Path) -> int:
    """How many damaged files were read all the same. Any error but FileFault ends the test."""
    random, contents, read = Random(seed), [file.read_bytes() for file in FILES], 0
    contents.append(module("linear-2.9.0").read_bytes())
    for _ in range(count):
        path.write_bytes(mutated(random.choice(contents), random))
        start = time.process_time()
        try:
            audit(path)
            read += 1
        except FileFault as error:
            assert str(path) in str(error) and error.tip
        assert time.process_time() - start < SECONDS
    return read


def test_a_sample_of_fuzzed_modules(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = fuzz(1000, 1, tmp_path / "fuzzed.vmfb")
    assert 100 < read < 900  # both ends are reached
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < BYTES


@pytest.mark.full
def test_ten_thousand_fuzzed_modules(tmp_path):
    assert 1000 < fuzz(10_000, 2, tmp_path / "fuzzed.vmfb") < 9000


def test_fuzzed_mlir_bytecode(tmp_path):
    random, content, path, read = Random(3), MLIR.read_bytes(), tmp_path / "fuzzed.mlirbc", 0
    for _ in range(1000):
        path.write_bytes(b"ML\xefR" + mutated(content, random)[4:])
        try:
            read += bool(read_mlir(path))
        except FileFault as error:
            assert str(path) in str(error)
    assert 100 < read < 950


def test_a_wrong_checksum_is_seen(tmp_path):
    content = bytearray(module("plain-3.13.0").read_bytes())
    content[3000] ^= 1
    path = tmp_path / "module.vmfb"
    path.write_bytes(content)
    with pytest.raises(FileFault, match="not what its checksum says"):
        audit(path)
