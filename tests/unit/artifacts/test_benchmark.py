"""What iree-benchmark-module of 3.3.0 and 3.13.0 wrote (host and paths exchanged): stripped, and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrix.artifacts.benchmark import device_peak, read_timing, strip_private_data

DATA = Path(__file__).parents[2] / "data"
LOG = """2026-11-21T12:05:54+00:00
Running /srv/somebody/cache/env/iree-benchmark-module
Run on (2 X 2445.43 MHz CPU s)
[[ iree_hal_allocator_t memory statistics ]]
  HOST_LOCAL:            0B peak /            0B allocated /            0B freed /            0B live
DEVICE_LOCAL:      1572864B peak /     13107200B allocated /     13107200B freed /            0B live
"""


@pytest.mark.parametrize(
    ("release", "seconds", "cpu_seconds", "load"),
    [("3.3.0", 0.1116, 0.03664, 4.99), ("3.13.0", 0.00297, 0.000961, 5.23)],
)
def test_a_round_is_the_median_of_its_samples(release, seconds, cpu_seconds, load):
    timing = read_timing(strip_private_data((DATA / f"benchmark-{release}.json").read_bytes()))
    assert timing.samples == 5
    assert timing.seconds == pytest.approx(seconds, rel=5e-3)
    assert timing.cpu_seconds == pytest.approx(cpu_seconds, rel=5e-3)
    assert timing.load == pytest.approx(load, abs=0.01)


@pytest.mark.parametrize("release", ["3.3.0", "3.13.0"])
def test_neither_host_nor_paths_are_kept(release):
    raw = (DATA / f"benchmark-{release}.json").read_bytes()
    assert b"workshop-7" in raw
    assert b"/srv/somebody" in raw
    kept = strip_private_data(raw)
    assert b"workshop-7" not in kept
    assert b"/" not in kept.replace(b"BM_main/process_time/real_time", b"")
    assert json.loads(kept)["context"]["num_cpus"] == 2
    assert strip_private_data(kept) == kept


def test_a_log_loses_the_path_of_the_tool():
    kept = strip_private_data(LOG.encode()).decode()
    assert "/srv/somebody" not in kept
    assert kept.count("\n") == LOG.count("\n") - 1
    assert device_peak(kept) == 1572864


def test_a_log_without_statistics_has_no_peak():
    assert device_peak("no such line") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"benchmarks": [{}]}', b'{"benchmarks": 3}'])
def test_no_sample_is_no_time(content):
    assert read_timing(content) is None


def test_json_of_another_shape_is_not_kept():
    assert strip_private_data(b'{"host_name": "workshop-7"}') == b"{}"
    assert strip_private_data(b'["workshop-7"]') == b"{}"


def test_a_sample_that_failed_does_not_count():
    document = json.loads((DATA / "benchmark-3.13.0.json").read_bytes())
    for row in document["benchmarks"]:
        row["error_occurred"] = True
    assert read_timing(json.dumps(document).encode()) is None
