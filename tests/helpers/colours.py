"""Contrast of colours, as WCAG 2 computes it."""

from __future__ import annotations


def contrast(one: str, two: str) -> float:
    """Of `#rrggbb` or `#rgb`, from 1 to 21."""
    dark, light = sorted((_lightness(one), _lightness(two)))
    return (light + 0.05) / (dark + 0.05)


def _lightness(colour: str) -> float:
    digits = colour.removeprefix("#")
    wide = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(wide[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
