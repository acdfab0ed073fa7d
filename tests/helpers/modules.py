"""Real modules, and ways to damage them."""

from __future__ import annotations

import atexit
import functools
import io
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from random import Random

MODULES = Path(__file__).parents[1] / "data" / "vmfb"
FILES = tuple(sorted(MODULES.glob("*.vmfb")))
ARM_MODULES = {
    "arm-3.5.0": "Armv7-A with NEON",
    "armv5te-3.13.0": "Armv5TE",
    "armv6-3.13.0": "Armv5TE with VFPv2",
    "armv7-vfpv3-3.13.0": "Armv7-A with VFPv3",
}
"""Those with code for 32-bit Arm -> what it needs."""
RELEASES = ("2.9.0", *(f"3.{minor}.{int(minor == 7)}" for minor in range(14)))
"""Of the compilers whose modules of `linear` are here."""

EDGES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@functools.cache
def linear_modules() -> Path:
    """A folder with `linear-RELEASE.vmfb` for each compiler: 300 KB that differ little, 20 KB in the archive."""
    return _unpacked("linear")


def _unpacked(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="matrix-modules-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(MODULES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@functools.cache
def vulkan_modules() -> Path:
    """A folder with `vulkan-RELEASE.vmfb` for each compiler: `linear` for the target vulkan-lavapipe."""
    return _unpacked("vulkan")


@functools.cache
def gpu_modules() -> Path:
    """A folder with `cuda-RELEASE.vmfb` and `rocm-RELEASE.vmfb` of compilers 2.9.0, 3.8.0 and 3.13.0: `linear`."""
    return _unpacked("gpu")


@functools.cache
def affine_modules() -> Path:
    """A folder with `affine-RELEASE.vmfb` for each dated compiler."""
    return _unpacked("affine")


def module(name: str) -> Path:
    archives = {"linear": linear_modules, "affine": affine_modules}
    folder = archives.get(name.partition("-")[0])
    return (folder() if folder else MODULES) / f"{name}.vmfb"


def mutated(content: bytes, random: Random) -> bytes:
    """Bytes flipped, words replaced by edge values or near offsets, a tail cut off, a piece moved; the zip's checksums
    made right again in half of them, so that the damage reaches the readers behind."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(damaged))
        match random.randrange(6):
            case 0:
                damaged[at] = random.randrange(256)
            case 1 | 2:
                at = min(at & ~3, len(damaged) - 4)
                struct.pack_into("<I", damaged, at, random.choice((*EDGES, random.randrange(len(damaged)))))
            case 3:
                struct.pack_into("<H", damaged, min(at, len(damaged) - 2), random.choice((0, 4, 0xFFFF, 0x8000)))
            case 4 if len(damaged) > 64 and random.random() < 0.2:
                del damaged[at:]
                damaged += bytes(max(0, 64 - len(damaged)))
            case _:
                piece = damaged[at : at + random.randrange(1, 64)]
                to = random.randrange(len(damaged))
                damaged[to : to + len(piece)] = piece
    return with_checksums(bytes(damaged), content) if random.random() < 0.5 else bytes(damaged)


def with_checksums(damaged: bytes, original: bytes) -> bytes:
    """A damaged zip whose directory has the checksums of the damaged bytes; anything else as it was."""
    if not original.startswith(b"PK") or len(damaged) != len(original):
        return damaged
    fixed = bytearray(damaged)
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        at = archive.start_dir
        for entry in archive.infolist():
            name, extra = struct.unpack_from("<HH", original, entry.header_offset + 26)
            begin = entry.header_offset + 30 + name + extra
            struct.pack_into("<I", fixed, at + 16, zlib.crc32(damaged[begin : begin + entry.file_size]))
            at += 46 + len(entry.filename) + len(entry.extra)
    return bytes(fixed)


def zipped(path: Path, entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path
