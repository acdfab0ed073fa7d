"""The linker's helpers and the wrapper on the emulated ARM1176, with the locked compiler and qemu.

`fmaf` is compared with exact arithmetic (`fractions`) on constructed cases: sums that lie on the middle between two
floats, and a hair beside it, where rounding twice is wrong.
"""

from __future__ import annotations

import math
import random
import re
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy
import pytest
from command_line import ROOT

from matrix.artifacts.program_audit import audit_program, names_of_this_machine
from matrix.builds import tools
from matrix.builds.board_check import HELLO, ORACLE
from matrix.builds.board_programs import CPU, EVERYTHING, BoardTools
from matrix.builds.linker import GCC, HELPER_FLAGS, LINKER_LIBRARIES
from matrix.builds.sources import pinned_sources, source_releases
from matrix.core.errors import HashMismatch
from matrix.plan.backends.iree.source_builds import CALLER

pytestmark = pytest.mark.real
Triple = tuple[float, float, float]
INFINITY = float("inf")


def bits(value: float) -> int:
    number: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return number


def as_float(number: Fraction, zero: float) -> float:
    """The float32 nearest to an exact number, ties to even; `zero` where it is exactly 0."""
    if number == 0:
        return zero
    size = abs(number)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent = exponent if Fraction(2) ** exponent <= size else exponent - 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    rounded = round(size / unit) * unit  # Fraction rounds halves to even
    value = INFINITY if rounded >= Fraction(2) ** 128 else float(rounded)
    return math.copysign(value, -1.0 if number < 0 else 1.0)


def exact(a: float, b: float, c: float) -> float:
    """fmaf by exact arithmetic. An exact 0 is negative only as a sum of negative zeros."""
    minus = math.copysign(1.0, a) * math.copysign(1.0, b) < 0 and math.copysign(1.0, c) < 0
    zero = -0.0 if minus and Fraction(a) * Fraction(b) == 0 and c == 0 else 0.0
    return as_float(Fraction(a) * Fraction(b) + Fraction(c), zero)


def twice_rounded(a: float, b: float, c: float) -> float:
    """What `(float)((double)a * b + c)` gives."""
    return as_float(Fraction(a * b + c), 0.0) if a * b + c else 0.0


def halves(seed: int, count: int) -> list[Triple]:
    """Products that are the middle of two floats, of every size down to below the subnormals, and an addend that is
    nothing or a hair to either side."""
    chosen = random.Random(seed)
    found: list[Triple] = []
    while len(found) < count:
        x, y = chosen.randrange(1, 1 << 13) | 1, chosen.randrange(1 << 11, 1 << 12) | 1
        if (x * y).bit_length() != 25:  # odd, with one bit more than a float has: a middle
            continue
        scale = chosen.choice((-160, -150, -149, -148, -130, -60, 0, 60, 100))
        shift = chosen.randrange(-20, 20)
        a, b = math.ldexp(x, scale // 2 + shift), math.ldexp(y, scale - scale // 2 - shift)
        hair = math.ldexp(chosen.choice((1.0, 1.5)), max(-149, scale - chosen.randrange(35, 80)))
        sign = chosen.choice((-1.0, 1.0))
        found += [(sign * a, b, addend) for addend in (0.0, hair, -hair)]
    return [triple for triple in found if all(abs(as_float(Fraction(x), 0.0)) == abs(x) for x in triple)]


def cancelling(seed: int, count: int) -> list[Triple]:
    """Sums of which almost everything cancels, and random ones of every size."""
    chosen = random.Random(seed)
    found: list[Triple] = []
    for _ in range(count):
        a, b = (as_float(Fraction(chosen.uniform(-4, 4)), 0.0) for _ in range(2))
        c = as_float(-Fraction(a) * Fraction(b), 0.0)
        found += [(a, b, c), (a, b, as_float(Fraction(c) * Fraction(1.0000001), 0.0))]
        found.append(tuple(struct.unpack("<fff", chosen.randbytes(12))))  # type: ignore[arg-type]
    return [triple for triple in found if all(math.isfinite(x) for x in triple)]


LARGEST = float(Fraction(2) ** 128 - Fraction(2) ** 104)
EDGES: list[Triple] = [
    (1 + 2**-12, 1 + 2**-12, 2**-80),
    (1 + 2**-12, 1 + 2**-12, -(2**-80)),
    (LARGEST, 1.0, 2.0**103),  # the middle between the largest float and infinity
    (LARGEST, 1.0, 2.0**102),
    (2.0**-149, 0.5, 0.0),
    (2.0**-149, 0.5, 2.0**-149),
    (2.0**-149, -0.5, 0.0),
    (0.0, 1.0, 0.0),
    (-0.0, 1.0, -0.0),
    (-0.0, 1.0, 0.0),
    (3.0, 2.0, -6.0),
]


def test_fmaf_is_correctly_rounded_on_arm1176(arm_board: BoardTools, tmp_path: Path) -> None:
    cases = [*EDGES, *halves(1, 3000), *cancelling(2, 1500)]
    naive = sum(bits(twice_rounded(*case)) != bits(exact(*case)) for case in cases)
    assert naive > 200, "the cases do not tell rounding once from rounding twice"
    got = fmaf_on_arm1176(arm_board, cases, tmp_path)
    wrong = [
        (case, got[index], bits(exact(*case))) for index, case in enumerate(cases) if got[index] != bits(exact(*case))
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)}, the first: {wrong[:3]}"


