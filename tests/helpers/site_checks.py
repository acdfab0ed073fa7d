"""What every page of the site is held to."""

from __future__ import annotations

import subprocess
from pathlib import Path

from debian_programs import program

ROOT = Path(__file__).parents[2]


RESULTS = sorted((ROOT / "results").glob("*.json"))


PORTABILITY = ROOT / "results" / "portability.json"
API_RUNS = [ROOT / "results" / f"{name}.json" for name in ("models", "performance", "portability")]
"""The runs of the site whose API is tested."""


def assert_valid(folder: Path, paths: list[Path]) -> None:
    """By Debian's `tidy`."""
    words = [program("tidy", "tidy"), "-q", "-e", "--drop-empty-elements", "no", *map(str, paths)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def own_pages(folder: Path) -> list[Path]:
    """The pages below a folder of a built site, without those that only lead to one."""
    return [path for path in sorted(folder.rglob("*.html")) if not is_moved(path)]


def is_moved(path: Path) -> bool:
    return '<meta http-equiv="refresh"' in path.read_text(encoding="utf-8")
