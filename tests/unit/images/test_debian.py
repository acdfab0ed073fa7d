"""Debian bases without a network: locks, apt's configuration, the closure, and what a layer refuses and repeats."""

from __future__ import annotations

import hashlib
import http.server
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from debian_archives import (
    CONTENT,
    HELLO,
    ar_of,
    deb_bytes,
    deb_file,
    lock_of,
    member,
    publish,
    serving,
    tar_of,
)

from matrix.core.errors import (
    DiskFull,
    HashMismatch,
    ImageFault,
    IndexUnreachable,
    LockFault,
    PackageGone,
    ResolutionRefused,
    StoreUnusable,
)
from matrix.images.debian import archive
from matrix.images.debian.archive import Available, SuiteIndex, fetch_deb, package_closure, parse_packages
from matrix.images.debian.base_locking import lock_all_bases
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import (
    BaseLock,
    base_text,
    load_bases,
    read_base,
    stored_file,
)
from matrix.images.debian.mirror import MIRROR_VARIABLE, SNAPSHOT_VARIABLE, Sources, apt_mirrors, find_sources
from matrix.images.debian.wanted import read_base_wishes
from matrix.plan.locks import LockOutcome

SHIPPED = Path(__file__).parents[3] / "images" / "base"


def digest_of(lock: BaseLock, folder: Path) -> str:
    return write_base_layer(lock, "x86_64", folder, None).digest


def layer_of(folder: Path, *packages: bytes) -> tarfile.TarFile:
    """The layer of some packages, called a, b, …"""
    debs = [deb_file(content, package=f"{chr(97 + index)}pkg") for index, content in enumerate(packages)]
    for deb, content in zip(debs, packages, strict=True):
        stored_file(folder, deb).write_bytes(content)
    out = io.BytesIO()
    layer = write_base_layer(lock_of(*debs), "x86_64", folder, out)
    assert (layer.digest, layer.size) == (hashlib.sha256(out.getvalue()).hexdigest(), len(out.getvalue()))
    return tarfile.open(fileobj=io.BytesIO(out.getvalue()))


# --- the layer ---------------------------------------------------------------------------------------------------


def test_times_owners_and_order_are_fixed_and_documentation_is_dropped(tmp_path):
    tar = layer_of(
        tmp_path,
        deb_bytes(
            member("./usr/share/man/man1/x.1", b"man"),
            member("./usr/share/doc/x/changelog.gz", b"log"),
            member("./usr/share/doc/x/copyright", b"MIT"),
            member("./usr/share/doc/y", kind=tarfile.SYMTYPE, target="x"),
            member("./usr/share/docker", b"no documentation"),
            member("./usr/bin/x", b"\x7fELF", mode=0o755),
            member("./a" + "/long" * 60, b"long"),
        ),
    )
    names = tar.getnames()
    assert names == sorted(names)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in tar} == {(0, 0, "", "", 0)}
    shared = [name for name in names if name.startswith("usr/share/")]
    assert shared == [
        "usr/share/doc",
        "usr/share/doc/x",
        "usr/share/doc/x/copyright",
        "usr/share/doc/y",
        "usr/share/docker",
    ]
    assert tar.getmember("usr/bin/x").mode == 0o755
    assert tar.extractfile("a" + "/long" * 60).read() == b"long"


def test_what_maintainer_scripts_would_have_made_is_there(tmp_path):
    tar = layer_of(tmp_path, deb_bytes(member("./bin/dash", b"shell", mode=0o755)))
    assert tar.getmember("tmp").mode == 0o1777
    assert b"nobody:x:65534:65534:" in tar.extractfile("etc/passwd").read()
    assert b":65534:" in tar.extractfile("etc/group").read()
    assert tar.getmember("usr/bin/sh").linkname == "dash"