def test_fmaf_of_infinities_and_nans(arm_board: BoardTools, tmp_path: Path) -> None:
    nan = float("nan")
    cases = [
        (INFINITY, 1.0, 1.0),
        (1.0, 1.0, -INFINITY),
        (INFINITY, 0.0, 1.0),
        (INFINITY, 1.0, -INFINITY),
        (nan, 1.0, 1.0),
    ]
    got = fmaf_on_arm1176(arm_board, cases, tmp_path)
    assert got[:2] == [bits(INFINITY), bits(-INFINITY)]
    assert all(number & 0x7FFFFFFF > 0x7F800000 for number in got[2:])


def fmaf_on_arm1176(arm_board: BoardTools, cases: list[Triple], folder: Path) -> list[int]:
    program = table_program(arm_board, "fmaf", folder)
    lines = "".join(" ".join(f"{bits(x):08x}" for x in case) + "\n" for case in cases)
    return [int(line, 16) for line in asked(program, arm_board, lines).split()]


def table_program(arm_board: BoardTools, name: str, folder: Path) -> Path:
    """NAME_table.c with the helper NAME.c, which comes before the C library's."""
    helper, program = folder / "helper.o", folder / f"{name}_table"
    source, table = tools.images() / "link" / f"{name}.c", tools.images() / "smoke" / f"{name}_table.c"
    for words in (
        (*arm_board.toolchain.cc, *HELPER_FLAGS, "-c", str(source), "-o", str(helper)),
        (*arm_board.toolchain.cc, "-static", "-O2", "-fno-builtin", str(table), str(helper), "-o", str(program)),
    ):
        made = arm_board.run(words, LINKER_LIBRARIES)
        assert made.passed, made.log
    return program


def asked(program: Path, arm_board: BoardTools, lines: str) -> str:
    """What a table program answers on the emulated board."""
    argv = [arm_board.qemu, "-cpu", CPU, program]
    return subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=60, check=True).stdout


def test_rounding_to_whole_floats_on_arm1176(arm_board: BoardTools, tmp_path: Path) -> None:
    chosen = random.Random(3)
    values = [struct.unpack("<f", chosen.randbytes(4))[0] for _ in range(2000)]
    values += [n / 4 for n in range(-41, 42)] + [2.0**23 - 0.5, 2.0**22 + 0.5, 2.0**23, 2.0**24, -(2.0**31), 1e-45]
    values = [value for value in values if math.isfinite(value)] + [INFINITY, -INFINITY, -0.0]
    program = table_program(arm_board, "rounding", tmp_path)
    lines = asked(program, arm_board, "".join(f"{bits(value):08x}\n" for value in values)).splitlines()
    for value, line in zip(values, lines, strict=True):
        finite = math.isfinite(value)
        even = math.copysign(float(round(value)), value) if finite else value
        whole = math.copysign(float(math.trunc(value)), value) if finite else value
        assert [int(word, 16) for word in line.split()] == [bits(even), bits(even), bits(whole)], value


