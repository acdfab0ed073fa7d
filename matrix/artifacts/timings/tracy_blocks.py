"""The container of a Tracy file: blocks that are dealt to streams of zstd, one after the other.

`tr\\xfdP`, a byte for the compression, the number of streams, then blocks: four bytes of length and so many bytes of
the stream whose turn it is. Each block is 64 KiB of content, the last one less (`TracyFileWrite.hpp`, Tracy 0.11).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

from matrix.core.errors import FileFault

TRACY_MAGIC = b"tr\xfdP"
OTHER_MAGIC = b"tlZ\x04"
"""Of files of Tracy before 0.9, which are compressed with LZ4."""
ZSTD_COMPRESSION = 1
MOST_STREAMS = 64
TRACY_BLOCK = 64 << 10
MOST_UNPACKED_BYTES = 512 << 20
CAPTURE_AGAIN = "run again: the capture is made once more"
_LENGTH = struct.Struct("<I")


def unpack_tracy(content: bytes, place: str) -> bytes:
    """What the blocks hold, one after the other. Raises FileFault."""
    if sys.version_info >= (3, 14):  # only a capture needs it
        from compression import zstd
    else:
        from backports import zstd
    if content[:4] != TRACY_MAGIC:
        older = " (of a Tracy before 0.9)" if content[:4] == OTHER_MAGIC else ""
        raise tracy_fault(place, 0, f"{content[:4]!r}{older}", "a capture of Tracy, which begins with b'tr\\xfdP'")
    if len(content) < 6:
        raise tracy_fault(place, 4, "the end", "the compression and the number of streams")
    compression, streams = content[4], content[5]
    if compression != ZSTD_COMPRESSION:
        raise tracy_fault(place, 4, f"compression {compression}", f"{ZSTD_COMPRESSION}, which is zstd")
    if not 1 <= streams <= MOST_STREAMS:
        raise tracy_fault(place, 5, f"{streams} streams", f"1 to {MOST_STREAMS}")
    readers = [zstd.ZstdDecompressor() for _ in range(streams)]
    unpacked = bytearray()
    last = TRACY_BLOCK
    for number, (at, block) in enumerate(_blocks(content, place)):
        if number and last != TRACY_BLOCK:
            raise tracy_fault(place, at, f"a block after one of {last:,} bytes", "none: the last one is shorter")
        try:
            made = readers[number % streams].decompress(block, TRACY_BLOCK + 1)
        except (zstd.ZstdError, EOFError) as error:
            raise tracy_fault(place, at, f"a block that is no zstd ({error})", "one of this stream") from None
        last = len(made)
        if last > TRACY_BLOCK:
            raise tracy_fault(place, at, f"a block of more than {TRACY_BLOCK:,} bytes", "at most so many")
        unpacked += made
        if len(unpacked) > MOST_UNPACKED_BYTES:
            raise tracy_fault(place, at, f"more than {MOST_UNPACKED_BYTES:,} bytes", "a smaller capture")
    if last == TRACY_BLOCK:
        raise tracy_fault(place, len(content), "the end after a whole block", "a shorter last one: it was cut off")
    return bytes(unpacked)


def _blocks(content: bytes, place: str) -> Iterator[tuple[int, bytes]]:
    """Where each block begins, and its bytes."""
    at = 6
    while at < len(content):
        start = at + _LENGTH.size
        if start > len(content):
            raise tracy_fault(place, at, f"{len(content) - at} bytes", "the length of a block: it was cut off")
        (size,) = _LENGTH.unpack_from(content, at)
        if start + size > len(content):
            raise tracy_fault(
                place, at, f"{len(content) - start:,} of {size:,} bytes", "all of a block: it was cut off"
            )
        yield at, content[start : start + size]
        at = start + size


def tracy_fault(place: str, at: int, read: str, expected: str, *, inside: bool = False) -> FileFault:
    """`inside`: the byte is one of the unpacked content."""
    where = f"{place}: {'unpacked ' if inside else ''}byte {at:,}"
    return FileFault(f"{where}: read {read}, expected {expected}", tip=CAPTURE_AGAIN)
