"""What must hold before a model is tried: C programs run on the emulated board, and the emulator refuses newer code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from matrix.builds.board_programs import CPU, EVERYTHING, BoardTools, Ended

HELLO = "1.4142135623730951 2.71828175"
"""sqrt(2) in double and expf(1) in float (the float nearest to e, to nine digits)."""
ORACLE = ("-march=armv7-a", "-marm", "-mfpu=vfpv3-d16", "-mfloat-abi=softfp")
"""Code with movw and movt, which an ARM1176 does not have. Not Thumb-2: an ARM1176 takes the halves of its instructions
for other ones, and runs on into a SIGSEGV."""


def check_board(
    tools: Mapping[str, BoardTools], hello: Path, folder: Path, *, say: Callable[[str], None]
) -> dict[str, str]:
    """`hello` is the C program, `folder` is for the programs. Returns the result of each check, by its name."""
    say(f"== hello world with libm, on {CPU}")
    checks = {f"hello {name}": _hello(each, hello, folder / name, say) for name, each in tools.items()}
    say(f"== the oracle: code for ARMv7 on {CPU}, and on {EVERYTHING}")
    return checks | _oracle(tools["armel-static"], hello, folder / "armv7", say)


def _hello(tools: BoardTools, source: Path, program: Path, say: Callable[[str], None]) -> str:
    made = tools.compile(source, program)
    if not made.passed:
        return _told(made, say)
    found, facts = _verdict(tools.emulate(program, "2")), tools.facts(program)
    say(
        f"   hello {program.name}: {found}; {program.stat().st_size:,} bytes, {facts.architecture}, "
        f"{facts.floating_point}, {facts.float_abi} float ABI, needs {', '.join(facts.needs) or 'nothing'}"
    )
    return found


def _oracle(gcc: BoardTools, source: Path, program: Path, say: Callable[[str], None]) -> dict[str, str]:
    """The emulator must refuse what the board cannot run, or the test proves nothing."""
    words = tuple(word for word in gcc.toolchain.cc if not word.startswith("-m"))
    made = replace(gcc, toolchain=replace(gcc.toolchain, cc=words)).compile(source, program, ORACLE)
    checks = {}
    for cpu in (CPU, EVERYTHING):
        found = _verdict(gcc.emulate(program, "2", cpu=cpu)) if made.passed else _told(made, say)
        checks[f"ARMv7 code on {cpu}"] = found
        say(f"   QEMU_CPU={cpu}: {found}")
    return checks


def _verdict(ran: Ended) -> str:
    right = ran.passed and HELLO in ran.log
    return "right" if right else "wrong" if ran.passed else ran.ending


def _told(end: Ended, say: Callable[[str], None]) -> str:
    """How a failed command ended; its last lines are printed."""
    for line in end.log.splitlines()[-12:]:
        say(f"   | {line[:200]}")
    return end.ending
