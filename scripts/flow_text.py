"""Reads the text that `iree-compile --compile-to=flow` prints: a function's dispatches, their operands and results.

IREE prints one operation on a line, and a line names what it defines and uses. So a few exact rules read it: an
operation that they do not know stays as it is. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

OPEN, CLOSE = "(<[{", ")>]}"
VALUE = re.compile(r"%[A-Za-z0-9_$.-]+(?:#\d+)?")
DEFINES = re.compile(r"\s*(?P<names>%[\w$.-]+(?::\d+)?(?:, %[\w$.-]+(?::\d+)?)*) = (?P<operation>[\w.]+)")
ENTRY = re.compile(r"@(?P<executable>\"[^\"]+\"|[\w$.-]+)::@(?P<entry>\"[^\"]+\"|[\w$.-]+)")
PLACE = re.compile(r'(?<! at )"(?P<file>[^"]+)":(?P<line>\d+):\d+')
"""Where an operation stands in a file; not where it is called from."""
ELEMENTS = frozenset({"f16", "f32", "f64", "i8", "i16", "i32", "i64"})
"""What an .npy file holds as the runtime writes it."""
DEVICE = "#hal.device.target<"


class Unreadable(Exception):
    """The text has something that cannot be cut."""


@dataclass(frozen=True)
class Dispatch:
    """One call of an executable. `operands` and `results` are (value, type), `line` is its place in the body."""

    line: int
    executable: str
    entry: str
    operands: "tuple[tuple[str, str], ...]"
    results: "tuple[tuple[str, str], ...]"
    text: str


@dataclass
class Flow:
    """A module: the lines before its function and after it, the function's arguments and its body.

    `types` are those of the values that dispatches take and make, `defined` the line of the body that defines a value,
    `outputs` the values that the function returns.
    """

    head: "list[str]"
    tail: "list[str]"
    arguments: "list[tuple[str, str]]"
    body: "list[str]"
    dispatches: "list[Dispatch]" = field(default_factory=list)
    types: "dict[str, str]" = field(default_factory=dict)
    defined: "dict[str, int]" = field(default_factory=dict)
    outputs: "list[str]" = field(default_factory=list)
    elsewhere: int = 0
    """Dispatches in initialisers and in other functions."""


def closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one at `start`. `->` closes nothing, nor does what is in quotes."""
    depth, place, quoted = 0, start, False
    while place < len(text):
        letter = text[place]
        if quoted:
            place += letter == "\\"
            quoted = letter != '"'
        elif letter == '"':
            quoted = True
        elif letter in OPEN:
            depth += 1
        elif letter in CLOSE and not (letter == ">" and text[place - 1] == "-"):
            depth -= 1
            if depth == 0:
                return place
        place += 1
    raise Unreadable(f"a bracket without its end: {text[start : start + 80]}")


def split(text: str) -> "list[str]":
    """The parts between commas that are in no bracket."""
    parts, depth, quoted, last = [], 0, False, 0
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter in OPEN:
            depth += 1
        elif letter in CLOSE and not (letter == ">" and text[place - 1] == "-"):
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[last:place].strip())
            last = place + 1
    rest = text[last:].strip()
    return [*parts, rest] if rest else parts


def without_places(line: str) -> str:
    """A line without its `loc(…)`, wherever they stand."""
    while (start := line.find(" loc(")) >= 0:
        line = line[:start] + line[closing(line, start + 4) + 1 :]
    return line


def names_of(line: str) -> "list[str]":
    """The values that a line defines; `%3:2` are `%3#0` and `%3#1`."""
    matched = DEFINES.match(line)
    found: "list[str]" = []
    for word in matched["names"].split(", ") if matched else []:
        name, _, count = word.partition(":")
        found += [f"{name}#{number}" for number in range(int(count))] if count else [name]
    return found


def operation_of(line: str) -> str:
    """The name of a line's operation; empty for a line that begins none."""
    matched = DEFINES.match(line)
    return matched["operation"] if matched else line.strip().partition(" ")[0].partition("(")[0]


def read_dispatch(line: str, number: int) -> Dispatch:
    """A line `%5 = flow.dispatch @a::@b(%3, %4) : (…) -> …`. Raises Unreadable."""
    text = without_places(line)
    entry = ENTRY.search(text)
    if entry is None or "flow.dispatch {" in text:
        raise Unreadable(f"a dispatch of several entry points: {text.strip()[:120]}")
    place = entry.end()
    if text[place : place + 1] == "[":
        place = closing(text, place) + 1
    end = closing(text, place)
    values = split(text[place + 1 : end])
    start = text.index(" : (", end) + 3
    stop = closing(text, start)
    types = split(text[start + 1 : stop])
    of = paired(values, types)
    after = text[stop + 1 :].strip()[len("->") :].strip()
    made = split(after[1:-1] if after.startswith("(") else after)
    results = paired(names_of(text), [result_type(each, dict(of)) for each in made])
    return Dispatch(
        line=number,
        executable=entry["executable"].strip('"'),
        entry=entry["entry"].strip('"'),
        operands=tuple(of),
        results=tuple(results),
        text=line,
    )


