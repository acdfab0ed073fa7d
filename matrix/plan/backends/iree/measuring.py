"""The stages of IREE that measure a module which ran: its times, its instructions, its code. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_benchmark, strip_private_data
from matrix.core.records import Limits
from matrix.plan.backends.backend import INPUT, JOB_LOG, StageKind
from matrix.plan.backends.iree import counting, timing
from matrix.plan.backends.iree.environments import FLAGS, RUNTIME
from matrix.plan.backends.iree.names import (
    BENCHMARK,
    BUILD,
    COMPILE,
    COUNT,
    DISPATCH_TIMES,
    PARAMETERS,
    PROFILE,
    RUN,
    VMFB,
    tool_words,
)
from matrix.plan.backends.iree.source_builds import BENCHMARKER

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Given

TIMES = "benchmark.json"


def _benchmark(given: Given) -> tuple[str, ...]:
    """One round: five samples of at least 0.2 s each after a warm-up. The JSON goes to a file, because its context
    names the host, and a log is stored as it is."""
    how = ("--benchmark_repetitions=5", "--benchmark_min_time=0.2s", "--benchmark_min_warmup_time=0.1")
    out = (f"--benchmark_out={TIMES}", "--benchmark_out_format=json", "--print_statistics")
    return (*tool_words(BENCHMARKER, given), *how, *out, *given.flags)


COUNTING = StageKind(
    name=COUNT,
    environment=RUNTIME,
    inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
    outputs=(counting.COUNTS_FILE,),
    needed=(counting.COUNTS_FILE,),
    axes=(RUNTIME, FLAGS),
    command=lambda given: (*tool_words(BENCHMARKER, given), *counting.count_words(), *given.flags),
    executable=(BENCHMARKER,),
    after=(COMPILE, BUILD, RUN),
    judged=False,
    on_target=True,
    like=RUN,
    counted=counting.COUNTER,
    limits=Limits(seconds=1800, memory_bytes=8 << 30),
    typical_seconds=3.0,
    strip=counting.strip_log,
    read=counting.read_counts,
    reads=(counting.COUNTS_FILE,),
)
PROFILING = replace(
    COUNTING,
    name=PROFILE,
    outputs=(counting.COUNTS_FILE, counting.BLOCKS_FILE),
    needed=(counting.COUNTS_FILE, counting.BLOCKS_FILE),
    counted=counting.PROFILER,
    read=counting.read_profiled,
)
TIMING_DISPATCHES = StageKind(
    name=DISPATCH_TIMES,
    environment=RUNTIME,
    inputs=(VMFB, INPUT, PARAMETERS),
    outputs=(timing.TRACED_FILE, timing.PROFILED_FILE),
    needed=(timing.TRACED_FILE,),
    axes=(RUNTIME, FLAGS),
    command=lambda given: (*timing.TIMING_WORDS, *tool_words(BENCHMARKER, given), *given.flags),
    programs=(timing.TIMING_PROGRAM,),
    after=(COMPILE, RUN),
    judged=False,
    on_target=True,
    alone=True,
    packaged=True,
    loopback=True,
    like=RUN,
    limits=Limits(seconds=600, memory_bytes=8 << 30),
    typical_seconds=3.0,
    strip=strip_private_data,
    keep=timing.keep_times,
    read=timing.read_dispatch_times,
    reads=(timing.TRACED_FILE, timing.PROFILED_FILE),
)
BENCHMARKING = StageKind(
    name=BENCHMARK,
    environment=RUNTIME,
    inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
    outputs=(TIMES,),
    needed=(TIMES,),
    axes=(RUNTIME, FLAGS),
    command=_benchmark,
    executable=(BENCHMARKER,),
    after=(RUN,),
    judged=False,
    on_target=True,
    alone=True,
    rounds=True,
    limits=Limits(seconds=300, memory_bytes=8 << 30),
    typical_seconds=2.0,
    strip=strip_private_data,
    read=lambda outputs: read_benchmark(outputs[TIMES], outputs[JOB_LOG]),
    reads=(TIMES,),
)
