"""What tests of the worker share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import pytest
from worker_talk import PYTHON, Talk


@pytest.fixture
def fresh() -> Iterator[functools.partial]:
    """Starts workers that are only this test's."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, **more: object) -> Talk:
            talk = Talk(PYTHON, *options, **more)
            stack.callback(talk.stop)
            return talk

        yield start
