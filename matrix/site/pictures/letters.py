"""How wide a text is in a picture, and its lines: an SVG neither wraps nor clips, so who draws has to know. Pure.

The widths are those of DejaVu Sans, the widest of the usual sans-serif fonts: what fits in it fits in the others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

WIDTHS = (
    (318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337),
    (636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531),
    (1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787),
    (603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500),
    (500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612),
    (635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838),
)
"""Thousandths of the font's size, for the letters from U+0020 to U+007E, 16 to a row."""
OTHER, WIDE = 1.0, 1.05
"""Of the font's size: any other letter, and one of a wide script."""
BOLD = 1.2
"""The most by which bold is wider, over a word."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """In the unit of `size`, rather too much than too little."""
    return sum(map(_letter, text)) * size * (BOLD if bold else 1.0)


def _letter(letter: str) -> float:
    place = ord(letter) - 0x20
    if 0 <= place < 95:
        return WIDTHS[place // 16][place % 16] / 1000
    return WIDE if unicodedata.east_asian_width(letter) in "WF" else OTHER


def text_lines(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """The text in lines that fit. A word that is wider than a line is broken."""
    lines = [""]
    for word in _pieces(text, width, size, bold):
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


def _pieces(text: str, width: float, size: float, bold: bool) -> Iterator[str]:
    for word in re.split(r"\s+", text.strip()):
        part = ""
        for letter in word:
            if part and text_width(part + letter, size, bold=bold) > width:
                yield part
                part = ""
            part += letter
        yield part


def shortened(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """The text, cut to what fits, with an ellipsis if it was."""
    if text_width(text, size, bold=bold) <= width:
        return text
    kept = text
    while kept and text_width(kept + ELLIPSIS, size, bold=bold) > width:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS
