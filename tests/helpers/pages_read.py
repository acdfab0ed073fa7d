"""Reads a built site as a browser would: links, anchors, and what a page may not hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CONTENT = ("href", "src", "action", "data", "poster", "srcset")


@dataclass
class Page(HTMLParser):
    """What a page points at, what it offers as a target, and what it says."""

    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [found[name] or "" for name in CONTENT if name in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.faults += [f"{tag} {name}" for name in found if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.faults.append(f"inline {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def read_site(folder: Path) -> dict[Path, Page]:
    return {path: read_page(path) for path in sorted(folder.rglob("*.html"))}


RELEASE_NOTES = re.compile(
    r"https://github\.com/(?:google-ai-edge|iree-org|microsoft|openvinotoolkit|pytorch)/[A-Za-z-]+/releases/tag/[A-Za-z0-9._-]+"
)


def broken_links(folder: Path, pages: dict[Path, Page]) -> list[str]:
    """Links that lead out of the site (but to the notes of a release), to no file, or to no anchor."""
    known = {path: set(page.ids) for path, page in pages.items()}
    files = {path.resolve() for path in folder.rglob("*") if path.is_file()}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            if RELEASE_NOTES.fullmatch(link):
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            outside = parts.scheme or parts.netloc or target not in files
            searched = target.name == "search.html" and fragment.startswith("q=")  # the words to look for
            if outside or (fragment and not searched and fragment not in known.get(target, set())):
                broken.append(f"{path.relative_to(folder)}: {link}")
    return broken
