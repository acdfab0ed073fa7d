"""Digests and job keys. A key identifies a job: a finished job is never run again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from matrix.core.records import OUTPUT_BYTES, EnvironmentRequest, Limits, Stage

KEY_VERSION = 1
"""Part of every key. Raise it when the meaning of a key's parts changes: then old results answer no new job."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical(value: Json) -> bytes:
    """One byte string per value: sorted names, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Json) -> str:
    """sha256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file as 64 hex digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """sha256 of the names, modes and contents of a folder's files; a link counts by its target."""
    rows: list[Json] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            rows.append([name, "link", str(path.readlink())])
        elif path.is_file():
            rows.append([name, "run" if os.access(path, os.X_OK) else "file", sha256(path)])
    return digest(rows)


def job_key(
    *,
    stage: Stage,
    environment: str,
    script: str,
    inputs: Sequence[tuple[str, str]],
    command: Sequence[str],
    arguments: Sequence[tuple[str, str]],
    limits: Limits,
    repeat: int = 0,
    machine: str = "",
    beside: str = "",
) -> str:
    """The key of a job.

    `environment` is the digest of the realised environment, `script` the digest of the job's code in `scripts/` ("" for
    a tool), `inputs` are (name, sha256) pairs, `command` is the tool and its literal arguments, `arguments` are the
    parameters of a script, `repeat` distinguishes repeats of a job, `machine` is the machine class if the result
    depends on it (else ""), `beside` names what a round is interleaved with. The store's folder, the host and the cell
    are not part of it.
    """
    named = {"machine": machine, "beside": beside}
    bound: dict[str, Json] = {name: value for name, value in named.items() if value}
    return digest(
        {
            **bound,
            "key_version": KEY_VERSION,
            "stage": stage,
            "environment": environment,
            "script": script,
            "inputs": {name: content for name, content in inputs},
            "command": list(command),
            "arguments": {name: value for name, value in arguments},
            "limits": {
                "seconds": limits.seconds,
                "memory_bytes": limits.memory_bytes,
                "log_bytes": limits.log_bytes,
                **({} if limits.output_bytes == OUTPUT_BYTES else {"output_bytes": limits.output_bytes}),
            },
            "repeat": repeat,
        }
    )


def asked_digest(request: EnvironmentRequest, engine: str) -> str:
    """What an engine was asked for, the same on every machine: locks and tools by digest, and no path."""
    toolchain, built, platform = request.toolchain, request.build, request.platform
    tools: list[Json] = [toolchain.digest if toolchain else "", built.digest if built else ""]
    machine: list[Json] = [platform.machine, list(platform.emulator), platform.packages] if platform else []
    flags: list[Json] = [request.linked, request.built, request.bare]
    return digest([engine, request.kind, request.python, request.lock.name, request.lock.digest, tools, machine, flags])


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
