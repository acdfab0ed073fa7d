"""What stands around a command: variables, stores, locks, folders that are files, permissions, clocks."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bad_input import Row
from command_line import ROOT

LOCK = "images/locks/compiler/3.8.0.txt"


def store_with(content: bytes) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        (desk / "store").mkdir()
        (desk / "store" / "store.sqlite").write_bytes(content)

    return spoil


def a_newer_store(desk: Path) -> None:
    from matrix.run.store import Store

    with Store(desk / "store"):
        pass
    with closing(sqlite3.connect(desk / "store" / "store.sqlite", isolation_level=None)) as database:
        database.execute("INSERT INTO migrations VALUES ('9999_the_future', '2099-01-01')")


def a_store_of_others(desk: Path) -> None:
    (desk / "store").mkdir()
    with closing(sqlite3.connect(desk / "store" / "store.sqlite")) as database:
        database.execute("CREATE TABLE results (mine TEXT)")


def data_with(spoilt: str, content: bytes | None) -> Callable[[Path], object]:
    """A copy of the locks in `data`, one of its files spoilt or removed."""

    def spoil(desk: Path) -> None:
        shutil.copytree(ROOT / "images" / "locks", desk / "data" / "images" / "locks")
        (desk / "data" / "scripts").symlink_to(ROOT / "scripts")
        if content is None:
            (desk / "data" / spoilt).unlink()
        else:
            (desk / "data" / spoilt).write_bytes(content)

    return spoil


def wanted_with(old: str, new: str) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        path = "images/locks/wanted.toml"
        text = (ROOT / path).read_text()
        assert old in text, old
        data_with(path, text.replace(old, new, 1).encode())(desk)

    return spoil


def link_to_itself(name: str) -> Callable[[Path], object]:
    def spoil(desk: Path) -> None:
        (desk / name).unlink(missing_ok=True)
        (desk / name).symlink_to(name)

    return spoil


DATA = {"IREE_MATRIX_DATA": "data"}
WANTED = "images/locks/wanted.toml"
ROWS: list[tuple[str, str, Callable[[Path], object] | None, dict[str, str]]] = [
    # command, `status: parts`, how the desk is spoilt, variables
    (
        "plan spec.toml",
        "IREE_MATRIX_ENGINE | 'dokcer' | did you mean 'docker'?",
        None,
        {"IREE_MATRIX_ENGINE": "dokcer"},
    ),
    ("doctor", "IREE_MATRIX_ENGINE | 'podman' | expected one of venv", None, {"IREE_MATRIX_ENGINE": "podman"}),
    (
        "plan spec.toml",
        "nowhere/images | No such file | expected TOML",
        None,
        {"IREE_MATRIX_DATA": "nowhere"},
    ),
    (
        "plan spec.toml",
        "taken/images | Not a directory | expected TOML",
        None,
        {"IREE_MATRIX_DATA": "taken"},
    ),
    (
        "plan spec.toml",
        "folder/images | No such file | expected TOML",
        None,
        {"IREE_MATRIX_DATA": "folder"},
    ),
    ("advise --model linear", "folder/results | no .json | expected", None, {"IREE_MATRIX_DATA": "folder"}),
    # locks
    ("plan spec.toml", "wanted.toml | No such file | expected TOML", data_with(WANTED, None), DATA),
    ("plan spec.toml", "wanted.toml | is missing | expected 1", data_with(WANTED, b""), DATA),
    ("plan spec.toml", "wanted.toml | line 1: read 'x' | expected KEY", data_with(WANTED, b"x"), DATA),
    ("plan spec.toml", "wanted.toml | bytes that are no text | expected TOML", data_with(WANTED, b"\xff"), DATA),
    ("plan spec.toml", "wanted.toml | format: read 9 | expected 1", data_with(WANTED, b"format = 9"), DATA),
    ("plan spec.toml", "pythons[0] | 3.9 | expected a text", wanted_with('pythons = ["', 'pythons = [3.9, "'), DATA),
    ("plan spec.toml", "compiler.specifier | '>>2' | expected a PEP 440", wanted_with('">=2.9', '">>2'), DATA),
    ("plan spec.toml", "3.8.0.txt | '' | expected '# pins:", data_with(LOCK, b""), DATA),
    ("plan spec.toml", "3.8.0.txt | iree-base | expected '# pins:", data_with(LOCK, b"iree-base-compiler\n"), DATA),
    ("plan spec.toml", "3.8.0.txt | bytes | expected", data_with(LOCK, b"#\xff\xfe\0"), DATA),
    ("plan spec.toml", "3.8.0.txt | x | expected package==version", data_with(LOCK, b"# pins: x\n"), DATA),
    (
        "plan spec.toml",
        "3.8.0.txt | no wheel | expected",
        data_with(LOCK, b"# pins: iree-base-compiler==3.8.0\n"),
        DATA,
    ),
    (
        "plan spec.toml",
        "3.8.0.txt | 9.9.9 | expected",
        data_with(LOCK, b"# pins: iree-base-compiler==9.9.9\n--hash=sha256:00\n"),
        DATA,
    ),
    # stores
    ("run spec.toml --store taken", "7: taken | Not a directory | expected a folder", None, {}),
    ("run spec.toml --store taken/below", "7: taken/below | Not a directory | expected a folder", None, {}),
    ("run spec.toml --store /proc/here", "7: /proc/here | no folder | expected one", None, {}),
    ("show spec.toml --store none", "7: none | no store | expected", None, {}),
    ("show spec.toml --store folder", "7: folder | no store | expected", None, {}),
    ("why --preset spec.toml --store none", "7: none | no store | expected", None, {}),
    ("clean --store none", "7: none | no store | expected", None, {}),
    ("clean --store taken", "7: taken | no store | expected", None, {}),
    ("show spec.toml --store store", "7: store.sqlite | damaged | expected", store_with(b"mine" * 999), {}),
    ("clean --store store", "7: store.sqlite | damaged | expected", store_with(b"mine" * 999), {}),
    ("show spec.toml --store store", "7: store | no such table | expected", store_with(b""), {}),
    (
        "show spec.toml --store store",
        "7: store | damaged | expected",
        store_with(b"SQLite format 3\0" + b"\xff" * 9999),
        {},
    ),
    ("show spec.toml --store store", "7: store | '9999_the_future' | expected", a_newer_store, {}),
    ("run spec.toml --store store", "7: store | '9999_the_future' | expected", a_newer_store, {}),
    ("show spec.toml --store store", "7: store | no such table | expected", a_store_of_others, {}),
    ("advise --model linear --preset spec.toml --store none", "7: none | no store | expected", None, {}),
    ("run spec.toml --store loop", "7: loop | links | expected a folder", link_to_itself("loop"), {}),
    # links, long names, odd names
    ("plan spec.toml", "spec.toml | 'spec.toml' | expected", link_to_itself("spec.toml"), {}),
    ("whatis model.vmfb", "model.vmfb | no file | expected", link_to_itself("model.vmfb"), {}),
    ("show run.json", "run.json | links | expected a results file", link_to_itself("run.json"), {}),
    (f"plan {'x' * 300}.toml", "preset | xxx | expected one of", None, {}),
    (f"plan {'x' * 5000}", "preset | xxx | expected one of", None, {}),
    (f"whatis {'x' * 5000}.vmfb", "xxx | no file | expected", None, {}),
    (f"show {'x' * 5000}.json", "xxx | nothing | expected a results file", None, {}),
    (f"run spec.toml --store {'x' * 300}", "xxx | too long | expected a folder", None, {}),
    ("plan 'a\nb.toml'", "preset | a\\nb | expected one of", None, {}),
    ("plan '\x1b[31mred'", "preset | \\x1b[31mred | expected one of", None, {}),
    ("whatis '\x1b[31mred'", "\\u001b[31mred | no file | expected", None, {}),
    ("run --format '\x1b[31mred'", "--format | \\x1b[31mred | expected one of", None, {}),
    ("plan spec.toml --only 'compiler=\u202e'", "--only | \\u202e | expected", None, {}),
    ("plan spec.toml --model 'a\x01.py'", "models | \\x01 | expected a file", None, {}),
]


def _rows() -> list[Row]:
    rows = []
    for words, said, spoil, env in ROWS:
        status, colon, rest = said.partition(": ")
        number = int(status) if colon and status.isdigit() else 2
        place, read, expected = (rest if colon and status.isdigit() else said).split(" | ")
        with_variables = " ".join(f"{name}={value}" for name, value in env.items())
        name = f"{with_variables} {words} ({place}: {read})".strip()
        rows.append(
            Row(name=name, words=words, place=place, read=read, expected=expected, status=number, spoil=spoil, env=env)
        )
    return rows


SURROUNDINGS = _rows()
