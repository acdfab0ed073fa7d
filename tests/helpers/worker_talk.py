"""A worker process and its protocol, as a test speaks it."""

from __future__ import annotations

import glob
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).parents[2] / "scripts" / "worker.py"
LIMITS = {"seconds": 20.0, "memory_bytes": 2 << 30, "log_bytes": 4096}
ENV = {"PATH": os.environ["PATH"]}
SH = shutil.which("sh") or "sh"


def pythons() -> dict[str, str]:
    """Minor version to interpreter: this one, those on the PATH, pyenv's. A pyenv shim may be there and not work."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found: dict[str, str] = {}

    def consider(candidate: str) -> None:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([candidate, "-ISc", code], capture_output=True, text=True, timeout=20, check=False)
        if answer.returncode == 0:
            found.setdefault(answer.stdout.strip(), candidate)

    for candidate in [sys.executable, *glob.glob(f"{pyenv}/versions/3.[19]*/bin/python")]:  # noqa: PTH207 - may be unreadable
        consider(candidate)
    for minor in range(9, 15):
        on_path = shutil.which(f"python3.{minor}")
        if on_path and f"3.{minor}" not in found:
            consider(on_path)
    return found


PYTHONS = pythons()
PYTHON = sys.executable


class Talk:
    """A worker process and its protocol, with a deadline on every answer."""

    def __init__(self, python: str = PYTHON, *options: str, slots: int = 2, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [python, "-I", str(WORKER), f"--slots={slots}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            bufsize=0,
            start_new_session=True,
        )
        self.buffer = b""
        self.messages: list[dict] = []
        self.count = 0
        self.hello = self.wait_for(lambda message: message["type"] == "hello")

    def send(self, message: object) -> None:
        self.process.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def wait_for(self, wanted, seconds: float = 15.0) -> dict:
        until = time.monotonic() + seconds
        while True:
            for message in self.messages:
                if wanted(message):
                    self.messages.remove(message)
                    return message
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no such message within {seconds} s; there are {self.messages}"
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            assert data, f"the worker has gone; there are {self.messages}"
            *lines, self.buffer = (self.buffer + data).split(b"\n")
            self.messages += map(json.loads, lines)

    def submit(self, *argv: str, limits: dict | None = None, **fields: object) -> str:
        self.count += 1
        job_id = f"job {self.count}"
        what = {} if "script" in fields else {"argv": argv}
        common = {"type": "job", "id": job_id, "cwd": "/", "env": ENV, "limits": {**LIMITS, **(limits or {})}}
        self.send({**common, **what, **fields})
        return job_id

    def finished(self, job_id: str) -> dict:
        return self.wait_for(lambda message: message["type"] == "finished" and message["id"] == job_id)

    def started(self, job_id: str) -> dict:
        return self.wait_for(lambda message: message["type"] == "started" and message["id"] == job_id)

    def run(self, *argv: str, **fields: object) -> dict:
        return self.finished(self.submit(*argv, **fields))

    def shell(self, code: str, **fields: object) -> dict:
        return self.run(SH, "-c", code, **fields)

    def still_works(self) -> None:
        end = self.shell("echo next; exit 4")
        assert (end["end"], end["exit_code"], end["log"]) == ("exited", 4, "next\n"), end

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
