"""One connection to a board: OpenSSH's client as a process, with the user's own configuration, keys and known hosts."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

from matrix.core.errors import EngineMissing
from matrix.core.records import Board

_READ_BYTES = 1 << 16
LINE_BYTES = 1 << 20
_CONNECT_SECONDS = 20
SIGN_SECONDS, SIGNS_MISSED = 5, 3
"""A link that is silent for so many signs of life is lost."""
CLOSE_SECONDS = 5.0
_STDERR_BYTES = 8 << 10
SETTINGS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "ControlMaster": "no",
    "ConnectTimeout": str(_CONNECT_SECONDS),
    "ServerAliveInterval": str(SIGN_SECONDS),
    "ServerAliveCountMax": str(SIGNS_MISSED),
    "LogLevel": "ERROR",
}
"""They win over the user's configuration: nobody is asked, no unknown host key is accepted, nothing is forwarded."""
KNOWN_KEY = "connect once by hand (`ssh`), compare the key with the board's own, and accept it"
REASONS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed", "its host key is not the known one", KNOWN_KEY),
    (r"No \S+ host key is known|Host key verification failed", "its host key is not known here", KNOWN_KEY),
    (
        r"Permission denied|Too many authentication failures",
        "it refuses the login",
        "`ssh` to it must work without a password: a key in your agent or your SSH configuration",
    ),
    (r"Could not resolve hostname", "there is no such host", "correct `ssh` of the target, or your SSH configuration"),
    (r"Connection refused", "nothing listens for SSH there", "start its SSH server, or correct `ssh` of the target"),
    (
        r"timed out|No route to host|unreachable|Timeout, server",
        "it does not answer",
        "look at its power and its network",
    ),
    (r"Connection (reset|closed)|Broken pipe|Connection to .* closed", "the link was cut", "run again: it continues"),
    (
        r"Bad configuration option|Bad owner or permissions|No such file or directory",
        "SSH's configuration cannot be used",
        "`ssh` to it by hand says more",
    ),
)
"""(what OpenSSH says, what it means, what to do)."""


class LinkLost(Exception):
    """The connection is over, or was never made. `tip` is the next step."""

    def __init__(self, reason: str, tip: str = "") -> None:
        super().__init__(reason)
        self.tip = tip


def ssh_line(board: Board, command: str) -> list[str]:
    """The command line of a connection. Raises EngineMissing."""
    program = shutil.which("ssh")
    if program is None:
        raise EngineMissing("there is no `ssh` on this machine", tip="apt install openssh-client")
    config = ["-F", str(board.config)] if board.config else []
    settings = [f"-o{name}={value}" for name, value in SETTINGS.items()]
    return [program, *config, *settings, "-T", "-enone", "--", board.ssh, command]


def remote_command(script: Path) -> str:
    """The script as one word for the board's login shell, whichever that is. The shell stays between: sshd then ends
    with it what a lost link leaves."""
    lines = (line.strip() for line in script.read_text(encoding="utf-8").splitlines())
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    return f"sh -c {shlex.quote(text)}; exit $?"


class Connection:
    """`send` may be called from any thread, everything else from one at a time. Raises LinkLost."""

    def __init__(self, board: Board, script: Path) -> None:
        self._process = subprocess.Popen(
            ssh_line(board, remote_command(script)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._rest = b""
        self._said = bytearray()
        self._sending = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name="reads ssh's words", daemon=True)
        self._listener.start()

    def send(self, *parts: bytes) -> None:
        with self._sending:
            for part in parts:
                left = memoryview(part)
                try:
                    while left:
                        left = left[self._stdin.write(left) or 0 :]
                except (OSError, ValueError):
                    raise self._lost() from None

    def line(self, seconds: float) -> str:
        """The next line, for which so many seconds may pass without a byte."""
        while b"\n" not in self._rest:
            if len(self._rest) > LINE_BYTES:
                raise LinkLost("the board says a line without an end")
            self._rest += self._read(seconds)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "backslashreplace")

    def some(self, most: int, seconds: float) -> bytes:
        """At least one byte, at most so many."""
        data = self._rest or self._read(seconds)
        self._rest = data[most:]
        return data[:most]

    def close(self) -> None:
        """The end of its stdin makes the board remove its folder; then the connection ends."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self.cut()

    def cut(self) -> None:
        """Ends it at once. May be called from any thread, and more than once."""
        self._process.kill()
        self._process.wait()

    def _read(self, seconds: float) -> bytes:
        if not self._selector.select(seconds):
            raise LinkLost(f"the board said nothing for {seconds:g} s")
        data = os.read(self._stdout.fileno(), _READ_BYTES)
        if not data:
            raise self._lost()
        return data

    def _lost(self) -> LinkLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self._process.kill()
        self._listener.join(CLOSE_SECONDS)
        return explained(self._said.decode("utf-8", "replace"))

    def _listen(self) -> None:
        while data := os.read(self._stderr.fileno(), _READ_BYTES):
            self._said += data
            del self._said[:-_STDERR_BYTES]


def explained(said: str) -> LinkLost:
    """Why a connection ended, by what OpenSSH said of it; no name of a host goes into it, because results show it."""
    for pattern, meaning, tip in REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return LinkLost(meaning, tip)
    if re.search(r"\bsh: (command )?not found|sh: No such file", said):
        return LinkLost("its login shell runs no `sh`", "give it a POSIX shell")
    return (
        LinkLost("the link ended without a reason", "run again: it continues")
        if not said.strip()
        else LinkLost("SSH ended with an error", "`ssh` to it by hand says more")
    )