def test_the_oracle_refuses_code_for_armv7(arm_board: BoardTools, tmp_path: Path) -> None:
    source = tools.images() / "smoke" / "hello.c"
    for flags, ends in (((), {CPU: "passed"}), (ORACLE, {CPU: "SIGILL", EVERYTHING: "passed"})):
        made = arm_board.compile(source, tmp_path / "hello", flags)
        assert made.passed, made.log
        for cpu, ending in ends.items():
            ran = arm_board.emulate(tmp_path / "hello", "2", cpu=cpu)
            assert ran.ending == ending, ran.log
            assert (HELLO in ran.log) == (ending == "passed")


def test_the_audit_finds_this_machine_in_debug_sections_and_not_in_what_goes_on_a_board(
    arm_board: BoardTools, furnisher: tools.BuildTools, tmp_path: Path
) -> None:
    """A real program of Debian's C library: stripped it tells nothing, with debug sections it names the folder."""
    source, words = tools.images() / "smoke" / "hello.c", names_of_this_machine(furnisher.store)
    assert arm_board.compile(source, tmp_path / "stripped").passed
    clean = audit_program((tmp_path / "stripped").read_bytes(), "hello", words=words)
    assert not clean.leaks
    assert clean.sections[0][0] in (".text", ".rodata")
    line = (*arm_board.toolchain.cc, *arm_board.toolchain.link, "-g", str(source), "-o", str(tmp_path / "debug"), "-lm")
    assert arm_board.run(line, arm_board.toolchain.environment).passed
    found = audit_program((tmp_path / "debug").read_bytes(), "hello", words=words)
    assert found.size > clean.size
    assert f"a name of this machine: {furnisher.store}" in found.leaks


