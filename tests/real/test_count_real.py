"""The stage `count`: what one call executes, counted by the locked emulator with the plugin of this project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
from command_line import ROOT, good, matrix, write_spec

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)
STAGES = ("export", "compile", "run", "count")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counted")


def counted(spec: Path, store: Path, *words: str) -> list[dict[str, Any]]:
    """The jobs that counted, in the order of the cells."""
    document = json.loads(good("run", spec, "--store", store, "--format", "json", *words, timeout=900).out)
    return [document["jobs"][key] for cell in document["cells"] for key in cell["evidence"].get("beside", [])]


def test_a_repeat_is_equal_to_the_last_instruction(place):
    spec = write_spec(place / "spec", compilers=["3.8.0", "3.13.0"], runtimes=["3.8.0", "3.13.0"], stages=STAGES)
    first = [job["measurements"] for job in counted(spec, place / "store")]
    assert len(first) == 2  # each release loads what it compiled
    for figures in first:
        assert set(figures) == {"instructions", "loads", "stores", "d1_misses"}
        assert 5_000 < figures["instructions"] < 500_000
        assert 0 < figures["loads"] + figures["stores"] < 2 * figures["instructions"]
        assert 10 < figures["d1_misses"] < 5_000
    assert len({figures["instructions"] for figures in first}) == 2
    again = counted(spec, place / "store", "--again", "passed")
    assert [job["measurements"] for job in again] == first
    assert all(job["command"][:3] == ["qemu-x86_64", "-cpu", "max"] for job in again)


def call_again(store: Path, job: dict[str, Any], folder: Path, *before: str, **variables: str) -> dict[str, Any]:
    """What counts.json says where the job's command runs by hand, in another folder, by another path of the store."""
    (environment,) = (
        path for path in (store / "environments").glob("runtime-3.13.0-x86_64-*") if (path / "counter.so").exists()
    )
    words = [
        word.format(counter=environment / "counter.so", sysroot=environment / "sysroot") for word in job["command"]
    ]
    tool = words.index("iree-benchmark-module")
    words[tool] = str(environment / "site" / "iree" / "_runtime_libs" / words[tool])
    folder.mkdir()
    for name, digest in job["inputs"].items():
        (blob,) = (store / "blobs").glob(f"{digest[:2]}/*{digest[2:]}")
        shutil.copyfile(blob, folder / name)
    command = [*before, str(environment / "emulator"), *words[1:]]
    subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=True, timeout=60)
    return json.loads((folder / "counts.json").read_text())


