"""The verbs `site`, `report` and `picture`: pages from published runs. No store, no engine, no network."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from matrix.catalogue import data_root
from matrix.errors import EXIT_OK, UsageError
from matrix.results import run_files


def site(options: Namespace) -> int:
    """Builds the site from the named results, or from the committed ones."""
    from matrix.site.build import build_site

    built = build_site(options.output, _results(options))
    print(f"{options.output}: {built.cells} cells on {built.pages} pages, {built.size / 1e6:.1f} MB")
    return EXIT_OK


def picture(options: Namespace) -> int:
    """Writes the square of the named results, or of the committed ones, as SVG."""
    from matrix.site.build import first_square

    _write(options.output, first_square(_results(options)))
    print(f"{options.output}: the square, with its legend, its source and its date")
    return EXIT_OK


def report(options: Namespace) -> int:
    """Writes one self-contained page of the named results, or of the committed ones."""
    from matrix.site.onefile import one_file

    page = one_file(_results(options))
    _write(options.output, page)
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB, open it in a browser")
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {path} cannot be written: {error.strerror}", tip="name another file") from None


def _results(options: Namespace) -> tuple[Path, ...]:
    return tuple(options.results) or run_files(data_root() / "results")
