"""What a run says in sentences, of all that is compared in it. Pure."""

from __future__ import annotations

from matrix.results.compared.exporters import groups, portability
from matrix.results.compared.targets import compare_builds, compare_targets
from matrix.results.measured.figures import Recompiled
from matrix.results.run import Run


def comparison_sentences(run: Run) -> tuple[str, ...]:
    """Which exporters write the same MLIR, and which compilers accept it; how targets differ. Empty if there is one of
    each."""
    return (*(group.words for group in groups(run)), *portability(run), *_targets(run))


def recompiled(run: Run) -> tuple[str, ...]:
    """What the repeated compiles show; empty if none was repeated."""
    told = []
    for row in run.compiled_again:
        ends = f"; {row.ends} of them did not end in the same outcome" if row.ends else ""
        if row.unequal:
            told.append(
                f"compiler {row.compiler} is not deterministic: {row.unequal} of {row.modules} modules came out with "
                f"other bytes when compiled again{_classes(row)}{ends}"
            )
    steady = [row for row in run.compiled_again if not row.unequal]
    if steady:
        releases = ", ".join(row.compiler for row in steady)
        told.append(f"compiled again, the same bytes: all {sum(row.modules for row in steady)} modules of {releases}")
    return tuple(told)


def _classes(row: Recompiled) -> str:
    """`: VM bytecode in 4, dispatches in 1`; nothing where nobody looked."""
    found = sorted(row.differing.items(), key=lambda item: (-item[1], item[0]))
    return ": " + ", ".join(f"{name} in {count}" for name, count in found) if found else ""


def _targets(run: Run) -> tuple[str, ...]:
    """The sentences of a run with several targets, and of one with builds."""
    rows = (*compare_targets(run), *compare_builds(run))
    return tuple(sentence for row in rows for sentence in (row.words, *row.differences))