def test_the_root_is_merged_into_usr(tmp_path):
    tar = layer_of(
        tmp_path,
        deb_bytes(
            member("./lib", kind=tarfile.DIRTYPE, mode=0o755),
            member("./lib/libx.so.1", b"x"),
            member("./lib/up.so", kind=tarfile.SYMTYPE, target="../usr/lib/y.so"),
            member("./bin/same", kind=tarfile.SYMTYPE, target="/usr/bin/same"),
            member("./usr/bin/same", b"same", mode=0o755),
        ),
        deb_bytes(member("./lib", kind=tarfile.SYMTYPE, target="usr/lib"), member("./usr/lib/y.so", b"y")),
    )
    assert (tar.getmember("lib").linkname, tar.getmember("bin").linkname) == ("usr/lib", "usr/bin")
    assert "sbin" not in tar.getnames()
    assert tar.getmember("usr/lib/up.so").linkname == "/usr/lib/y.so"
    assert tar.extractfile("usr/bin/same").read() == b"same"


def test_hard_links_are_kept_whichever_name_sorts_first(tmp_path):
    tar = layer_of(
        tmp_path,
        deb_bytes(
            member("./usr/bin/z", b"content"),
            member("./usr/bin/a", kind=tarfile.LNKTYPE, target="./usr/bin/z"),
            member("./usr/bin/empty", b""),
            member("./usr/bin/full", b"full"),
        ),
    )
    assert tar.getmember("usr/bin/a").isreg()
    assert (tar.getmember("usr/bin/z").islnk(), tar.getmember("usr/bin/z").linkname) == (True, "usr/bin/a")
    assert tar.extractfile("usr/bin/full").read() == b"full"
    assert tar.getmember("usr/bin/full").isreg()


def test_of_two_packages_with_one_path_the_later_by_name_wins(tmp_path):
    first, second = deb_bytes(member("./etc/x", b"first")), deb_bytes(member("./etc/x", b"second"))
    assert layer_of(tmp_path, first, second).extractfile("etc/x").read() == b"second"


