"""The digest of a file's or folder's archive (NAR), and its path in a Nix store.

A NAR holds sorted names, contents, links, and whether a file is executable; no times, owners or other modes. Archive
and paths are defined in E. Dolstra's thesis (2006, figure 5.2 and section 5.1). A path depends only on a digest and a
name, so it can be computed on a machine without Nix.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from matrix.core.errors import ImageFault
from matrix.images.layer import BLOCK_BYTES, Hashed

STORE = "/nix/store"
DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
"""The digits of Nix's base 32: without e, o, t and u."""
HASH_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Nar:
    """An archive, which is hashed but not stored. `digest` is its sha256 in hexadecimal, `size` is in bytes."""

    digest: str
    size: int


def nar_of(path: Path) -> Nar:
    """The NAR of a file or folder. Raises ImageFault for anything but files, folders and links."""
    hashed = Hashed(None)
    _text(hashed, "nix-archive-1")
    _node(hashed, path)
    layer = hashed.layer()
    return Nar(digest=layer.digest, size=layer.size)


def _node(out: BinaryIO | Hashed, path: Path) -> None:
    facts = path.lstat()
    _text(out, "(", "type")
    if stat.S_ISLNK(facts.st_mode):
        _text(out, "symlink", "target", str(path.readlink()))
    elif stat.S_ISREG(facts.st_mode):
        _text(out, "regular", *(("executable", "") if facts.st_mode & stat.S_IXUSR else ()), "contents")
        _content(out, path, facts.st_size)
    elif stat.S_ISDIR(facts.st_mode):
        _text(out, "directory")
        for member in sorted(path.iterdir(), key=lambda each: os.fsencode(each.name)):
            _text(out, "entry", "(", "name", member.name, "node")
            _node(out, member)
            _text(out, ")")
    else:
        raise ImageFault(f"{path.name}: neither a file nor a folder nor a link", tip="a Nix store cannot hold it")
    _text(out, ")")


def _text(out: BinaryIO | Hashed, *words: str) -> None:
    for word in words:
        content = os.fsencode(word)
        out.write(len(content).to_bytes(8, "little") + content + b"\0" * (-len(content) % 8))


def _content(out: BinaryIO | Hashed, path: Path, size: int) -> None:
    out.write(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            out.write(block)
    out.write(b"\0" * (-size % 8))


def tree_path(name: str, digest: str) -> str:
    """The path in a Nix store of a folder (or of a file, as a NAR) with this sha256."""
    return _path("source", digest, name)


def file_path(name: str, digest: str) -> str:
    """The path in a Nix store of a single file with this sha256."""
    inner = hashlib.sha256(f"fixed:out:sha256:{digest}:".encode()).hexdigest()
    return _path("output:out", inner, name)


def _path(kind: str, digest: str, name: str) -> str:
    whole = hashlib.sha256(f"{kind}:sha256:{digest}:{STORE}:{name}".encode()).digest()
    return f"{STORE}/{_base32(_folded(whole))}-{name}"


def _folded(whole: bytes) -> bytes:
    short = bytearray(HASH_BYTES)
    for index, byte in enumerate(whole):
        short[index % HASH_BYTES] ^= byte
    return bytes(short)


def _base32(content: bytes) -> str:
    """The lowest five bits are the last digit."""
    number = int.from_bytes(content, "little")
    length = -(-len(content) * 8 // 5)
    return "".join(DIGITS[number >> 5 * index & 31] for index in reversed(range(length)))
