"""A real nginx with WebDAV on loopback, as the documents set it: everybody reads, who has the token writes."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line import ROOT
from debian_programs import program
from pace import allowed
from sshd_here import free_port

AROUND = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {server}
}}
"""


def documented_server() -> str:
    """The lines of docs/scale.md for nginx."""
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(lines)


@contextmanager
def nginx(folder: Path, token: str) -> Iterator[str]:
    """The address of a server whose files are in `files` of the folder."""
    path, port = program("nginx", "nginx"), free_port()
    (folder / "files").mkdir(parents=True)
    words = {"8080": f"127.0.0.1:{port}", "FOLDER": str(folder / "files"), "TOKEN": token}
    server = re.sub("|".join(rf"\b{word}\b" for word in words), lambda found: words[found[0]], documented_server())
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, server=server), encoding="utf-8")
    process = subprocess.Popen([path, "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")])
    try:
        _wait(port, process, folder / "errors")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], errors: Path) -> None:
    end = time.monotonic() + allowed(20)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None and time.monotonic() < end, errors.read_text()
        time.sleep(0.05)