@pytest.fixture(scope="module")
def linker(furnisher: tools.BuildTools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wrapper in front of a program that writes down how it was called."""
    folder = tmp_path_factory.mktemp("linker")
    recorder = folder.parent / f"{folder.name}-recorder"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    recorder.chmod(0o755)
    furnisher.linker(folder, recorder)
    return folder


def called(linker: Path, *words: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [linker / "iree-lld", *words], cwd=cwd, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.splitlines()


def test_objects_of_another_machine_pass_through_untouched(linker: Path, tmp_path: Path) -> None:
    header = struct.pack("<4sBBB9xHHI", b"\x7fELF", 2, 1, 1, 1, 62, 1)
    (tmp_path / "host.o").write_bytes(header + bytes(64))
    (tmp_path / "notes.o").write_bytes(b"no ELF")
    words = ["-o", "out.so", "host.o", "notes.o", "-shared"]
    assert called(linker, *words, cwd=tmp_path) == words
    assert (tmp_path / "host.o").read_bytes() == header + bytes(64)


@pytest.mark.parametrize("abi", ["softfp", "hard"])
def test_an_arm_object_loses_its_own_fmaf_to_ours(
    abi: str, linker: Path, arm_board: BoardTools, tmp_path: Path
) -> None:
    """A local fmaf as IREE bundles it, called by an entry: after the wrapper it is weak, and the helpers are named."""
    source, module = tmp_path / "module.c", tmp_path / "module.o"
    source.write_text(
        "__attribute__((noinline)) static float fmaf(float a, float b, float c) { __builtin_trap(); }\n"
        "float entry(float a) { return fmaf(a, a, a); }\n"
    )
    flags = ("-mcpu=arm1176jzf-s", "-marm", "-mfpu=vfp", f"-mfloat-abi={abi}", "-fno-builtin", "-O1")
    made = arm_board.run((f"{GCC}gcc", *flags, "-c", str(source), "-o", str(module)), LINKER_LIBRARIES)
    assert made.passed, made.log
    words = called(linker, "module.o", "-shared", cwd=tmp_path)
    assert words[:2] == ["module.o", "-shared"]
    assert [Path(word).name for word in words[2:]] == [
        f"{abi}-fmaf.o",
        f"{abi}-unwind.o",
        f"{abi}-libhelpers.a",
        "libgcc.a",
    ]
    assert " W fmaf" in arm_board.run((f"{GCC}nm", str(module)), LINKER_LIBRARIES).log


MODULE = """
#include "iree/hal/local/executable_library.h"
static int add(const iree_hal_executable_environment_v0_t *e, const iree_hal_executable_dispatch_state_v0_t *state,
               const iree_hal_executable_workgroup_state_v0_t *w) {
  const float *in = state->binding_ptrs[0];
  float *out = state->binding_ptrs[1];
  for (size_t i = 0; i < state->binding_lengths[1] / sizeof(float); ++i) out[i] += in[i];
  return 0;
}
static const iree_hal_executable_dispatch_v0_t functions[] = {add};
static const iree_hal_executable_dispatch_attrs_v0_t attributes[] = {{.binding_count = BINDINGS}};
static const iree_hal_executable_library_v0_t library = {
    .exports = {.count = DISPATCHES, .ptrs = functions, .attrs = attributes}};
const iree_hal_executable_library_header_t **add_library_query(iree_hal_executable_library_version_t version,
                                                               const iree_hal_executable_environment_v0_t *e) {
  return (const iree_hal_executable_library_header_t **)&library;
}
"""


@pytest.mark.parametrize(
    ("dispatches", "bindings", "said"),
    [
        (1, 2, ""),
        (2, 2, "static library: the module has 2 dispatches, and nothing but the VM knows their order"),
        (1, 3, "static library: the dispatch has 3 bindings, the model 2 arrays"),
    ],
)
def test_a_program_with_a_module_in_it_starts_from_zeros(
    dispatches: int, bindings: int, said: str, arm_board: BoardTools, tmp_path: Path
) -> None:
    """What it learns an output's type and shape from holds other numbers, of which nothing may be in the output."""
    sources = (
        pinned_sources(tools.images() / "src", source_releases(tools.images() / "src")[0]).path / "runtime" / "src"
    )
    (tmp_path / "module.c").write_text(MODULE)
    (tmp_path / "query.h").write_text("#define LIBRARY_QUERY add_library_query\n")
    files = [str(ROOT / "scripts" / CALLER), str(tmp_path / "module.c"), f"-I{sources}", f"-I{tmp_path}"]
    chosen = (f"-DDISPATCHES={dispatches}", f"-DBINDINGS={bindings}")
    words = (*arm_board.toolchain.cc, *arm_board.toolchain.link, *chosen, *files, "-o", str(tmp_path / "program"))
    made = arm_board.run(words, arm_board.toolchain.environment)
    assert made.passed, made.log
    numbers = numpy.arange(5, dtype="float32")
    numpy.save(tmp_path / "input_0.npy", numbers)
    numpy.save(tmp_path / "types_0.npy", numbers + 100)
    line = [arm_board.qemu, "-cpu", CPU, tmp_path / "program", "--module=module.vmfb", "--device=local-sync"]
    line += ["--input=@input_0.npy", "--output=@output_0.npy"]
    ran = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (bool(said), said)
    if not said:
        assert numpy.array_equal(numpy.load(tmp_path / "output_0.npy"), numbers)


def test_a_crate_that_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cargo itself checks it: a changed checksum stands for a changed crate."""
    shutil.copytree(tools.images(), tmp_path / "images" / "armv6")
    lock = tmp_path / "images" / "armv6" / "src" / source_releases(tools.images() / "src")[0] / "Cargo.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r'(name = "eerie-sys".*?checksum = ")....', r"\g<1>0000", text, flags=re.DOTALL))
    assert lock.read_text() != text
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    with pytest.raises(HashMismatch, match="another one than locked"):
        pinned_sources(tools.images() / "src", source_releases(tools.images() / "src")[0])


def test_a_cpu_that_qemu_does_not_know_fails_loudly(arm_board: BoardTools, tmp_path: Path) -> None:
    assert arm_board.compile(tools.images() / "smoke" / "hello.c", tmp_path / "hello").passed
    ran = arm_board.emulate(tmp_path / "hello", "2", cpu="arm1177")
    assert ran.ending == "exit code 1"
    assert "arm1177" in ran.log or "CPU" in ran.log
