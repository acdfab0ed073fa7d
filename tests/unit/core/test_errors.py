"""Every error has an exit status of its own, and the README lists them all.

`python tests/unit/core/test_errors.py` writes the rows of the README anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from matrix.core import errors
from matrix.core.errors import MatrixError, SpecError

README = Path(__file__).parents[3] / "README.md"


def tree(root: type[MatrixError] = MatrixError) -> list[type[MatrixError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


def declared() -> list[type[MatrixError]]:
    """The errors of errors.py: subclasses elsewhere (processes, index) must inherit a status of these."""
    return [kind for kind in tree() if kind.__module__ == "matrix.core.errors"]


def test_statuses_are_all_different_and_a_shell_can_tell_them():
    codes = [kind.exit_code for kind in declared()]
    codes += [errors.EXIT_OK, errors.EXIT_WORSE_THAN_BASELINE, errors.EXIT_INTERRUPTED]
    assert len(set(codes)) == len(codes)
    assert all(0 <= code <= 125 or code == 130 for code in codes)


def test_every_error_says_what_it_means_and_inherits_nothing():
    for kind in declared():
        assert "exit_code" in vars(kind) and "meaning" in vars(kind), kind


def section(text: str) -> tuple[int, int]:
    """Where the rows of `## Exit statuses` begin and end, the marker that stands for them included."""
    found = re.search(
        r"(?m)^(?:\| (?:\d+|status) \|.*\n|\|-.*\n|<!-- exit codes -->\n)+", text[text.index("## Exit statuses") :]
    )
    assert found, "README.md has no table under `## Exit statuses`"
    start = text.index("## Exit statuses")
    return start + found.start(), start + found.end()


def rows_of(table: str) -> dict[int, str]:
    return {int(code): meaning for code, meaning in re.findall(r"(?m)^\| (\d+) \| (.+) \|$", table)}


def test_the_readme_lists_every_status():
    text = README.read_text(encoding="utf-8")
    rows = rows_of(text[slice(*section(text))])
    wanted = {kind.exit_code: kind.meaning for kind in declared()}
    missing = [f"| {code} | {meaning} |" for code, meaning in sorted(wanted.items()) if rows.get(code) != meaning]
    assert not missing, "run `python tests/unit/core/test_errors.py`: README.md lacks or misstates\n" + "\n".join(
        missing
    )
    others = {errors.EXIT_OK, errors.EXIT_WORSE_THAN_BASELINE, errors.EXIT_INTERRUPTED}
    assert set(rows) - set(wanted) <= others


def test_a_tip_is_kept_and_faults_are_counted():
    assert MatrixError("what", tip="do this").tip == "do this"
    error = SpecError("a.toml", ["one: x", "two: y"])
    assert (str(error), error.faults) == ("a.toml: 2 faults\n  one: x\n  two: y", ("one: x", "two: y"))


if __name__ == "__main__":
    readme = README.read_text(encoding="utf-8")
    begin, end = section(readme)
    known = rows_of(readme[begin:end]) | {kind.exit_code: kind.meaning for kind in declared()}
    lines = ["| status | meaning |", "|---|---|", *(f"| {code} | {known[code]} |" for code in sorted(known))]
    README.write_text(readme[:begin] + "\n".join(lines) + "\n" + readme[end:], encoding="utf-8")
