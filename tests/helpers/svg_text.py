"""Where the texts of an SVG are, by the metrics of the fonts that matplotlib brings: no browser is needed.

Knows what our pictures use: `x`, `y`, `font-size`, `font-weight`, `text-anchor`, `textLength`, `style`, and transforms,
on the text or a group around it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from matplotlib.ft2font import FT2Font

SLACK = 0.5
"""Pixels by which two texts, or a text and the frame, may be in each other: antialiasing, kerning."""
ABOVE, BELOW = 0.73, 0.24
"""Of the font's size: how far capitals and descenders of DejaVu Sans reach from the baseline."""
Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1, 0, 0, 1, 0, 0)


@dataclass(frozen=True, kw_only=True)
class TextBox:
    text: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: TextBox) -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > SLACK and down > SLACK


def text_faults(svg: str | bytes) -> list[str]:
    """The texts that leave the frame, and the pairs that overlap."""
    root = ElementTree.fromstring(svg)
    left, top, wide, high = frame(root)
    boxes = list(text_boxes(root))
    outside = [
        f"{box.text!r} leaves the frame: {box}"
        for box in boxes
        if min(box.left - left, box.top - top, left + wide - box.right, top + high - box.bottom) < -SLACK
    ]
    ordered = sorted(boxes, key=lambda box: box.left)
    for place, box in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if other.left >= box.right:
                break
            if box.overlaps(other):
                outside.append(f"{box.text!r} and {other.text!r} overlap: {box}, {other}")
    return outside


def frame(root: ElementTree.Element) -> tuple[float, float, float, float]:
    if "viewBox" in root.attrib:
        left, top, wide, high = map(float, root.attrib["viewBox"].split())
        return left, top, wide, high
    return 0, 0, float(root.attrib["width"]), float(root.attrib["height"])


def text_boxes(root: ElementTree.Element) -> Iterator[TextBox]:
    yield from _walk(root, IDENTITY, {})


def _walk(node: ElementTree.Element, outer: Matrix, inherited: dict[str, str]) -> Iterator[TextBox]:
    style = dict(re.findall(r"([\w-]+)\s*:\s*([^;]+)", node.attrib.get("style", "")))
    if font := style.get("font"):  # "bold 14px 'DejaVu Sans', sans-serif"
        style["font-size"] = re.search(r"([\d.]+)px", font)[1]
        style["font-weight"] = "bold" if re.match(r"(bold|[6-9]00)\b", font) else "normal"
    names = ("font-size", "font-weight", "text-anchor")
    own = inherited | {name: node.attrib[name] for name in names if name in node.attrib}
    own |= {name: style[name] for name in names if name in style}
    matrix = _product(outer, _transform(node.attrib.get("transform", "")))
    if node.tag.rpartition("}")[2] == "text" and (node.text or "").strip():
        yield _box(node, matrix, own)
    for child in node:
        yield from _walk(child, matrix, own)


def _box(node: ElementTree.Element, matrix: Matrix, style: dict[str, str]) -> TextBox:
    size = float(style.get("font-size", "16").removesuffix("px"))
    weight = style.get("font-weight", "normal")
    bold = weight == "bold" or (weight.isdigit() and int(weight) >= 600)
    wide = float(node.attrib.get("textLength") or width_of(node.text, size, bold))
    x, y = float(node.attrib.get("x", 0)), float(node.attrib.get("y", 0))
    x -= {"middle": wide / 2, "end": wide}.get(style.get("text-anchor", ""), 0)
    corners = [(x + dx, y + dy) for dx in (0, wide) for dy in (-ABOVE * size, BELOW * size)]
    a, b, c, d, e, f = matrix
    across = [a * px + c * py + e for px, py in corners]
    down = [b * px + d * py + f for px, py in corners]
    return TextBox(text=node.text, left=min(across), top=min(down), right=max(across), bottom=max(down))


@functools.cache
def _font(bold: bool) -> FT2Font:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))
    font.set_size(1000, 72)
    return font


@functools.cache
def _advance(letter: str, bold: bool) -> float:
    """Of the font's size; 1 for a letter that the font lacks."""
    font = _font(bold)
    if not font.get_char_index(ord(letter)):
        return 1.0
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 1000


def width_of(text: str, size: float, bold: bool = False) -> float:
    return size * sum(_advance(letter, bold) for letter in text)


def _transform(text: str) -> Matrix:
    made = IDENTITY
    for name, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", text):
        made = _product(made, _step(name, [float(each) for each in re.split(r"[\s,]+", inside.strip())]))
    return made


def _step(name: str, values: list[float]) -> Matrix:
    if name == "translate":
        return 1, 0, 0, 1, values[0], values[1] if len(values) > 1 else 0
    if name == "scale":
        return values[0], 0, 0, values[-1], 0, 0
    if name == "rotate":
        turn = math.radians(values[0])
        around: Matrix = (math.cos(turn), math.sin(turn), -math.sin(turn), math.cos(turn), 0, 0)
        if len(values) == 1:
            return around
        x, y = values[1:]
        return _product(_product((1, 0, 0, 1, x, y), around), (1, 0, 0, 1, -x, -y))
    assert name == "matrix", name
    a, b, c, d, e, f = values
    return a, b, c, d, e, f


def _product(one: Matrix, two: Matrix) -> Matrix:
    a, b, c, d, e, f = one
    g, h, i, j, k, m = two
    return a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * m + e, b * k + d * m + f