REFUSED = {
    "parent": (member("./usr/../../etc/shadow", b"x"), "leads outside"),
    "absolute": (member("/etc/shadow", b"x"), "absolute path"),
    "character device": (member("./dev/null", kind=tarfile.CHRTYPE), "device node"),
    "block device": (member("./dev/sda", kind=tarfile.BLKTYPE), "device node"),
    "pipe": (member("./run/pipe", kind=tarfile.FIFOTYPE), "neither file"),
    "setuid": (member("./usr/bin/su", b"x", mode=0o4755), "set-id"),
    "setgid": (member("./usr/bin/wall", b"x", mode=0o2755), "set-id"),
    "climbing link": (member("./etc/x", kind=tarfile.SYMTYPE, target="../../etc/shadow"), "outside"),
    "climbing absolute link": (member("./etc/x", kind=tarfile.SYMTYPE, target="/../x"), "outside"),
    "empty link": (member("./etc/x", kind=tarfile.SYMTYPE, target=""), "outside"),
    "hard link outside": (member("./etc/x", kind=tarfile.LNKTYPE, target="../../etc/shadow"), "leads outside"),
    "absolute hard link": (member("./etc/x", kind=tarfile.LNKTYPE, target="/etc/shadow"), "absolute path"),
    "hard link to nothing": (member("./etc/x", kind=tarfile.LNKTYPE, target="./etc/y"), "no file before it"),
    "twice": (member("./etc/good", b"evil"), "is there twice"),
    "twice, once before /usr was merged": (member("./usr/bin/sh", b"evil"), "is there twice"),
    "a link in the place of a file": (member("./etc/good", kind=tarfile.SYMTYPE, target="x"), "is there twice"),
    "a file in the place of a folder": (member("./etc", b"evil"), "is there twice"),
    "set-id documentation": (member("./usr/share/doc/x/run", b"x", mode=0o6755), "set-id"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_place_in_a_layer_is_refused_by_name(tmp_path, case):
    bad, reason = REFUSED[case]
    with pytest.raises(ImageFault, match=reason) as caught:
        layer_of(
            tmp_path,
            deb_bytes(
                member("./etc", kind=tarfile.DIRTYPE, mode=0o755),
                member("./etc/good", b"good"),
                member("./bin/sh", b"shell", mode=0o755),
                bad,
            ),
        )
    assert str(caught.value).startswith("apkg: ")
    assert bad[0].name in str(caught.value)


def test_a_path_below_another_packages_link_is_refused(tmp_path):
    link = deb_bytes(member("./opt/x", kind=tarfile.SYMTYPE, target="/etc"))
    with pytest.raises(ImageFault, match=r"bpkg: opt/x/passwd lies below opt/x, which is no folder in apkg"):
        layer_of(tmp_path, link, deb_bytes(member("./opt/x/passwd", b"x")))


def test_a_folder_in_one_package_and_a_file_in_another_is_refused(tmp_path):
    with pytest.raises(ImageFault, match="bpkg: opt/x is a folder in one package and none in apkg"):
        layer_of(
            tmp_path,
            deb_bytes(member("./opt/x", b"file")),
            deb_bytes(member("./opt/x", kind=tarfile.DIRTYPE, mode=0o755)),
        )


@pytest.mark.parametrize("where", [0, 70, -1])
def test_one_flipped_byte_is_refused(tmp_path, where):
    content = bytearray(deb_bytes(member("./etc/x", b"x")))
    deb = deb_file(bytes(content))
    content[where] ^= 1
    stored_file(tmp_path, deb).write_bytes(content)
    with pytest.raises(HashMismatch, match=r"hello 1\.0-1 .*images/base/3\.11\.toml") as caught:
        digest_of(lock_of(deb), tmp_path)
    assert deb.sha256 in caught.value.tip


def flipped(content: bytes, where: int) -> bytes:
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


BROKEN = {
    "truncated": deb_bytes(member("./etc/x", os.urandom(4000)))[:-1000],
    "truncated within its header": deb_bytes(member("./etc/x", b"x"))[:30],
    "one flipped byte": flipped(deb_bytes(member("./etc/x", os.urandom(4000))), -1000),
    "two of them": ar_of(debian_binary=b"2.0\n", data_tar_xz=tar_of(), data_tar=tar_of(compressed=False)),
    "no archive": b"<html>login</html>",
    "empty": b"",
    "no data": ar_of(debian_binary=b"2.0\n", control_tar_xz=tar_of()),
    "no tar": ar_of(debian_binary=b"2.0\n", data_tar_xz=b"nothing"),
    "a tar cut short": ar_of(
        debian_binary=b"2.0\n", data_tar=tar_of(member("x", b"y" * 3000), compressed=False)[:2000]
    ),
    "an unknown compression": ar_of(debian_binary=b"2.0\n", data_tar_br=b"\x00" * 600),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_whose_hash_is_right_is_refused_by_name(tmp_path, case):
    with pytest.raises(ImageFault, match=r"^apkg 1\.0-1 \(amd64\)"):
        layer_of(tmp_path, BROKEN[case])


def test_a_package_that_was_not_fetched_is_named(tmp_path):
    with pytest.raises(ImageFault, match="hello"):
        digest_of(lock_of(deb_file(b"x")), tmp_path)


def test_a_full_disk_is_said_to_be_full(tmp_path):
    deb = deb_file(CONTENT)
    stored_file(tmp_path, deb).write_bytes(CONTENT)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(DiskFull, match="no space left"):
        write_base_layer(lock_of(deb), "x86_64", tmp_path, full)


def test_a_machine_without_a_base_is_named(tmp_path):
    with pytest.raises(LockFault, match="no base for the machine riscv64, only x86_64"):
        write_base_layer(lock_of(), "riscv64", tmp_path, None)


def test_the_layer_of_a_given_package_never_changes(tmp_path):
    """A golden value: another Python, or another version of this project, must write the same bytes."""
    content = ar_of(debian_binary=b"2.0\n", data_tar=tar_of(member("./bin/dash", b"shell"), compressed=False))
    stored_file(tmp_path, deb_file(content)).write_bytes(content)
    assert digest_of(lock_of(deb_file(content)), tmp_path) == GOLDEN


GOLDEN = "4a59879ca81afb874073b811fffdbec8ef3c99f8d6e10b26cd329becb9bc2786"


# --- the locks ---------------------------------------------------------------------------------------------------


def test_the_shipped_locks_are_what_the_tool_writes_and_what_is_wanted():
    locks = load_bases(SHIPPED)
    by_python = {wish.python: wish for wish in read_base_wishes(SHIPPED)}
    assert list(by_python) == ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
    # A standalone Python is locked where its server is reached.
    lacking = by_python.keys() - {lock.python for lock in locks}
    assert lacking <= {python for python, wish in by_python.items() if wish.standalone} == {"3.10", "3.12"}
    wishes = [by_python[lock.python] for lock in locks]
    for lock, wish in zip(locks, wishes, strict=True):
        assert base_text(lock) == (SHIPPED / f"{lock.python}.toml").read_text()
        assert (lock.suite, lock.moving, lock.packages, lock.exclude) == (
            wish.suite,
            wish.moving,
            wish.packages,
            wish.exclude,
        )
        assert tuple(base.machine for base in lock.machines) == wish.machines
        for base in lock.machines:
            assert (base.python is not None) == wish.standalone
            names = {deb.package for deb in base.debs}
            assert names >= set(wish.packages)
            assert not names & set(wish.exclude)


def test_a_lock_is_read_as_it_was_written(tmp_path):
    deb = replace(deb_file(b"x"), version="2:1.0~rc1+dfsg-1+deb12u1", path="pool/main/h/he/h_1.0~rc1+dfsg-1_all.deb")
    lock = lock_of(deb)
    (tmp_path / "3.11.toml").write_text(base_text(lock))
    assert read_base(tmp_path / "3.11.toml") == lock


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("pool/main", "pool/../../main", r"x86_64\.deb\[0\]\.path: read 'pool/\.\./\.\./main"),
        ("pool/main", "/pool/main", r"x86_64\.deb\[0\]\.path"),
        ('"hello"\nversion', '"../hello"\nversion', r"x86_64\.deb\[0\]\.package"),
        ("size = 1", "size = -1", r"x86_64\.deb\[0\]\.size: read -1"),
        ('sha256 = "', 'sha256 = "z', r"x86_64\.deb\[0\]\.sha256"),
        ('architecture = "amd64"', 'architecture = "arm64"', "expected one of all, amd64"),
        ('layer = "sha256:', 'layer = "md5:', r"x86_64\.layer"),
        ("format = 1", "format = 2", "format: read 2, expected 1"),
        ('python = "3.11"', 'python = "3.10"', "expected '3.11', as the file is called"),
        ('suite = "bookworm"', 'suite = "bookworm"\nsuit = "x"', "unknown key 'suit'"),
        ("moving = false", 'moving = "no"', "expected true or false"),
        ("format = 1", "format = ", "not TOML"),
    ],
)
def test_a_damaged_lock_is_named_with_the_place(tmp_path, before, after, fault):
    text = base_text(lock_of(deb_file(b"x")))
    assert before in text
    (tmp_path / "3.11.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(LockFault, match=fault) as caught:
        read_base(tmp_path / "3.11.toml")
    assert "images/base/3.11.toml" in str(caught.value)


def test_a_lock_with_one_package_twice_is_refused(tmp_path):
    (tmp_path / "3.11.toml").write_text(base_text(lock_of(deb_file(b"x"), deb_file(b"y"))))
    with pytest.raises(LockFault, match="in the order of their names, each once"):
        read_base(tmp_path / "3.11.toml")


def test_all_faults_of_wanted_are_reported_together(tmp_path):
    (tmp_path / "wanted.toml").write_text(
        'format = 1\nmachines = ["x86_64", "vax"]\npackages = ["python{python}-minimal", "Perl"]\n'
        '[[base]]\npython = "3.11"\nsuite = "book worm"\n[[base]]\npython = "3.11"\nsuite = "trixie"\nmoving = 1\n'
    )
    with pytest.raises(LockFault) as caught:
        read_base_wishes(tmp_path)
    for fault in ("'vax'", "'Perl'", "base[0].suite", "base[1].moving", "Python 3.11 has more than one row"):
        assert fault in str(caught.value)


# --- apt's configuration -----------------------------------------------------------------------------------------

DEB822 = """
Types: deb deb-src
# Types: nothing
URIs: http://first.test/debian/ https://second.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 x
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://security.test/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources.test/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """
# deb http://comment.test/debian bookworm main
deb [arch=amd64 signed-by=/x.gpg] http://lines.test/debian trixie main # a remark
deb-src http://sources.test/debian trixie main
deb http://other.test/apt nodistro main
deb http://nonfree.test/debian trixie non-free
deb cdrom:[Debian]/ trixie main
deb http://first.test/debian stable main
deb mirror+file:/etc/apt/mirrors/debian.list trixie main
broken
"""


def apt_folder(folder: Path) -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "mirrors").mkdir()
    return folder


def test_mirrors_are_read_from_both_formats_of_apt(tmp_path):
    apt = apt_folder(tmp_path)
    (apt / "sources.list").write_text(ONE_LINE)
    (apt / "sources.list.d" / "debian.sources").write_text(DEB822)
    (apt / "sources.list.d" / "debian.sources.save").write_text(DEB822.replace("first", "saved"))
    (apt / "sources.list.d" / "binary.list").write_bytes(b"\xff\xfe")
    (apt / "mirrors" / "debian.list").write_text("# list\nhttp://listed.test/debian/ priority:1\n")
    assert apt_mirrors(apt) == (
        "http://lines.test/debian",
        "http://first.test/debian",
        "http://listed.test/debian",
        "https://second.test/debian",
    )


def test_the_environment_goes_before_apt_and_adds_the_snapshot(tmp_path):
    apt = apt_folder(tmp_path)
    (apt / "sources.list").write_text("deb http://lines.test/debian trixie main\n")
    assert find_sources({}, apt) == Sources(mirrors=("http://lines.test/debian",))
    given = {MIRROR_VARIABLE: "http://mine.test/d/", SNAPSHOT_VARIABLE: "http://snap.test/20260101T000000Z/"}
    assert find_sources(given, apt).every == ("http://mine.test/d", "http://snap.test/20260101T000000Z")


def test_without_any_mirror_the_variable_is_named(tmp_path):
    with pytest.raises(IndexUnreachable, match="no Debian mirror is known") as caught:
        find_sources({}, tmp_path / "nowhere")
    assert MIRROR_VARIABLE in caught.value.tip


# --- the closure -------------------------------------------------------------------------------------------------


def available(package: str, depends: str = "", provides: str = "", version: str = "1") -> Available:
    return Available(deb=deb_file(b"x", package=package, version=version), depends=depends, provides=provides)


def names(index: list[Available], *packages: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return [deb.package for deb in package_closure(SuiteIndex("suite", "amd64", index), packages, exclude)]


def test_the_closure_follows_dependencies_in_a_circle():
    index = [available("aa", "bb, cc:any"), available("bb", "cc"), available("cc", "aa"), available("dd")]
    assert names(index, "aa") == ["aa", "bb", "cc"]


def test_of_alternatives_the_first_that_exists_counts():
    index = [available("aa", "missing | bb | cc"), available("bb"), available("cc")]
    assert names(index, "aa") == ["aa", "bb"]


def test_bounds_on_versions_hold():
    index = [available("aa", "bb (>= 2) | cc (<< 2~)"), available("bb"), available("cc", version="2~~rc")]
    assert names(index, "aa") == ["aa", "cc"]


def test_a_virtual_package_is_provided_by_the_first_by_name():
    index = [available("aa", "virtual"), available("zz", provides="virtual"), available("bb", provides="virtual (= 1)")]
    assert names(index, "aa") == ["aa", "bb"]
    with pytest.raises(ResolutionRefused):
        names([available("aa", "virtual (>= 2)"), available("zz", provides="virtual")], "aa")


def test_an_excluded_package_is_left_out_with_all_that_it_needs():
    index = [available("aa", "perl | bb, cc"), available("perl", "dd"), *map(available, ("bb", "cc", "dd"))]
    assert names(index, "aa", exclude=("perl",)) == ["aa", "cc"]


def test_the_newest_of_a_name_counts():
    index = [available("aa", version="1.9"), available("aa", version="1.10"), available("aa", version="1.10~rc1")]
    assert [deb.version for deb in package_closure(SuiteIndex("s", "amd64", index), ["aa"], [])] == ["1.10"]


def test_a_missing_package_is_named_with_the_one_that_needs_it():
    with pytest.raises(ResolutionRefused, match=r"suite \(amd64\) has no nothing, which aa asks for"):
        names([available("aa", "nothing")], "aa")


# --- a mirror ----------------------------------------------------------------------------------------------------


@pytest.fixture
def unsigned(monkeypatch):
    """As on a machine without gpgv: what the tests publish is signed by nobody."""
    monkeypatch.setattr(archive, "which", lambda program: None)


@pytest.fixture
def mirror(tmp_path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    with serving(folder) as address:
        yield folder, address


def test_a_package_is_fetched_once_and_checked_each_time(mirror, tmp_path):
    folder, address = mirror
    publish(folder, {HELLO: CONTENT})
    source = Sources(mirrors=(address,))
    path = fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=source)
    assert path.read_bytes() == CONTENT
    (folder / HELLO.path).unlink()
    assert fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=source) == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(HashMismatch, match="is damaged"):
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=source)


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x" * 1_000_000, b""])
def test_a_wrong_file_of_the_mirror_is_refused_and_not_kept(mirror, tmp_path, wrong):
    folder, address = mirror
    publish(folder, {HELLO: wrong})
    with pytest.raises(HashMismatch, match=r"hello 1\.0-1 \(amd64\) of images/base/3\.11\.toml") as caught:
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=Sources(mirrors=(address,)))
    assert address not in str(caught.value)
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.usefixtures("unsigned")
def test_a_package_that_left_the_mirror_is_named_with_its_successor(mirror, tmp_path):
    folder, address = mirror
    newer = replace(deb_file(CONTENT, version="1.0-2"), path="pool/main/h/hello/hello_1.0-2_amd64.deb")
    publish(folder, {newer: CONTENT})
    with pytest.raises(PackageGone, match=r"hello 1\.0-1 .*images/base/3\.11\.toml.*superseded by 1\.0-2") as caught:
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=Sources(mirrors=(address,)))
    assert "nox -s lock" in caught.value.tip
    assert SNAPSHOT_VARIABLE in caught.value.tip


@pytest.mark.usefixtures("unsigned")
def test_the_snapshot_archive_is_asked_when_the_mirror_has_it_no_more(mirror, tmp_path):
    folder, address = mirror
    publish(folder / "now", {})
    publish(folder / "then", {HELLO: CONTENT})
    source = Sources(mirrors=(f"{address}/now",), snapshot=f"{address}/then")
    assert fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=source).read_bytes() == CONTENT


def test_a_mirror_that_does_not_answer_is_unreachable_without_its_address(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("matrix.images.debian.mirror.DOWNLOAD_ATTEMPTS", 1)
    monkeypatch.setattr("matrix.images.debian.mirror._session", __import__("requests").Session)
    source = Sources(mirrors=("http://user:secret@127.0.0.1:9",))
    with pytest.raises(IndexUnreachable) as caught:
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=source)
    assert "secret" not in str(caught.value) + caught.value.tip


def test_an_answer_that_breaks_off_leaves_nothing(tmp_path):
    class Short(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])

        def log_message(self, *_):
            pass

    with serving(tmp_path, Short) as address, pytest.raises(IndexUnreachable, match="does not answer"):
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=Sources(mirrors=(address,)))
    assert list((tmp_path / "files").iterdir()) == []


def test_a_store_that_is_no_folder_is_named(mirror, tmp_path):
    folder, address = mirror
    publish(folder, {HELLO: CONTENT})
    (tmp_path / "files").write_text("")
    with pytest.raises(StoreUnusable, match="cannot be written"):
        fetch_deb(HELLO, tmp_path / "files", lock=lock_of(HELLO), source=Sources(mirrors=(address,)))


WANTED = """format = 1
machines = ["x86_64"]
packages = ["hello"]
exclude = []
[[base]]
python = "3.11"
suite = "bookworm"
[[base]]
python = "3.14"
suite = "forky"
moving = true
"""


@pytest.mark.usefixtures("unsigned")
def test_locking_writes_upgrades_skips_and_removes(mirror, tmp_path):
    folder, address = mirror
    bases, files = tmp_path / "base", tmp_path / "files"
    bases.mkdir()
    (bases / "wanted.toml").write_text(WANTED)
    (bases / "3.9.toml").write_text("")
    publish(folder, {HELLO: CONTENT})

    def lock() -> dict[str, tuple[LockOutcome, str]]:
        said: list[str] = []
        changes = lock_all_bases(bases, files=files, source=Sources(mirrors=(address,)), progress=said.append)
        assert any("signature was not checked" in line for line in said)
        return {change.name: (change.change, change.detail) for change in changes}

    first = lock()
    assert first["base/3.11"] == (LockOutcome.ADDED, "")
    assert first["base/3.9"][0] is LockOutcome.REMOVED
    assert first["base/3.14"][0] is LockOutcome.SKIPPED
    text = (bases / "3.11.toml").read_text()
    locked = read_base(bases / "3.11.toml")
    assert locked.on("x86_64").layer == f"sha256:{digest_of(locked, files)}"
    release = folder / "dists" / "bookworm" / "InRelease"
    release.write_text(release.read_text().replace("11 Jul", "12 Jul"))
    assert lock()["base/3.11"] == (LockOutcome.UNCHANGED, "")
    assert (bases / "3.11.toml").read_text() == text

    newer = deb_file(CONTENT, version="1.0-2")
    publish(folder, {newer: CONTENT})
    assert lock()["base/3.11"] == (LockOutcome.CHANGED, "hello 1.0-1 -> 1.0-2")


@pytest.mark.usefixtures("unsigned")
def test_a_list_that_is_not_the_releases_is_refused(mirror, tmp_path):
    folder, address = mirror
    publish(folder, {HELLO: CONTENT})
    (folder / "dists/bookworm/main/binary-amd64/Packages.xz").write_bytes(lzma.compress(b"Package: evil\n"))
    (tmp_path / "wanted.toml").write_text(WANTED)
    with pytest.raises(HashMismatch, match="the list of bookworm's packages for amd64"):
        lock_all_bases(tmp_path, files=tmp_path, source=Sources(mirrors=(address,)))
    assert not (tmp_path / "3.11.toml").exists()


@pytest.mark.usefixtures("unsigned")
def test_a_mirror_of_another_distribution_is_not_taken_for_debians(mirror, tmp_path):
    folder, address = mirror
    publish(folder, {HELLO: CONTENT}, origin="Raspbian")
    with pytest.raises(IndexUnreachable, match="Raspbian"):
        archive.suite_release("bookworm", Sources(mirrors=(address,)), tmp_path)


def test_a_list_of_packages_is_read_by_paragraphs():
    text = (
        b"Package: aa\nVersion: 1:2-3\nArchitecture: all\nPre-Depends: bb\nDepends: cc (>= 1) | dd,\n ee\n"
        b"Description: x\n .\n y\nFilename: pool/main/a/aa/aa_2-3_all.deb\nSize: 10\nSHA256: "
        + b"1" * 64
        + b"\n\nPackage: zz\nVersion: 1\nArchitecture: all\nFilename: pool/z.deb\nSize: 1\nSHA256: x\n"
    )
    first, second = parse_packages(text.splitlines(keepends=True))
    assert (first.deb.version, first.deb.size, second.deb.package) == ("1:2-3", 10, "zz")
    wanted = [[relation.name for relation in group] for group in archive.relations(first.depends)]
    assert wanted == [["bb"], ["cc", "dd"], ["ee"]]
