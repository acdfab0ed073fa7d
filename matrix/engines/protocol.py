"""Reads the messages of a worker: the other side of `scripts/protocol.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matrix.core.records import JobEnd
from matrix.results.judge import ENDS

PROTOCOL = 1
MOST_SAID = 1 << 63
"""More than any size, status or time that a worker can mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHello:
    """A worker's description of its environment. `warm_error`: the traceback of a failed warm import."""

    protocol: int
    python: str
    implementation: str
    c_library: str
    machine: str
    slots: int
    versions: Mapping[str, str]
    warm_error: str = ""


class ProtocolFault(Exception):
    """The other side does not follow this protocol, or says nothing."""


def hello_of(message: Mapping[str, Any]) -> WorkerHello:
    """Raises ProtocolFault."""
    if message["type"] != "hello":
        raise ProtocolFault(f"the first message is {message['type']!r}, expected 'hello'")
    if message["protocol"] != PROTOCOL:
        raise ProtocolFault(f"speaks version {message['protocol']} of the protocol, expected {PROTOCOL}")
    versions = message.get("versions")
    if not isinstance(versions, dict) or not all(isinstance(each, str) for each in versions.values()):
        raise ProtocolFault(f"versions is {_shown(versions)}, expected texts by name")
    return WorkerHello(
        protocol=PROTOCOL,
        python=text_of(message, "python"),
        implementation=text_of(message, "implementation"),
        c_library=text_of(message, "c_library"),
        machine=text_of(message, "machine"),
        slots=_whole(message, "slots"),
        versions=versions,
        warm_error=text_of(message, "warm_error") if "warm_error" in message else "",
    )


def job_end_of(message: Mapping[str, Any]) -> JobEnd:
    """Raises ProtocolFault."""
    if (end := text_of(message, "end")) not in ENDS:
        raise ProtocolFault(f"end is {_shown(end)}, expected one of {', '.join(ENDS)}")
    return JobEnd(
        key=text_of(message, "id"),
        end=end,
        exit_code=_whole(message, "exit_code"),
        signal=_whole(message, "signal"),
        seconds=_number(message, "seconds"),
        cpu_seconds=_number(message, "cpu_seconds"),
        peak_bytes=_whole(message, "peak_bytes"),
        log=text_of(message, "log"),
        log_bytes=_whole(message, "log_bytes"),
        error=text_of(message, "error"),
    )


def text_of(message: Mapping[str, Any], name: str) -> str:
    """A field of a message that must be a text. Raises ProtocolFault."""
    value = message.get(name)
    if isinstance(value, str):
        return value
    raise ProtocolFault(f"{name} is {_shown(value)}, expected a text")


def _whole(message: Mapping[str, Any], name: str) -> int:
    value = message.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_SAID:
        return value
    raise ProtocolFault(f"{name} is {_shown(value)}, expected a whole number that is not negative")


def _number(message: Mapping[str, Any], name: str) -> float:
    value = message.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST_SAID:
        return value
    raise ProtocolFault(f"{name} is {_shown(value)}, expected a number that is not negative")


def _shown(value: object) -> str:
    return repr(value)[:80]
