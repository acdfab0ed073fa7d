"""What lies below a folder, however deep: measures it, or removes it, as the user that owns it.

    python -I -S trees.py held|empty|open FOLDER

Paths of a tree may be too long to open, and too deep for a recursion, so folders are opened one below the other. Runs
in containers, and is a part of the worker there. Standard library only, CPython 3.9 to 3.14.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def empty(folder: str) -> bool:
    """Removes all that is in a folder. Returns whether nothing is left.

    Each folder below a folder is moved up before its own is removed, and only three are open at a time.
    """
    top = _opened(folder, None)
    try:
        while _emptied(top, top):
            pass
        return not os.listdir(top)
    finally:
        os.close(top)


def _opened(name: str, within: int | None) -> int:
    """Opens a folder after it was made readable and writable. Raises OSError if it is none."""
    if stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=within)
    return os.open(name, FOLDER, dir_fd=within)


def _emptied(folder: int, top: int) -> bool:
    """Removes the files of a folder. Its folders go too if it is `top`, else they move there. Returns whether anything
    has changed: then it is worth another look."""
    changed = False
    with os.scandir(folder) as entries:  # not a list: there may be a million
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                elif folder == top:
                    _removed(entry.name, top)
                else:
                    os.close(_opened(entry.name, folder))  # it must be writable to be moved
                    os.rename(entry.name, f".{os.urandom(8).hex()}", src_dir_fd=folder, dst_dir_fd=top)
                changed = True
    return changed


def _removed(name: str, top: int) -> None:
    """Raises OSError if something of it stays."""
    folder = _opened(name, top)
    try:
        while _emptied(folder, top):
            pass
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def held(folder: str) -> tuple[int, int]:
    """The bytes on the disk and the number of files and folders below a folder. What is changed meanwhile may be left
    out."""
    here = _opened(folder, None)
    size, count, names = _scanned(here)
    levels = [(_identity(here), names)]
    while True:
        if levels[-1][1]:
            try:
                there = _opened(levels[-1][1].pop(), here)
            except OSError:
                continue
            more, number, names = _scanned(there)
            size, count = size + more, count + number
            levels.append((_identity(there), names))
        else:
            levels.pop()
            if not levels:
                break
            there = os.open("..", FOLDER, dir_fd=here)
            if _identity(there) != levels[-1][0]:  # it was moved
                break
        os.close(here)
        here = there
    os.close(here)
    return size, count


def _scanned(folder: int) -> tuple[int, int, list[str]]:
    """The bytes of the files in a folder, the number of its entries, and the names of its folders."""
    size, count, names = 0, 0, []
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                else:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
    return size, count, names


def _identity(folder: int) -> tuple[int, int]:
    facts = os.fstat(folder)
    return facts.st_dev, facts.st_ino


def open_files(folder: str) -> None:
    """Makes the files in a folder readable for all users."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    os.chmod(entry.path, 0o666)


if __name__ == "__main__":
    if sys.argv[1] == "held":
        print(*held(sys.argv[2]))
    elif sys.argv[1] == "open":
        open_files(sys.argv[2])
    else:
        empty(sys.argv[2])
