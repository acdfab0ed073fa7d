"""What a table shows stays: an interrupted rerun takes no protection from it, and `clean` removes nothing of it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from command_line import begin, end, good, write_spec

pytestmark = pytest.mark.real

ONE = ("3.10.0",)


def shown(spec: Path, store: Path) -> str:
    return good("show", spec, "--store", store, "--format", "json").out


def test_clean_after_reruns_that_end_at_any_moment(tmp_path, store):
    spec = write_spec(tmp_path / "spec", compilers=ONE, runtimes=ONE, variants=3)
    good("run", spec, "--store", store)
    before = shown(spec, store)
    seed = int(os.environ.get("IREE_MATRIX_SAMPLE_SEED", str(random.randrange(10**6))))
    print(f"IREE_MATRIX_SAMPLE_SEED={seed}")
    moments, ends = random.Random(seed), []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = begin("run", spec, "--store", store)
        assert "cells" in process.stderr.readline()  # from here on it takes some tenths of a second
        time.sleep(moments.uniform(0.0, 0.1) if ends else 0.0)
        process.send_signal(number)
        ends.append(end(process).status)
        good("clean", "--store", store, "--older-than", "0")
        assert shown(spec, store) == before, f"{number.name}, {ends}"
    assert {130, -signal.SIGKILL} & set(ends), ends
