"""What a wheel becomes, and what no wheel may hold, also where its sha256 is the one that was locked."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from wheelsamples import FILES, INFO, METADATA, Member, make_wheel, row_of, unpack

from matrix.core.errors import ImageFault

SITE = "opt/env/lib/python3.11/site-packages"


def refused(wheel: Path, folder: Path) -> str:
    """The message. Nothing is left, and the file and what to do with it are named."""
    scratch = folder / "deep" / "down" / "scratch"
    scratch.mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    with pytest.raises(ImageFault) as fault:
        unpack(wheel, scratch)
    assert sorted(folder.rglob("*")) == before
    assert str(fault.value).startswith(f"{wheel.name}: refused: ")
    assert str(wheel) in fault.value.tip
    return str(fault.value)


def test_a_layer_holds_what_an_installer_writes(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(unpack(make_wheel(tmp_path), tmp_path))) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    modes = {member.name: member.mode for member in members if member.isfile()}
    assert modes["opt/env/bin/small"] == 0o755
    assert modes[f"{SITE}/small/tool"] == 0o755
    assert modes[f"{SITE}/small/data.bin"] == 0o644
    assert f"{SITE}/small-1.0.dist-info/RECORD" in names


def test_scripts_folders_and_other_good_hashes_are_taken(tmp_path):
    script = "small-1.0.data/scripts/start"
    wheel = make_wheel(
        tmp_path,
        more=[
            Member(name=script, content=b"#!python\nprint(1)\n", mode=stat.S_IFREG | 0o755),
            Member(name="small/empty/", content=b"", mode=stat.S_IFDIR | 0o755, row=""),
            Member(name="small/long", content=b"long", row=row_of("small/long", b"long", "sha512")),
            Member(name=f"{INFO}/RECORD.jws", content=b"{}", row=""),
            Member(name="small/of windows", content=b"w", mode=0),
        ],
    )
    with tarfile.open(fileobj=io.BytesIO(unpack(wheel, tmp_path))) as tar:
        assert tar.extractfile("opt/env/bin/start").read() == b"#!/opt/env/bin/python\nprint(1)\n"
        assert tar.extractfile(f"{SITE}/small/long").read() == b"long"


def kind(number: int, name: str = "small/x") -> Member:
    return Member(name=name, content=b"/etc/shadow", mode=number | 0o644)


HOSTILE = {
    "parent": (Member(name="../../../../../../../escaped"), "leads outside"),
    "parent further down": (Member(name="small/../../../../../../escaped"), "leads outside"),
    "parent of the data": (Member(name="small-1.0.data/data/../../../../escaped"), "leads outside"),
    "absolute": (Member(name="/tmp/escaped"), "is an absolute path"),
    "absolute as on Windows": (Member(name="\\escaped"), "is an absolute path"),
    "backslashes": (Member(name="small\\..\\x"), "is no usable name"),
    "this folder": (Member(name="small/./x"), "is no usable name"),
    "an empty part": (Member(name="small//x"), "is no usable name"),
    "two lines": (Member(name="small/x\ny"), "is no usable name"),
    "symbolic link": (kind(stat.S_IFLNK), "is a symbolic link"),
    "character device": (kind(stat.S_IFCHR), "is a device node"),
    "block device": (kind(stat.S_IFBLK), "is a device node"),
    "pipe": (kind(stat.S_IFIFO), "is a pipe"),
    "socket": (kind(stat.S_IFSOCK), "is a socket"),
    "setuid": (Member(name="small/su", mode=stat.S_IFREG | 0o4755), "has the set-id bit (mode 4755)"),
    "setgid": (Member(name="small/wall", mode=stat.S_IFREG | 0o2755), "has the set-id bit (mode 2755)"),
    "a file below a file": (Member(name="small/tool/x"), "small/tool"),
    "a folder of a file's name": (Member(name="small/tool/", mode=stat.S_IFDIR | 0o755, row=""), "is there twice"),
    "bytes that RECORD does not list": (
        Member(name="small/x", content=b"evil", row=row_of("small/x", b"good")),
        "the bytes of small/x do not match RECORD",
    ),
    "another size": (
        Member(name="small/x", content=b"good", row=row_of("small/x", b"good").replace(",4\n", ",5\n")),
        "the bytes of small/x do not match RECORD",
    ),
    "a script that RECORD does not list": (
        Member(
            name="small-1.0.data/scripts/run",
            content=b"#!python\nevil",
            row=row_of("small-1.0.data/scripts/run", b"#!python\ngood"),
        ),
        "the bytes of small-1.0.data/scripts/run do not match RECORD",
    ),
    "a long hash that is wrong": (
        Member(name="small/x", content=b"evil", row=row_of("small/x", b"good", "sha384")),
        "the bytes of small/x do not match RECORD",
    ),
    "a weak hash": (
        Member(name="small/x", content=b"x", row=row_of("small/x", b"x", "md5")),
        "RECORD hashes small/x with md5, expected sha256 or better",
    ),
    "no hash": (Member(name="small/x", row="small/x,,\n"), "hash / size of small/x is not included"),
    "a stowaway": (Member(name="small/stowaway.py", row=""), "small/stowaway.py is not mentioned in RECORD"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_wheel_may_hold_is_refused_by_name(tmp_path, case):
    member, reason = HOSTILE[case]
    assert reason in refused(make_wheel(tmp_path / "files", more=[member]), tmp_path)
    assert not Path("/tmp/escaped").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    wheel = make_wheel(tmp_path / "files", more=[Member(name="small/tool", content=b"evil", row="")])
    assert "'small/tool' is there twice" in refused(wheel, tmp_path)


def test_a_name_that_ends_at_a_nul_is_refused(tmp_path):
    wheel = make_wheel(tmp_path / "files", more=[Member(name="small/x_py")])
    content = wheel.read_bytes()
    assert content.count(b"small/x_py") == 3
    wheel.write_bytes(content.replace(b"small/x_py", b"small/x\0py"))
    assert "is no usable name" in refused(wheel, tmp_path)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("small/gone,sha256=abc,1\n", "RECORD names 'small/gone', which is not in the wheel"),
        (row_of("small/tool", FILES["small/tool"]), "RECORD names 'small/tool' twice"),
        ('"\n', "RECORD"),
        ("one,two\n", "RECORD"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path, lines, reason):
    assert reason in refused(make_wheel(tmp_path / "files", record=lines), tmp_path)


@pytest.mark.parametrize("missing", ["RECORD", "WHEEL"])
def test_a_wheel_without_its_metadata_is_refused(tmp_path, missing):
    metadata = {name: data for name, data in METADATA.items() if not name.endswith(missing)}
    wheel = make_wheel(tmp_path / "files", metadata=metadata, has_record=missing != "RECORD")
    assert missing in refused(wheel, tmp_path)


def test_a_program_that_leaves_the_environment_is_refused(tmp_path):
    programs = b"[console_scripts]\n../../../../escaped = small:main\n"
    metadata = {**METADATA, f"{INFO}/entry_points.txt": programs}
    assert "escaped" in refused(make_wheel(tmp_path / "files", metadata=metadata), tmp_path)


def test_an_encrypted_wheel_is_refused(tmp_path):
    wheel = make_wheel(tmp_path / "files")
    content = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        start, end = archive.getinfo("small/data.bin").header_offset, archive.start_dir
    content[start + 6] |= 1
    content[content.index(b"small/data.bin", end) - 46 + 8] |= 1
    wheel.write_bytes(content)
    assert "encrypted" in refused(wheel, tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_truncated_wheel_is_refused(tmp_path, kept):
    wheel = make_wheel(tmp_path / "files")
    wheel.write_bytes(wheel.read_bytes()[:kept])
    refused(wheel, tmp_path)


def test_one_flipped_byte_in_any_member_is_refused(tmp_path):
    wheel = make_wheel(tmp_path / "files")
    good = wheel.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        places = {info.filename: info.header_offset + 30 + len(info.filename) for info in archive.infolist()}
    for number, (name, place) in enumerate(places.items()):
        wheel.write_bytes(good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :])
        assert refused(wheel, tmp_path / f"{number}"), name
