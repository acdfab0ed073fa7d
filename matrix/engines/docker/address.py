"""The address of the container daemon: DOCKER_HOST, else the context of the docker command, else the default socket.

A daemon behind ssh is reached by the machine's `ssh`, like the docker command does, with its configuration, keys and
agent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from matrix.core.errors import EngineMissing

CONTEXTS = (
    "`docker context ls` lists them, `docker context use default` selects the default; DOCKER_HOST overrides them all"
)
LOCAL = ("unix", "npipe")
SSH = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a daemon. `url` is empty for the default socket of this machine; `tls` is for the SDK."""

    url: str = ""
    tls: Any = None

    @property
    def remote(self) -> bool:
        """Whether its host may be another machine, which does not see the folders of this one."""
        return bool(self.url) and not any(kind in urlsplit(self.url).scheme for kind in LOCAL)

    @property
    def over_ssh(self) -> bool:
        return urlsplit(self.url).scheme == "ssh"


def find_address() -> Address:
    """Raises EngineMissing for a context that does not exist or cannot be read."""
    import docker

    said = docker.utils.kwargs_from_env()
    if "base_url" in said:
        return Address(url=said["base_url"], tls=said.get("tls"))
    chosen = os.environ.get("DOCKER_CONTEXT", "")
    name = chosen or docker.context.config.get_current_context_name()
    if name == "default":
        return Address()
    called = f"the docker context {name!r} ({'DOCKER_CONTEXT' if chosen else 'the current one'})"
    try:
        context = docker.ContextAPI.get_context(name)
        url, tls = (context.Host, context.TLSConfig) if context else ("", None)
    except Exception as error:  # noqa: BLE001 - the SDK may raise anything for a file of the user
        raise EngineMissing(f"{called} cannot be read: {type(error).__name__}: {error}", tip=CONTEXTS) from None
    if context is None:
        raise EngineMissing(f"{called} does not exist", tip=CONTEXTS)
    if not url:
        raise EngineMissing(f"{called} names no docker daemon", tip=CONTEXTS)
    return Address(url=url, tls=tls)


class SshRelay:
    """A local socket; each connection to it starts an `ssh` to the daemon's host. When this process ends, the
    connections are closed and each `ssh` ends."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        user = ("-l", parts.username) if parts.username else ()
        port = ("-p", str(parts.port)) if parts.port else ()
        self._argv = ["ssh", *SSH, *user, *port, "--", parts.hostname or "", "docker system dial-stdio"]
        self._folder = tempfile.TemporaryDirectory(prefix="daemon-")
        path = Path(self._folder.name) / "socket"
        self.url = f"unix://{path}"
        self._said = (Path(self._folder.name) / "stderr").open("a+b")
        self._started: list[subprocess.Popen[bytes]] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, name="relays to a daemon", daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed, or there is no `ssh`
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    self._started = [each for each in self._started if each.poll() is None]
                    end = connection.fileno()
                    self._started.append(
                        subprocess.Popen(self._argv, stdin=end, stdout=end, stderr=self._said, start_new_session=True)
                    )
        self._listening.close()

    @property
    def said(self) -> str:
        """The last output of `ssh`, for a message."""
        self._said.seek(0)
        return " ".join(self._said.read()[-300:].decode(errors="replace").split())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._started:
            each.terminate()
            each.wait()
        self._said.close()
        self._folder.cleanup()
