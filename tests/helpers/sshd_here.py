"""A real SSH server on loopback: an ordinary user's, with its own host key, configuration and keys."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian_programs import program
from pace import allowed

USER = "iree-matrix-board"
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
Subsystem sftp internal-sftp
"""
CLIENT = """
Host zero
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: `config` is for the client, `place` the folder that stands for the board's disk."""

    folder: Path
    port: int
    place: Path
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "client"

    @property
    def left(self) -> list[str]:
        """What is in the board's folder for files of a connection."""
        return sorted(path.name for path in self.place.iterdir())

    def sessions(self) -> list[int]:
        """The processes of the server's connections."""
        own, found = self.process.pid, list[int]()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_bytes().rpartition(b")")[2].split()[1]) == own:
                    found.append(int(stat.parent.name))
        return found

    def client(self, port: int) -> Path:
        """A configuration that reaches the server by another port."""
        path = self.folder / f"client-{port}"
        path.write_text(self.config.read_text().replace(f"Port {self.port}", f"Port {port}"), encoding="utf-8")
        known = (self.folder / "known").read_text()
        line = known.splitlines()[0].replace(f":{self.port}", f":{port}")
        (self.folder / "known").write_text(f"{known}{line}\n", encoding="utf-8")
        return path


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@contextlib.contextmanager
def ssh_server(*, command: str = "", variables: Sequence[str] = (), own: bool = False) -> Iterator[Server]:
    """`command` is run in the place of what a client asks for (ForceCommand); `variables` are set for it. `own` is a
    server of the user of the tests, who reaches this Python.

    Its folder is in none of pytest's: each session of pytest closes those that another one opened.
    """
    with tempfile.TemporaryDirectory(prefix="iree-matrix-sshd-") as folder:
        Path(folder).chmod(0o755)
        yield from _serve(Path(folder), command, variables, _this_user() if own else _ordinary_user())


def _serve(folder: Path, command: str, variables: Sequence[str], who: tuple[str, list[str]]) -> Iterator[Server]:
    sshd = program("/usr/sbin/sshd", "openssh-server")
    user, before = who
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    place = folder / "board"
    place.mkdir()
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    text = SERVER.format(port=port, folder=folder)
    text += f"SetEnv {' '.join([f'TMPDIR={place}', *variables])}\n" + (f"ForceCommand {command}\n" if command else "")
    (folder / "server").write_text(text, encoding="utf-8")
    shutil.copy(folder / "key.pub", folder / "authorized")
    (folder / "client").write_text(CLIENT.format(port=port, folder=folder, user=user), encoding="utf-8")
    _, key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} ssh-ed25519 {key}\n", encoding="utf-8")
    if before:
        subprocess.run(["chown", "-R", f"{user}:", str(place), str(folder / "host_key")], check=True)
    process = subprocess.Popen([*before, sshd, "-D", "-e", "-f", str(folder / "server")], stderr=subprocess.PIPE)
    try:
        _wait(port, process)
        yield Server(folder=folder, port=port, place=place, process=process)
    finally:
        process.kill()
        process.wait()


def _this_user() -> tuple[str, list[str]]:
    return pwd.getpwuid(os.geteuid()).pw_name, []


def _ordinary_user() -> tuple[str, list[str]]:
    """(the name of the server's user, the words before its command line)."""
    if os.geteuid() != 0:
        return _this_user()
    with contextlib.suppress(KeyError):
        pwd.getpwnam(USER)
        return USER, _as(USER)
    subprocess.run(["useradd", "--system", "--shell", "/bin/sh", "--home-dir", "/tmp", USER], check=True)
    subprocess.run(["usermod", "-p", "*", USER], check=True)
    return USER, _as(USER)


def as_board_user() -> list[str]:
    """The words before a command line that the server's user executes."""
    return _ordinary_user()[1]


def _as(user: str) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + allowed(20)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < end, "sshd does not listen"
        time.sleep(0.05)
