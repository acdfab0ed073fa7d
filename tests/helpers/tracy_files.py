"""Captures of Tracy, written as `iree-tracy-capture` writes them, with the dispatches of calls of a module."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Dispatches = Sequence[tuple[str, Sequence[int]]]
"""The dispatches of a call: name, and the nanoseconds of each workgroup."""
BLOCK = 64 << 10
CALL, INVOKED, ISSUED, RUNTIME = 0, 1, 2, 3
STATIC = ("BenchmarkIteration", "iree_vm_invoke", "iree_hal_local_executable_issue_dispatch_inline", "main")


def capture(calls: Sequence[Dispatches], *, version: tuple[int, int, int] = (0, 11, 2), streams: int = 4) -> bytes:
    return packed(unpacked(calls, version=version), streams=streams)


def packed(content: bytes, *, streams: int = 4) -> bytes:
    """The content in blocks."""
    writers = [zstd.ZstdCompressor() for _ in range(streams)]
    made = bytearray(b"tr\xfdP" + bytes([1, streams]))
    for number, start in enumerate(range(0, len(content), BLOCK)):
        writer = writers[number % streams]
        block = writer.compress(content[start : start + BLOCK], writer.FLUSH_BLOCK)
        made += struct.pack("<I", len(block)) + block
    return bytes(made)


def unpacked(calls: Sequence[Dispatches], *, version: tuple[int, int, int] = (0, 11, 2)) -> bytes:
    newer = version > (0, 11, 0)
    names = list(dict.fromkeys(name for call in calls for name, _ in call))
    texts = ["Frame", *STATIC, *names]
    made = bytearray(b"tracy" + bytes(version))
    made += struct.pack("<QQdqQQqBI", 20, 0, 0.385, 4_000_000_000, 0, 4711, 100_000, 2, 0x0A1F11) + b"AuthenticAMD\0"
    for text in ("module @ a day", "iree-benchmark-module"):
        made += _text(text)
    made += struct.pack("<QQ", 1, 1) + _text("User: somebody@somewhere")
    made += _topology(3 if newer else 2) + bytes(28)
    made += struct.pack("<QQBQ", 2, 0, 1, 1) + struct.pack("<qi", 0, -1)  # frames that go on,
    made += struct.pack("<QBQ", 7, 0, 1) + struct.pack("<qqi", 1, 2, -1)  # and one with an end
    made += struct.pack("<Q", len(texts))
    for number, text in enumerate(texts):
        made += struct.pack("<Q", 1000 + number) + _text(text)
    made += struct.pack("<Q", len(STATIC))
    for number, text in enumerate(STATIC):
        made += struct.pack("<QQ", 2000 + number, 1000 + texts.index(text))
    made += struct.pack("<QQQ", 1, 4711, 1000) + struct.pack("<QQQQ", 1, 9, 1000, 1000)
    made += struct.pack("<QQ", 1, 0) + struct.pack("<Q", 0)
    made += struct.pack("<Q", len(STATIC))
    for number in range(len(STATIC)):
        made += struct.pack("<Q", 3000 + number) + _location((0, 0), (2000 + number, 2))
    made += struct.pack("<Q", len(STATIC)) + b"".join(struct.pack("<Q", 3000 + each) for each in range(len(STATIC)))
    made += struct.pack("<Q", len(names))
    for name in names:
        made += _location((texts.index(name), 3), (0, 0))
    made += struct.pack("<QhQ", 1, 0, len(calls)) + struct.pack("<Q", 0)
    made += struct.pack("<QI3shBBqqQQQ", 1, 5, b"\0\0\0", 0, 0, 1, 0, 0, 1, 4711, 1) + struct.pack("<qhBB", 3, 0, 0, 0)
    made += struct.pack("<QQqQBI3s", 1, 1, 5, 0, 2, 0, b"\0\0\0") + struct.pack("<Q12s", 1, bytes(12))
    made += struct.pack("<QQQ", 0, 0, 2)
    for zones in (_calls(calls, names), struct.pack("<I", 0)):
        made += struct.pack("<QQQB", 4711, 1, 0, 0) + (struct.pack("<i", 0) if newer else b"") + zones
        made += struct.pack("<QQQ", 1, 1, 0) + struct.pack("<Qq3s", 1, 7, b"\0\0\0")
    return bytes(made + bytes(200))  # plots and memory, which nobody reads


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _topology(levels: int) -> bytes:
    below = _topology(levels - 1) if levels else b""
    return struct.pack("<QI", 1, 0) + below


def _location(name: tuple[int, int], function: tuple[int, int]) -> bytes:
    return struct.pack("<QBQBQBII", *name, *function, 0, 0, 12, 0)


def _zone(location: int, children: Sequence[bytes], *, before: int = 5, after: int = 5) -> bytes:
    head = struct.pack("<hqII", location, before, 0, len(children))
    return head + b"".join(children) + struct.pack("<q", after)


def _calls(calls: Sequence[Dispatches], names: Sequence[str]) -> bytes:
    made = []
    for call in calls:
        issued = [
            _zone(ISSUED, [_zone(-names.index(name) - 1, [], after=spent) for spent in workgroups])
            for name, workgroups in call
        ]
        made.append(_zone(CALL, [_zone(INVOKED, issued)]))
    return struct.pack("<I", 1) + _zone(RUNTIME, made)
