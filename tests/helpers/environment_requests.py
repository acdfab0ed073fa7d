"""Requests for environments."""

from __future__ import annotations

from pathlib import Path

from matrix.core.records import EnvironmentRequest, Lock

GB = 1_000_000_000


def compiler(version: str) -> EnvironmentRequest:
    return _request("compiler", f"compiler/{version}", (("iree-base-compiler", version),), "3.11")


def runtime(version: str) -> EnvironmentRequest:
    return _request("runtime", f"runtime/{version}", (("iree-base-runtime", version),), "3.11")


def _request(kind: str, name: str, pins: tuple[tuple[str, str], ...], python: str) -> EnvironmentRequest:
    return EnvironmentRequest(kind=kind, python=python, lock=Lock(name=name, path=Path(name), digest=name, pins=pins))
