"""What Nix knows a file or a folder by: the digest of its archive (NAR), and the path in its store that follows.

A NAR holds names in order, contents, links and whether a file can be executed; no times, owners or other modes. The
archive and the paths are those of E. Dolstra's thesis (2006, figure 5.2 and section 5.1), as every Nix computes them.
A path follows from a digest and a name, so it can be written into a lock on a machine without Nix.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from matrix.core.errors import ImageFault
from matrix.images.layer import BLOCK, Hashed

STORE = "/nix/store"
DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
"""Of Nix's base 32: no e, o, t, u."""
HASH_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Nar:
    """An archive that was not written down: `digest` is its sha256 in hexadecimal, `size` its bytes."""

    digest: str
    size: int


def nar_of(path: Path) -> Nar:
    """The NAR of a file or folder. Raises ImageFault for what is neither file, folder nor link."""
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
        raise ImageFault(f"{path.name}: neither a file nor a folder nor a link", tip="Nix can keep no such thing")
    _text(out, ")")


def _text(out: BinaryIO | Hashed, *words: str) -> None:
    for word in words:
        content = os.fsencode(word)
        out.write(len(content).to_bytes(8, "little") + content + b"\0" * (-len(content) % 8))


def _content(out: BinaryIO | Hashed, path: Path, size: int) -> None:
    out.write(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            out.write(block)
    out.write(b"\0" * (-size % 8))


def tree_path(name: str, digest: str) -> str:
    """Where a folder (or a file as a NAR) of this sha256 lies in every Nix store."""
    return _path("source", digest, name)


def file_path(name: str, digest: str) -> str:
    """Where a single file whose bytes have this sha256 lies in every Nix store."""
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
    """The lowest five bits stand last."""
    number = int.from_bytes(content, "little")
    length = -(-len(content) * 8 // 5)
    return "".join(DIGITS[number >> 5 * index & 31] for index in reversed(range(length)))
