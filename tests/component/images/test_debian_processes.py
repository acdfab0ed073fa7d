"""A layer's bytes in other surroundings, and Debian's signature."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_archives import (
    CONTENT,
    HELLO,
    deb_bytes,
    deb_file,
    lock_of,
    member,
    publish,
    serving,
)

from matrix.core.errors import (
    HashMismatch,
)
from matrix.images.debian import archive
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import (
    BaseLock,
    base_text,
    stored_file,
)
from matrix.images.debian.mirror import Sources

ROOT = Path(__file__).parents[3]


def digest_of(lock: BaseLock, folder: Path) -> str:
    return write_base_layer(lock, "x86_64", folder, None).digest


PROGRAM = """
import os, sys
from pathlib import Path
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import read_base
os.umask(int(sys.argv[3], 8))
print(write_base_layer(read_base(Path(sys.argv[1])), "x86_64", Path(sys.argv[2]), None).digest)
"""


def test_the_bytes_depend_on_nothing_but_the_lock(tmp_path):
    packages = [
        deb_bytes(member("./lib/b", b"b"), member("./usr/share/\u00e4\u00f6", b"umlaut"), member("./etc/c", b"c")),
        deb_bytes(member("./lib/a", b"a" * 70000), member("./usr/x", kind=tarfile.LNKTYPE, target="./lib/a")),
    ]
    debs = [deb_file(content, package=f"p{index}") for index, content in enumerate(packages)]
    (tmp_path / "3.11.toml").write_text(base_text(lock_of(*debs)))
    seen = set()
    settings = [
        {"umask": "000", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
        {"umask": "077", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "77", "PYTHONUTF8": "0"},
        {
            "umask": "027",
            "TZ": "America/New_York",
            "LC_ALL": "POSIX",
            "PYTHONHASHSEED": "1",
            "PYTHONCOERCECLOCALE": "0",
        },
    ]
    for number, setting in enumerate(settings):
        files = tmp_path / f"files{number}"
        files.mkdir()
        for deb, content in list(zip(debs, packages, strict=True))[:: -1 if number else 1]:
            stored_file(files, deb).write_bytes(content)
        umask = setting.pop("umask")
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "3.11.toml"), str(files), umask]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **setting}
        seen.add(subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout.strip())
    assert len(seen) == 1
    assert seen == {digest_of(lock_of(*debs), files)}


@pytest.fixture
def mirror(tmp_path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    with serving(folder) as address:
        yield folder, address


@pytest.mark.skipif(
    archive.which("gpgv") is None or not any(ring.exists() for ring in archive.KEYRINGS),
    reason="NOT TESTED: needs gpgv and debian-archive-keyring",
)
def test_an_index_without_debians_signature_is_refused(mirror, tmp_path):
    folder, address = mirror
    publish(folder, {HELLO: CONTENT})
    with pytest.raises(HashMismatch, match="no good signature"):
        archive.suite_release("bookworm", Sources(mirrors=(address,)), tmp_path)
