"""A function of an MLIR file as its operations, and the smaller files that some of them make. Pure; text only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

_HEADER = re.compile(r"^\s*func\.func\s+(?:public\s+|private\s+)?@(?P<name>[\w$.-]+)\((?P<rest>.*)\{\s*$")
_ATTRIBUTES = re.compile(r"\battributes\s+(\{.*\})\s*$")
_RESULTS = re.compile(r"^\s*(%[\w$.-]+(?::\d+)?(?:\s*,\s*%[\w$.-]+(?::\d+)?)*)\s*=\s")
_VALUE = re.compile(r"%[\w$.-]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TENSOR = re.compile(r"!torch\.vtensor<[^()]*>|tensor<[^()]*>")
_ENDS = ("return", "func.return", "util.return")
_RESOURCE = re.compile(r'^\s*"?(?P<name>[\w$.-]+)"?:\s*"0x')
_USED_RESOURCE = re.compile(r'dense_resource<"?([\w$.-]+)"?>')


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOperation:
    """An operation with all that is inside of it. `type` is that of its one result where it is a tensor, else ''."""

    text: str
    results: tuple[str, ...]
    uses: tuple[str, ...]
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MlirFunction:
    """The largest function of a file: `before` and `after` are the lines around it, `arguments` pairs of name and
    type."""

    before: tuple[str, ...]
    name: str
    arguments: tuple[tuple[str, str], ...]
    attributes: str
    operations: tuple[BodyOperation, ...]
    after: tuple[str, ...]

    def file_of(self, kept: Collection[int]) -> str:
        """The file with these operations alone, by their places. A tensor that none of them makes is an argument, a
        tensor that none of them uses is returned; what else they use comes along. '' if no tensor would be returned."""
        places, given = self._whole(kept)
        operations = [self.operations[place] for place in sorted(places)]
        used = {name for each in operations for name in each.uses}
        returned = [(each.results[0], each.type) for each in operations if each.type and each.results[0] not in used]
        if not returned:
            return ""
        arguments = [pair for pair in self.arguments if pair[0] in used]
        arguments += [(self.operations[place].results[0], self.operations[place].type) for place in sorted(given)]
        types = ", ".join(type_ for _, type_ in returned)
        header = f"func.func @{self.name}({', '.join(f'{name}: {type_}' for name, type_ in arguments)}) -> ({types})"
        end = f"return {', '.join(name for name, _ in returned)} : {types}"
        body = [f"{header}{self.attributes} {{", *(each.text for each in operations), f"  {end}", "}"]
        lines = [*self.before, *body, *_needed(self.after, "\n".join(body))]
        return "\n".join(lines).strip("\n") + "\n"

    def size_of(self, kept: Collection[int]) -> int:
        """How many operations the file of these has."""
        return len(self._whole(kept)[0])

    def _whole(self, kept: Collection[int]) -> tuple[set[int], set[int]]:
        """The places of these operations and of all that must come along; and of those whose tensor is given."""
        makers = {name: place for place, each in enumerate(self.operations) for name in each.results}
        places, given, todo = set(kept), set[int](), sorted(kept)
        while todo:
            for name in self.operations[todo.pop()].uses:
                maker = makers.get(name)
                if maker is None or maker in places:
                    continue
                if self.operations[maker].type:
                    given.add(maker)
                else:
                    places.add(maker)
                    todo.append(maker)
        return places, given - places


def read_function(text: str) -> MlirFunction | None:
    """The largest function; None where the file is not as tools print it: one block, an operation on each line or
    more."""
    lines = text.splitlines()
    found = [place for place, line in enumerate(lines) if _HEADER.match(line)]
    ends = {place: end for place in found if (end := _end_of(lines, place)) is not None}
    if not ends:
        return None
    start = max(ends, key=lambda place: ends[place] - place)
    header = _HEADER.match(lines[start])
    texts = _grouped(lines[start + 1 : ends[start]])
    arguments = _arguments(header["rest"]) if header else None
    if header is None or texts is None or arguments is None or not texts[-1].lstrip().startswith(_ENDS):
        return None
    attributes = _ATTRIBUTES.search(header["rest"])
    return MlirFunction(
        before=tuple(lines[:start]),
        name=header["name"],
        arguments=arguments,
        attributes=f" attributes {attributes[1]}" if attributes else "",
        operations=tuple(map(_operation, texts[:-1])),
        after=tuple(lines[ends[start] + 1 :]),
    )


def _end_of(lines: Sequence[str], start: int) -> int | None:
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    return next((place for place in range(start + 1, len(lines)) if lines[place].rstrip() == indent + "}"), None)


def _grouped(lines: Iterable[str]) -> list[str] | None:
    """The text of each operation, with its regions; None for more than one block, or none."""
    found: list[str] = []
    depth = 0
    for line in lines:
        if not depth and line.lstrip().startswith("^"):
            return None
        if depth:
            found[-1] += "\n" + line
        elif line.strip() and not line.lstrip().startswith("//"):
            found.append(line)
        bare = _STRING.sub("", line)
        depth += sum(bare.count(letter) for letter in "({[") - sum(bare.count(letter) for letter in ")}]")
        if depth < 0:
            return None
    return found if found and not depth else None


def _operation(text: str) -> BodyOperation:
    matched = _RESULTS.match(text)
    words = matched[1] if matched else ""
    results = tuple(_VALUE.findall(words))
    used = dict.fromkeys(_VALUE.findall(_STRING.sub("", text[len(matched[0]) :] if matched else text)))
    one = len(results) == 1 and ":" not in words
    return BodyOperation(text=text, results=results, uses=tuple(used), type=_tensor_of(text) if one else "")


def _tensor_of(text: str) -> str:
    """The type after the last arrow, or else after the last colon, if it is a tensor. It may be none of the result's:
    the file that it then makes is refused by every compiler, and so by who asks it."""
    _, arrow, after = text.rpartition("->")
    said = (after if arrow else text.rpartition(" : ")[2]).strip()
    return said if _TENSOR.fullmatch(said) else ""


def _arguments(rest: str) -> tuple[tuple[str, str], ...] | None:
    """The names and types of `%a: tensor<4xf32> {some = 1}, %b: …) -> …`; None for what has no end."""
    found = []
    for part in _parts(rest):
        if part is None:
            return None
        name, colon, type_ = part.partition(":")
        if colon:
            found.append((name.strip(), type_.strip().partition(" {")[0]))
    return tuple(found)


def _parts(rest: str) -> Iterator[str | None]:
    """What stands between commas up to the bracket that ends the list; None if there is no such bracket."""
    depth, begun = 0, 0
    for place, letter in enumerate(rest):
        if letter == ")" and not depth:
            yield rest[begun:place]
            return
        depth += (letter in "(<[{") - (letter in ")>]}")
        if letter == "," and not depth:
            yield rest[begun:place]
            begun = place + 1
    yield None


def _needed(lines: Sequence[str], body: str) -> list[str]:
    """The lines after the function, without the resources that it does not use."""
    used = set(_USED_RESOURCE.findall(body))
    resources = [place for place, line in enumerate(lines) if _RESOURCE.match(line)]
    kept = [place for place in resources if (found := _RESOURCE.match(lines[place])) and found["name"] in used]
    if resources and not kept:
        start = next((place for place, line in enumerate(lines) if line.startswith("{-#")), None)
        return list(lines if start is None else lines[:start])
    dropped = set(resources) - set(kept)
    text = {place: lines[place].rstrip().rstrip(",") + ("," if place != kept[-1] else "") for place in kept}
    return [text.get(place, line) for place, line in enumerate(lines) if place not in dropped]