def paired(values: "list[str]", types: "list[str]") -> "list[tuple[str, str]]":
    """Each value with its type. Raises Unreadable."""
    if len(values) != len(types):
        raise Unreadable(f"{len(values)} values with {len(types)} types: {', '.join(values)[:120]}")
    return [(value, types[place]) for place, value in enumerate(values)]


def result_type(word: str, types: "dict[str, str]") -> str:
    """`%4` is tied to an operand and has its type; `%4 as tensor<…>` says another one."""
    if not word.startswith("%"):
        return word
    value, _, other = word.partition(" as ")
    return other or types[value]


def exportable(kind: str) -> bool:
    """Whether a value of a type can be an .npy file: a tensor of known elements without an encoding."""
    matched = re.match(r"tensor<(?:[\d?]+x)*(?P<element>\w+)>(?:\{.*\})?$", kind)
    return bool(matched) and matched["element"] in ELEMENTS


def read_flow(text: str, function: str) -> Flow:
    """The module with the function of that name, or the one that it waits for. Raises Unreadable."""
    lines = text.splitlines()
    head: "list[str]" = []
    tail: "list[str]" = []
    found: "list[str]" = []
    names = [f"  util.func public @{name}(" for name in (f"{function}$async", function)]
    starts = [place for name in names for place, line in enumerate(lines) if line.startswith(name)]
    if not starts:
        raise Unreadable(f"no function {function}, expected one with dispatches")
    place = 0
    while place < len(lines):
        if lines[place].startswith("  util.func public"):
            end = next(number for number in range(place, len(lines)) if lines[number].startswith("  }"))
            if place == starts[0]:
                found = lines[place : end + 1]
            place = end + 1
        else:
            (tail if found else head).append(lines[place])
            place += 1
    signature = without_places(found[0])
    opened = signature.index("(")
    words = [word.split(": ", 1) for word in split(signature[opened + 1 : closing(signature, opened)])]
    flow = Flow(head=head, tail=tail, arguments=[(name, kind) for name, kind in words], body=found[1:-1])
    flow.elsewhere = sum("= flow.dispatch @" in line for line in (*head, *tail))
    read_body(flow)
    return flow


def read_body(flow: Flow) -> None:
    """Fills in what the body says, and takes the waiting out of it: the function is called, and returns when it is
    done. Raises Unreadable."""
    fences = {name for name, kind in flow.arguments if kind.startswith("!hal.fence")}
    flow.arguments = [each for each in flow.arguments if each[0] not in fences]
    body: "list[str]" = []
    waited: "set[str]" = set()
    for line in flow.body:
        operation = operation_of(line)
        if line.startswith("  ^") or operation.startswith("cf."):
            raise Unreadable("the function has branches: which dispatches run is not known before it runs")
        if operation == "flow.dispatch" and not line.startswith("    %"):
            raise Unreadable("a dispatch in a loop or a condition: it may run often, or not at all")
        if operation in ("hal.tensor.barrier", "hal.tensor.export"):
            given = {name: kind for name, kind in returned(line) if name not in waited}
            flow.types.update(given)
            flow.outputs += [name for name in given if name not in flow.outputs]
            waited.update(names_of(line))
        ended = operation in ("hal.tensor.barrier", "hal.tensor.export", "util.return")
        body.append("" if ended else re.sub(r"wait\(%[\w$.-]+\) => ", "", line))
    flow.body = body
    for number, line in enumerate(body):
        flow.defined.update({name: number for name in names_of(line)} if line.startswith("    %") else {})
        if operation_of(line) == "flow.dispatch":
            dispatch = read_dispatch(line, number)
            flow.dispatches.append(dispatch)
            flow.types.update(dict((*dispatch.operands, *dispatch.results)))


def returned(line: str) -> "list[tuple[str, str]]":
    """The tensors (value, type) that a barrier or an export hands on."""
    text = without_places(line)
    if "hal.tensor.barrier" in text:
        start = text.index("join(") + 4
        values, _, types = text[start + 1 : closing(text, start)].partition(" : ")
        return paired(split(values), split(types))
    matched = re.search(r"hal\.tensor\.export (?P<value>%[\w$.#-]+).*? : (?P<type>tensor<.*?) -> ", text)
    return [(matched["value"], matched["type"])] if matched else []


def devices(text: str) -> "list[tuple[int, int]]":
    """The places (from, to) of what a text says of the device that it is compiled for."""
    found, start = [], text.find(DEVICE)
    while start >= 0:
        end = closing(text, start + len(DEVICE) - 1) + 1
        found.append((start, end))
        start = text.find(DEVICE, end)
    return found


def for_device(lines: "list[str]", device: str) -> "list[str]":
    """The lines, with another device in the place of theirs."""
    made = []
    for line in lines:
        text = line
        for start, end in reversed(devices(line)) if DEVICE in line else []:
            text = text[:start] + device + text[end:]
        made.append(text)
    return made
