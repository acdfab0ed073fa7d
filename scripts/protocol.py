"""The worker's side of the protocol: reads requests and writes answers, as JSON lines. `worker.py` lists them."""

from __future__ import annotations

import json
import os
from typing import Any

import children


class Protocol:
    """Takes over stdin and stdout, so that no `print` or `input` of a job uses them."""

    def __init__(self) -> None:
        self.requests, self.answers = os.dup(0), os.dup(1)
        self.received = bytearray()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    @property
    def files(self) -> tuple[int, int]:
        return self.requests, self.answers

    def send(self, message: dict[str, Any]) -> None:
        """Raises BrokenPipeError where the orchestrator does not listen any more."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while data:
            data = data[os.write(self.answers, data) :]

    def read_lines(self) -> list[bytes] | None:
        """Reads once. Returns the complete lines; None at the end of the requests."""
        data = os.read(self.requests, children.READ_BYTES)
        if not data:
            return None
        *lines, self.received = (self.received + data).split(b"\n")
        return lines
