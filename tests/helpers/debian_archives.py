"""A Debian archive on a local server, and locks of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import lzma
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

from matrix.images.debian.lock import (
    BaseLock,
    DebFile,
    MachineBase,
)

OTHER_SHA = "0" * 64


def member(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = ""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size, info.mtime, info.uid = kind, mode, target, len(content), 12345, 7
    return info, content


def tar_of(*members, compressed: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz" if compressed else "w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def ar_of(**members: bytes) -> bytes:
    """An ar archive; `data_tar_xz` stands for `data.tar.xz`, `debian_binary` for `debian-binary`."""
    out = b"!<arch>\n"
    for key, content in members.items():
        name = "debian-binary" if key == "debian_binary" else key.replace("_", ".")
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def deb_bytes(*members) -> bytes:
    return ar_of(debian_binary=b"2.0\n", control_tar_xz=tar_of(), data_tar_xz=tar_of(*members))


def deb_file(content: bytes, package: str = "hello", version: str = "1.0-1") -> DebFile:
    return DebFile(
        package=package,
        version=version,
        architecture="amd64",
        path=f"pool/main/h/{package}/{package}_{version}_amd64.deb",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def lock_of(*debs: DebFile) -> BaseLock:
    layer = f"sha256:{OTHER_SHA}"
    return BaseLock(
        python="3.11",
        suite="bookworm",
        moving=False,
        released="2026-07-11T10:16:37Z",
        glibc="2.36",
        packages=("hello",),
        exclude=("perl",),
        machines=(MachineBase(machine="x86_64", layer=layer, debs=debs),),
    )


CONTENT = deb_bytes(member("./usr/bin/hello", b"hello", mode=0o755))


HELLO = deb_file(CONTENT)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder: Path, handler: type | None = None) -> Iterator[str]:
    """A server of a folder's files, or one that answers as `handler` does; its address."""
    answers = handler or functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def publish(folder: Path, packages: dict[DebFile, bytes], suite: str = "bookworm", origin: str = "Debian") -> None:
    """Lay out a mirror: the pool, the list of packages, and an InRelease without a signature."""
    for deb, content in packages.items():
        (folder / deb.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / deb.path).write_bytes(content)
    text = "\n".join(
        f"Package: {deb.package}\nVersion: {deb.version}\nArchitecture: {deb.architecture}\nFilename: {deb.path}\n"
        f"Size: {deb.size}\nSHA256: {deb.sha256}\n"
        for deb in packages
    )
    listed = lzma.compress(text.encode())
    place = folder / "dists" / suite / "main" / "binary-amd64"
    place.mkdir(parents=True, exist_ok=True)
    (place / "Packages.xz").write_bytes(listed)
    (folder / "dists" / suite / "InRelease").write_text(
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: {origin}\nCodename: {suite}\n"
        "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n"
        f" {hashlib.sha256(listed).hexdigest()} {len(listed)} main/binary-amd64/Packages.xz\n"
        "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    )
