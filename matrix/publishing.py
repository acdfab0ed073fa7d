"""The verb `site`: static pages from published runs. No store, no engine, no network."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from matrix.catalogue import data_root
from matrix.errors import EXIT_OK


def site(options: Namespace) -> int:
    """Builds the site from the named results, or from the committed ones."""
    from matrix.site.build import build_site

    results: list[Path] = options.results or sorted((data_root() / "results").glob("*.json"))
    built = build_site(options.output, results)
    print(f"{options.output}: {built.cells} cells on {built.pages} pages, {built.size / 1e6:.1f} MB")
    return EXIT_OK
