"""A container daemon of a test alone, which may be stopped, killed and filled."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_line import wait_for

from matrix.engines.docker.daemon import Daemon


class NoDaemon(Exception):
    """No such daemon can be started here; the text says why."""


class SecondDaemon:
    """A dockerd with its data at `data`.

    In a network namespace of its own: a second dockerd without a bridge removes the first one's `docker0`.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.address = f"unix://{folder}/d.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._forget_containerd()
        (self.folder / "config.json").write_text("{}")
        places = ["--config-file", self.folder / "config.json", "--data-root", self.data, "--exec-root"]
        places += [self.folder / "exec", "--pidfile", self.folder / "d.pid", "--host", self.address]
        nothing = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        with (self.folder / "log").open("w") as log:
            argv = ["unshare", "--net", "dockerd", *map(str, places), *nothing]
            process = self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_for(lambda: process.poll() is not None or self.answers(), seconds=60)
        if process.poll() is not None:
            last = (self.folder / "log").read_text().splitlines()[-1:]
            raise NoDaemon(f"no second container daemon can be started here: {last}")

    def _forget_containerd(self) -> None:
        """A killed dockerd leaves a killed containerd, which is a zombie until the first process of the machine looks:
        the next dockerd thinks that it runs, waits for its word, and gives up."""
        noted = self.folder / "exec" / "containerd" / "containerd.pid"
        with contextlib.suppress(OSError, ValueError):
            status = Path(f"/proc/{int(noted.read_text())}/stat")
            if not status.is_file() or status.read_text().rpartition(")")[2].split()[0] == "Z":
                noted.unlink()

    def answers(self) -> bool:
        """It listens long before it answers."""
        asked = subprocess.run(["docker", "--host", self.address, "version"], capture_output=True, check=False)
        return asked.returncode == 0

    def images(self) -> list[Any]:
        daemon = Daemon()
        try:
            return list(daemon.client.api.images())
        finally:
            daemon.close()

    def fill(self) -> Path:
        """Fills its disk to the last block. Returns the file that does."""
        filler = self.data / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        return filler

    def send(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends it. What it started for containers outlives a SIGKILL until it starts again."""
        assert self.process
        self.send(number)
        self.process.wait(60)


@contextlib.contextmanager
def second_daemon(data: Path) -> Iterator[SecondDaemon]:
    """Raises NoDaemon."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise NoDaemon("a second container daemon needs dockerd and root")
    folder = Path(tempfile.mkdtemp(prefix="second-"))  # a socket's path has 107 bytes at most
    daemon = SecondDaemon(folder, data)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process and daemon.process.poll() is None:
            daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)
