"""A job's files as tars, without a daemon: what one would unpack, and what is taken of one that it packed."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field

import pytest

from matrix.core.errors import ImageFault
from matrix.engines.docker.address import Address
from matrix.engines.docker.exchange import Copied, copy_with_holes


@dataclass
class Job:
    outputs: tuple[str, ...] = ("*.npy",)


@dataclass
class Daemon:
    """Unpacks what it is sent as a daemon does, into a table of names; packs what it is given."""

    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    left: bytes = b""

    def put(self, name, place, archive):
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
            for member in tar:
                old = self.members.get(member.name)
                if old and not (old.isdir() and member.isdir()):
                    kept = {key: each for key, each in self.members.items() if not key.startswith(f"{member.name}/")}
                    self.members = kept
                self.members[member.name] = member

    def get(self, name, place, read):
        return read(iter([self.left]))


def packed(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def copied(tmp_path):
    scripts = tmp_path / "scripts"
    (scripts / "models" / "__pycache__").mkdir(parents=True)
    for name in ("worker.py", "models/one.py", "models/__pycache__/one.pyc"):
        (scripts / name).write_text("x")
    (tmp_path / "box").mkdir()
    made = Copied(Daemon(), tmp_path / "box", scripts, python="python3", most_bytes=1 << 20)
    made.attach("container")
    return made


def test_scripts_are_readable_for_all(copied):
    members = copied._daemon.members
    assert members.keys() == {"scripts", "scripts/worker.py", "scripts/models", "scripts/models/one.py"}
    assert {member.mode for member in members.values()} == {0o755, 0o644}


def test_a_job_finds_its_inputs_and_nothing_of_the_one_before(copied, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(bytes(3 << 20))
    copied.put_inputs({"first": big})
    copied._daemon.members["out/left"] = tarfile.TarInfo("out/left")
    copied.put_inputs({"second" * 30: big})
    members = {name: each for name, each in copied._daemon.members.items() if name.startswith(("in", "out"))}
    assert members.keys() == {"in", "out", f"in/{'second' * 30}", f"out/{'second' * 30}"}
    assert members["out"].isdir()
    assert (members["in"].mode, members["out"].mode) == (0o755, 0o777)
    assert members[f"in/{'second' * 30}"].size == 3 << 20
    assert members[f"out/{'second' * 30}"].linkname == f"/job/in/{'second' * 30}"


def test_only_regular_files_that_the_patterns_name_come_back(copied):
    copied._daemon.left = packed(
        ("out", tarfile.DIRTYPE, b""),
        ("out/a.npy", tarfile.REGTYPE, b"wanted"),
        ("out/b.txt", tarfile.REGTYPE, b"not wanted"),
        ("out/deep/c.npy", tarfile.REGTYPE, b"too deep"),
        ("../d.npy", tarfile.REGTYPE, b"outside"),
        ("out/e.npy", tarfile.SYMTYPE, b""),
    )
    copied.fetch_outputs(Job())
    assert {name: path.read_bytes() for name, path in copied.collect(Job()).items()} == {"a.npy": b"wanted"}
    assert copied.clear()
    assert copied.collect(Job()) == {}


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (packed(("out/a.npy", tarfile.REGTYPE, bytes(1 << 21))), "filled its folder"),
        (b"no tar" * 200, "cannot be read"),
    ],
)
def test_too_much_or_no_tar_is_refused(copied, left, says):
    copied._daemon.left = left
    with pytest.raises(ImageFault, match=says):
        copied.fetch_outputs(Job())


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("", False),
        ("unix:///run/docker.sock", False),
        ("http+unix:///run/docker.sock", False),
        ("npipe:////./pipe/docker", False),
        ("http://127.0.0.1:2375", True),
        ("https://far.example:2376", True),
        ("tcp://far.example:2376", True),
        ("ssh://somebody@far.example", True),
    ],
)
def test_an_address_says_whether_the_daemon_is_far(url, remote):
    assert Address(url=url).remote == remote


def test_a_copy_of_a_file_with_holes_has_them_too(tmp_path):
    source, target = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        for place in (1 << 20, 5 << 20):
            file.seek(place)
            file.write(b"word" * 2000)
        file.truncate(1 << 30)
    copy_with_holes(source, target)
    assert target.stat().st_size == 1 << 30
    assert target.stat().st_blocks * 512 < 1 << 20
    with source.open("rb") as one, target.open("rb") as other:
        assert one.read(8 << 20) == other.read(8 << 20)
