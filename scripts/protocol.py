"""The protocol's two ends in a worker: JSON lines, requests in, answers out. See `worker.py` for what they say."""

from __future__ import annotations

import json
import os
from typing import Any

import children


class Protocol:
    """Takes stdin and stdout for itself, so that no job's `print` or `input` touches them."""

    def __init__(self) -> None:
        self.requests, self.answers = os.dup(0), os.dup(1)
        self.received = bytearray()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def send(self, message: dict[str, Any]) -> None:
        """Raises BrokenPipeError where nobody listens any more."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while data:
            data = data[os.write(self.answers, data) :]

    def read_lines(self) -> list[bytes] | None:
        """The whole lines that one read brings; None at the end of the requests."""
        data = os.read(self.requests, children.READ_BYTES)
        if not data:
            return None
        *lines, self.received = (self.received + data).split(b"\n")
        return lines
