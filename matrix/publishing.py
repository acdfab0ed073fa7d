"""The verbs `site` and `report`: pages from published runs. No store, no engine, no network."""

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


def report(options: Namespace) -> int:
    """Writes one self-contained page of the named results, or of the committed ones."""
    from matrix.site.onefile import one_file

    page = one_file(_results(options))
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--output: {options.output} cannot be written: {error.strerror}", tip="name another file"
        ) from None
    print(f"{options.output}: {len(page.encode()) / 1e6:.1f} MB, open it in a browser")
    return EXIT_OK


def _results(options: Namespace) -> tuple[Path, ...]:
    return tuple(options.results) or run_files(data_root() / "results")
