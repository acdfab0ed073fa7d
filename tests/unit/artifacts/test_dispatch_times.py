"""Times per dispatch from a capture of Tracy and from the rows of `iree-profile`: one record, and faults by place."""

from __future__ import annotations

import json
import struct

import pytest
from tracy_files import capture, packed, unpacked

from matrix.artifacts.timings.dispatch_times import (
    read_kept_times,
    times_bytes,
    times_of_capture,
    times_of_rows,
)
from matrix.artifacts.timings.tracy_zones import read_tracy
from matrix.core.errors import FileFault, NotRunnable

CONV, ADD = "main$async_dispatch_0_conv", "main$async_dispatch_1_add"
CALLS = (
    [(CONV, [100, 200]), (ADD, [7]), (CONV, [30])],
    [(CONV, [110, 400]), (ADD, [5]), (CONV, [10])],
    [(CONV, [90, 250]), (ADD, [9]), (CONV, [20])],
)


def rows(calls=CALLS, **changed: object) -> bytes:
    """As `iree-profile export` writes them: a schema, and an event for each dispatch."""
    lines = [{"schema_version": 15, "record_type": "schema", "format": "ireeperf-jsonl"}]
    for call in calls:
        lines.append({"schema_version": 15, "record_type": "host_execution_event", "op": "alloca", "key": None})
        for name, spent in call:
            event = {"key": name, "duration_ns": sum(spent) + 9, "tile_duration_sum_ns": sum(spent), "valid": True}
            head = {"schema_version": 15, "record_type": "host_execution_event", "op": "dispatch"}
            lines.append({**head, **event, **changed})
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


@pytest.mark.parametrize("version", [(0, 11, 0), (0, 11, 2)])
@pytest.mark.parametrize("streams", [1, 4])
def test_a_capture_has_each_invocation_of_each_call(version, streams):
    times = times_of_capture(capture(CALLS, version=version, streams=streams), "a", 3)
    assert times.method == f"tracy {'.'.join(map(str, version))}"
    assert [(each.name, each.nanoseconds) for each in times.invocations] == [
        (CONV, (300, 510, 340)),
        (ADD, (7, 5, 9)),
        (CONV, (30, 10, 20)),
    ]


def test_both_tools_make_the_same_record_of_the_same_calls():
    traced, profiled = times_of_capture(capture(CALLS), "a", 3), times_of_rows(rows(), "b", 3)
    assert [each.nanoseconds for each in traced.invocations] == [each.nanoseconds for each in profiled.invocations]
    assert [each.shortest for each in traced.dispatches] == [each.shortest for each in profiled.dispatches]
    assert profiled.method == "iree-profile"
    assert read_kept_times(times_bytes(traced), "kept") == traced


def test_a_dispatch_has_the_least_of_each_workgroup_and_the_quartiles_of_the_calls():
    conv, add = times_of_capture(capture(CALLS), "a", 3).dispatches
    assert (conv.name, conv.invocations, conv.quartiles) == (CONV, 2, (345.0, 360.0, 440.0))
    assert (conv.least, conv.shortest) == (90 + 200 + 10, 300 + 10)
    assert (add.least, add.quartiles[1]) == (5, 7.0)
    conv, _ = times_of_rows(rows(), "b", 3).dispatches
    assert (conv.least, conv.shortest) == (310, 310)  # its workgroups are not told apart


def test_a_capture_of_many_blocks_is_read_whole():
    long = [[(CONV, [3] * 9000)], [(CONV, [2] * 9000)]]
    content = capture(long)
    assert len(unpacked(long)) > 5 * (64 << 10)
    assert times_of_capture(content, "a", 2).invocations[0].nanoseconds == (27000, 18000)


def test_nothing_private_is_kept():
    kept = times_bytes(times_of_capture(capture(CALLS), "a", 3))
    assert b"somebody" in unpacked(CALLS) and b"somebody" not in kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "byte 0: read b'', expected a capture of Tracy"),
        (b"tlZ\x04" + bytes(80), "of a Tracy before 0.9"),
        (b"\x7fELF" + bytes(80), "byte 0: read b'\\x7fELF'"),
        (b"tr\xfdP\x01", "byte 4: read the end"),
        (b"tr\xfdP\x00\x04", "read compression 0, expected 1"),
        (b"tr\xfdP\x01\x00", "read 0 streams"),
        (b"tr\xfdP\x01\x04" + struct.pack("<I", 9) + b"no zstd..", "byte 6: read a block that is no zstd"),
        (b"tr\xfdP\x01\x04" + b"\xff", "read 1 bytes, expected the length of a block"),
        (packed(b"wrong" + bytes(99)), "unpacked byte 0: read b'wrong', expected b'tracy'"),
        (capture(CALLS, version=(0, 12, 1)), "unpacked byte 5: read a capture of Tracy 0.12.1, expected 0.11.0 or"),
        (capture(CALLS, version=(0, 11, 1)), "read a capture of Tracy 0.11.1"),
    ],
)
def test_what_is_no_capture_is_a_fault_with_its_place(content, said):
    with pytest.raises(FileFault) as fault:
        times_of_capture(content, "traced", 3)
    assert str(fault.value).startswith("traced: ") and said in str(fault.value)
    assert fault.value.tip