RENAMED = ("unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', "n" * 60)
"""The name of a machine is kept by the program, and a long one in memory that others want, too."""


def test_another_machine_and_another_place_count_the_same(place):
    spec = write_spec(place / "spec", compilers=["3.8.0", "3.13.0"], runtimes=["3.8.0", "3.13.0"], stages=STAGES)
    job = counted(spec, place / "store")[-1]
    (place / ("a" * 60)).symlink_to(place / "store")
    first = call_again(place / "store", job, place / "one")
    figures = [here - clock for here, clock in zip(first["calls"][3], first["calls"][4], strict=True)]
    assert [*figures, *first["d1_misses"]] == list(job["measurements"].values())
    assert call_again(place / ("a" * 60), job, place / ("b" * 90), LONG="x" * 3000, PATH=os.defpath) == first
    renames = subprocess.run([*RENAMED, "true"], capture_output=True, check=False).returncode == 0
    if renames:
        assert call_again(place / "store", job, place / "renamed", *RENAMED, PATH=os.defpath) == first
    else:
        pytest.skip("NOT TESTED: another name of the machine, which this one forbids")


def test_it_is_reused_and_stands_in_the_table(place):
    ran = good("run", place / "spec" / "square.toml", "--store", place / "store")
    assert ran.jobs_run == 0
    assert "instructions" in ran.out and "loads" in ran.out and "stores" in ran.out


WORK = """func.func @main(%x: tensor<{n}xf32>) -> tensor<{n}xf32> {{
  %y = math.exp %x : tensor<{n}xf32>
  %z = arith.addf %y, %x : tensor<{n}xf32>
  return %z : tensor<{n}xf32>
}}
"""
SIZES = (128_000, 128_640)
"""The second one has 0.5 % more to do in its one dispatch."""


@pytest.mark.full
def test_repeats_are_equal_and_half_a_per_cent_more_work_is_found(place):
    folder = place / "work"
    spec = write_spec(folder, compilers=["3.13.0"], runtimes=["3.13.0"], stages=STAGES, models=["small", "large"])
    rows = []
    for name, size in zip(("small", "large"), SIZES, strict=True):
        (folder / f"{name}.mlir").write_text(WORK.format(n=size))
        numpy.save(folder / f"{name}.npy", numpy.full(size, 0.5, "float32"))
        rows.append(f'[models.{name}]\nmlir = "{name}.mlir"\ninputs = ["{name}.npy"]\n')
    spec.write_text(spec.read_text(encoding="utf-8").partition("[models.")[0] + "".join(rows), encoding="utf-8")
    seen: list[list[int]] = []
    missed: list[list[int]] = []
    for number in range(10):
        again = ("--again", "passed") if number else ()
        jobs = counted(spec, place / "store", *again)
        seen.append([job["measurements"]["instructions"] for job in jobs])
        missed.append([job["measurements"]["d1_misses"] for job in jobs])
    small, large = zip(*seen, strict=True)
    for repeats in (small, large, *zip(*missed, strict=True)):
        assert max(repeats) - min(repeats) <= 0.0005 * min(repeats), repeats
    for one, other in zip(small, large, strict=True):
        assert 0.003 < other / one - 1 < 0.007, (one, other)


ARM = """
[builds.board]
source = "3.13.0"
toolchain = "armel-static"
[axis.route.repaired]
compile = ["--iree-llvmcpu-embedded-linker-path={link}/iree-lld"]
"""


@pytest.mark.full
def test_a_board_that_nobody_has_is_counted(place):
    spec = write_spec(place / "arm", compilers=["3.13.0"], runtimes=["board"], stages=STAGES, more=ARM)
    text = spec.read_text(encoding="utf-8")
    text = text.replace("[axes]", '[axes]\ntarget = "armv6"\nroute = "repaired"')
    spec.write_text(text, encoding="utf-8")
    (first,) = counted(spec, place / "store")
    assert first["command"][:3] == ["qemu-arm", "-cpu", "arm1176"]
    assert 5_000 < first["measurements"]["instructions"] < 500_000
    (again,) = counted(spec, place / "store", "--again", "passed")
    assert again["measurements"] == first["measurements"]


def test_what_cannot_be_counted_is_refused_with_the_reason(place):
    here = Path("/proc/cpuinfo").read_text()
    hows = ["plain", "threads", *(["avx512"] if " avx512vl" in here else [])]
    more = "".join(
        f"[axis.how.{name}]\n{flags}\n"
        for name, flags in {
            "plain": "",
            "threads": 'run = ["--device=local-task"]',
            "avx512": 'compile = ["--iree-llvmcpu-target-cpu=x86-64-v4"]',
        }.items()
        if name in hows
    )
    spec = write_spec(place / "refused", compilers=["3.13.0"], runtimes=["3.13.0"], stages=STAGES, more=more)
    spec.write_text(spec.read_text().replace("[axes]", f"[axes]\nhow = {json.dumps(hows)}"), encoding="utf-8")
    ran = good("run", spec, "--store", place / "store", "--format", "json")
    document = json.loads(ran.out)
    ends = {
        cell["axes"]["how"]: document["jobs"][cell["evidence"]["beside"][0]]["outcome"] for cell in document["cells"]
    }
    assert ends == {how: "passed" if how == "plain" else "untested" for how in hows}
    assert {cell["outcome"] for cell in document["cells"]} == {"passed"}
    shown = good("show", spec, "--store", place / "store").out
    assert "another thread ran during a call" in shown
    assert ("AVX-512 code, which this emulator does not have" in shown) is ("avx512" in hows)


@pytest.mark.full
def test_threads_are_refused_on_another_machine_and_by_the_profiler(place):
    more = '[axis.how.threads]\nrun = ["--device=local-task"]\n'
    stages = (*STAGES, "profile")
    spec = write_spec(place / "threads", compilers=["3.13.0"], runtimes=["3.13.0"], stages=stages, more=more)
    axes = '[axes]\ntarget = ["x86_64", "aarch64"]\nhow = "threads"'
    spec.write_text(spec.read_text().replace("[axes]", axes), encoding="utf-8")
    document = json.loads(good("run", spec, "--store", place / "store", "--format", "json", timeout=900).out)
    for cell in document["cells"]:
        measuring = [document["jobs"][key] for key in cell["evidence"]["beside"]]
        assert [(job["stage"], job["outcome"]) for job in measuring] == [
            ("count", "untested"),
            ("profile", "untested"),
        ]
        assert not any(job.get("measurements") for job in measuring)
        reason = cell["evidence"]["reason"]
        assert all(f"untested at {job['stage']}" in reason for job in measuring)
        assert reason.count("another thread ran during a call") == 2


@pytest.mark.parametrize(("table", "said"), [
    ('counter = ["qemu-x86_64", "-cpu", "pentium9", "-plugin", "{counter}", "-L", "{sysroot}"]', "pentium9"),
    ('counter = ["qemu-x87", "-plugin", "{counter}", "-L", "{sysroot}"]', "have no qemu-x87, expected"),
    ("", "the target names no `counter`"),
])  # fmt: skip
def test_a_cpu_that_the_emulator_does_not_have_is_untested(place, table, said):
    folder = place / f"cpu{len(list(place.iterdir()))}"
    target = f'[targets.other]\nmachine = "x86_64"\ncpu = "x86-64-v3"\n{table}\n'
    spec = write_spec(folder, compilers=["3.13.0"], runtimes=["3.13.0"], stages=(*STAGES, "profile"), more=target)
    spec.write_text(spec.read_text().replace("[axes]", '[axes]\ntarget = "other"'), encoding="utf-8")
    ran = matrix("run", spec, "--store", place / "store", "--format", "json")
    document = json.loads(ran.out)
    assert said in ran.err + document["cells"][0]["evidence"].get("reason", "")
    assert not [job for job in document["jobs"].values() if job["stage"] in ("count", "profile")]
    assert not document.get("profiles")


@pytest.mark.parametrize(("change", "said"), [
    ("int broken(", "cannot be compiled"),
    ("int more(void) { return 1; }", "is not the pinned one"),
])  # fmt: skip
def test_a_plugin_that_is_not_the_pinned_one_counts_nothing(place, change, said):
    data = place / f"data{len(list(place.iterdir()))}"
    shutil.copytree(ROOT / "images" / "counter", data / "images" / "counter")
    for path in (*(ROOT / "images").iterdir(), ROOT / "scripts"):
        to = data / path.relative_to(ROOT)
        if not to.exists():
            to.symlink_to(path)
    with (data / "images" / "counter" / "counter.c").open("a") as file:
        file.write(change)
    spec = write_spec(place / "plugin", compilers=["3.13.0"], runtimes=["3.13.0"], stages=STAGES)
    pinned = data / "images" / "counter" / "counter.sha256"
    pinned.write_text(pinned.read_text().replace(pinned.read_text()[:8], change.encode().hex()[:8]))
    ran = matrix("run", spec, "--store", place / "store", "--format", "json", IREE_MATRIX_DATA=str(data))
    assert ran.status == 4
    assert said in ran.err
    assert not [job for job in json.loads(ran.out)["jobs"].values() if job["stage"] == "count"]
