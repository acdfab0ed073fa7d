"""Files whose bytes were lost or changed after they were written: what a disk, or a power failure, does to them.

Each class of file of a store is emptied, its tail is zeroed, or one byte is flipped, which leaves its size as it was.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from family import Family, Trial
from invariants import broken_after
from workload import Bed, Place, copy_tree, own_file

REPAIRED = "move it and the files store.sqlite-* away"
"""What the program says is to be done with a database that it cannot use; then this is done, as a person does it."""


def emptied(content: bytes, chance: random.Random) -> bytes:
    return b""


def tail_zeroed(content: bytes, chance: random.Random) -> bytes:
    kept = chance.randrange(len(content) or 1)
    return content[:kept] + bytes(len(content) - kept)


def flipped(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return content
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: tuple[Damage, ...] = (emptied, tail_zeroed, flipped)


def tools(place: Place) -> list[Path]:
    """What jobs start: of compilers, of runtimes, and the interpreter's settings."""
    names = ("iree-compile", "iree-run-module", "iree-lld", "pyvenv.cfg")
    return [path for name in names for path in place.store.glob(f"environments/*/**/{name}") if path.is_file()]


def libraries(place: Place) -> list[Path]:
    found = place.store.glob("environments/*/lib/**/*.so*")
    return [path for path in found if path.is_file() and not path.is_symlink()]


def trees(place: Place) -> list[Path]:
    """What says of an environment what is in it."""
    names = ("environment.json", "RECORD", "METADATA", "*.pth", "manifest*")
    return [path for name in names for path in place.store.glob(f"environments/*/**/{name}") if path.is_file()]


def cached_wheels(place: Place) -> list[Path]:
    """Unpacked wheels in a cache of the place's own, for environments that have to be made again."""
    assert place.cache
    own = place.folder / "cache"
    copy_tree(place.cache, own)
    place.cache = own
    for folder in place.store.glob("environments/runtime-*"):
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    found = [path for path in own.glob("uv/archive-*/**/*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if "runtime" in path.as_posix()]


def blobs(place: Place) -> list[Path]:
    """Those of a finished run, whose last stage has to be done again: it reads what the stage before wrote."""
    place.call()
    with closing(sqlite3.connect(place.store / "store.sqlite")) as database, database:
        database.execute("DELETE FROM results WHERE stage = 'run'")
    return list(place.store.glob("blobs/*/*"))


def databases(place: Place) -> list[Path]:
    place.call()
    return [place.store / "store.sqlite"]


def journals(place: Place) -> list[Path]:
    """The write-ahead log with all rows of a run, as it is left where nobody could merge it: a reader keeps it."""
    call, names = place.begin(), ("store.sqlite", "store.sqlite-wal")
    while not place.results() and not call.over:
        time.sleep(0.01)
    with closing(sqlite3.connect(place.store / names[0])) as reader:
        reader.execute("SELECT count(*) FROM results").fetchall()
        place.finish(call)
        for name in names:
            shutil.copy2(place.store / name, place.folder / name)
    (place.store / "store.sqlite-shm").unlink(missing_ok=True)
    for name in names:
        (place.folder / name).replace(place.store / name)
    return [place.store / names[1]]


CLASSES: dict[str, Callable[[Place], list[Path]]] = {
    "tool": tools,
    "library": libraries,
    "wheel cache": cached_wheels,
    "blob": blobs,
    "tree": trees,
    "database": databases,
    "write-ahead log": journals,
}


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    names = [name for name in CLASSES if bed.cache or name != "wheel cache"]  # never the user's own cache
    every = [(name, damage) for damage in DAMAGES for name in names]
    for number in range(count):
        yield one_tear(bed, *every[number % len(every)], chance)


def one_tear(bed: Bed, name: str, damage: Damage, chance: random.Random) -> Trial:
    with bed.place("venv") as place:
        files = sorted(path for path in CLASSES[name](place) if path.stat().st_size)
        assert files, name
        path = chance.choice(files)
        spoil(path, damage, chance)
        fault = f"{name} {path.relative_to(place.folder)} {damage.__name__.replace('_', ' ')}"
        if name not in ("database", "write-ahead log"):
            return Trial(fault=fault, broken=broken_after(bed, place))
        if (first := place.call()).status != 0 and REPAIRED in first.err:
            for each in place.store.glob("store.sqlite*"):
                each.unlink()
        return Trial(fault=fault, broken=broken_after(bed, place, torn_results=True))


def spoil(path: Path, damage: Damage, chance: random.Random) -> None:
    """Changes the bytes and keeps the rights; other links to the file keep theirs."""
    own_file(path)
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(damage(path.read_bytes(), chance))
    path.chmod(mode)


TORN = Family(
    name="torn",
    what="tools, libraries, cached wheels, blobs, trees, databases, their logs: emptied, tail zeroed, a bit flipped",
    full=210,
    short=6,
    trials=trials,
)