def test_a_capture_that_was_cut_off_anywhere_is_a_fault():
    content = capture([[(CONV, [3] * 3000)]] * 2)
    for end in [*range(0, 200), *range(200, len(content), 97), len(content) - 1]:
        with pytest.raises(FileFault, match="traced: "):
            times_of_capture(content[:end], "traced", 2)


def test_a_capture_that_was_cut_off_before_it_was_packed_is_a_fault():
    """At any byte before the end of the threads: a capture program that was killed while it wrote."""
    whole = unpacked(CALLS)
    for end in range(len(whole) - 200):
        with pytest.raises(FileFault):
            times_of_capture(packed(whole[:end]), "traced", 3)


def test_a_capture_with_a_changed_byte_is_read_or_a_fault_and_nothing_else():
    content = unpacked(CALLS)
    for place in range(len(content)):
        for value in (0x00, 0xFF, 0x80):
            changed = bytearray(content)
            changed[place] = value
            try:
                times_of_capture(packed(bytes(changed)), "traced", 3)
            except (FileFault, NotRunnable):
                continue


def test_a_block_that_unpacks_to_more_than_a_block_is_refused():
    bomb = packed(bytes(64 << 10))
    from tracy_files import zstd

    block = zstd.compress(bytes(300 << 20))
    bomb = b"tr\xfdP\x01\x04" + struct.pack("<I", len(block)) + block
    with pytest.raises(FileFault, match="read a block of more than 65,536 bytes"):
        read_tracy(bomb, "bomb")


def test_zones_without_end_are_refused_before_memory_is_used(monkeypatch):
    monkeypatch.setattr("matrix.artifacts.timings.tracy_zones.MOST_ZONES", 20)
    with pytest.raises(FileFault, match="read more zones, expected at most 20 zones"):
        times_of_capture(capture([[(CONV, [1] * 50)]] * 2), "traced", 2)


def test_a_zone_that_ends_before_it_starts_is_a_fault():
    with pytest.raises(FileFault, match="ends 5 ns before it starts"):
        times_of_capture(capture([[(CONV, [-5])]] * 2), "traced", 2)


def test_fewer_calls_than_there_were_are_a_fault():
    with pytest.raises(FileFault, match="read 3 calls of the module, expected 40"):
        times_of_capture(capture(CALLS), "traced", 40)


def test_calls_with_other_dispatches_are_a_fault():
    with pytest.raises(FileFault, match="read other dispatches in call 1"):
        times_of_capture(capture([[(CONV, [1])], [(ADD, [1])]]), "traced", 2)


def test_a_capture_without_a_dispatch_says_that_nothing_is_timed():
    with pytest.raises(NotRunnable, match="no dispatch ran on the thread that called"):
        times_of_capture(capture([[], []]), "traced", 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "read 0 dispatches|no dispatch"),
        (rows()[:-1], "read no end of the line, expected one: it was cut off"),
        (rows()[:-40], "cut off"),
        (b"IREE HAL\x00\n", "profiled: line 1: "),
        (b"[]\n", "line 1: read list"),
        (rows().split(b"\n", 1)[1], "line 1: read 'host_execution_event', expected the schema"),
        (rows().replace(b'"schema_version": 15', b'"schema_version": 16'), "read schema version 16, expected 15"),
        (rows(tile_duration_sum_ns=-1), "a dispatch without a name or a time"),
        (rows(tile_duration_sum_ns=1.5), "a dispatch without a name or a time"),
        (rows(key=None), "a dispatch without a name or a time"),
        (rows(valid=False), "a dispatch without a name or a time"),
        (rows([*CALLS, [(ADD, [1])]]), "10 dispatches in 3 calls"),
    ],
)
def test_rows_that_are_not_whole_are_a_fault_with_its_place(content, said):
    with pytest.raises((FileFault, NotRunnable), match=said):
        times_of_rows(content, "profiled", 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"calls": 4},
        {"invocations": [{"name": 1, "least": 1, "nanoseconds": [1, 2, 3]}]},
        {"invocations": [{"name": CONV, "least": 1, "nanoseconds": [1, 2.5, 3]}]},
        {"invocations": [{"name": CONV, "least": 1, "nanoseconds": [1, -2, 3]}]},
        {"invocations": [{"name": CONV}]},
        {"invocations": [{"name": CONV, "least": 2, "nanoseconds": [1, 2, 3]}]},
        {"invocations": []},
        {"invocations": 4},
        {"method": None},
    ],
)
def test_kept_times_of_another_form_are_a_fault(changed):
    document = json.loads(times_bytes(times_of_rows(rows(), "b", 3))) | changed
    with pytest.raises(FileFault):
        read_kept_times(json.dumps(document).encode(), "kept")
