"""What is damaged, and what then reads it: as much of the program as reads such a file."""

from __future__ import annotations

import functools
import itertools
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from command_line import DATA, ROOT
from hostile_lines import hostile_logs
from modules import FILES, module
from mutations import as_toml, damaged_bytes, damaged_text, damaged_tree, doubled_key

RESULTS = ("portability", "performance", "exporters", "armv6", "models")
CELLS = 4
LOG_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`read` makes one damaged file in a folder and has it read; `seconds` of CPU time are the bound. `prepare` imports
    and reads the samples once, before the processes fork."""

    name: str
    read: Callable[[Random, Path], None]
    prepare: Callable[[], object]
    seconds: float = 2.0


# -- results files


@functools.cache
def _runs() -> tuple[dict[str, Any], ...]:
    """Real runs with few cells, and what these cells need: damage is found by more than by chance."""
    import numpy  # noqa: F401

    from matrix.answers import candidates, causes, differences, equality  # noqa: F401
    from matrix.results.files import converter
    from matrix.results.formats import FORMATS  # noqa: F401

    converter()
    small = [_smaller(json.loads((ROOT / "results" / f"{name}.json").read_text())) for name in RESULTS]
    old = [_smaller(json.loads(path.read_text())) for path in sorted((DATA / "format-1").glob("*.json"))]
    return (*small, *old)


def _smaller(run: dict[str, Any]) -> dict[str, Any]:
    cells = run["cells"]
    run["cells"] = cells[:: max(1, len(cells) // CELLS)]
    needed = {key for cell in run["cells"] for name in ("jobs", "beside") for key in cell["evidence"].get(name, ())}
    run["jobs"] = {key: job for key, job in run["jobs"].items() if key in needed}
    run["environments"] = dict(itertools.islice(run.get("environments", {}).items(), 3))
    for name, most in (("times", 1), ("modules", 3), ("sentences", 3)):
        run[name] = run.get(name, [])[:most]
    for table in run["times"]:
        table["rows"] = table["rows"][:3]
    return run


def read_results(chance: Random, folder: Path) -> None:
    run, path = chance.choice(_runs()), folder / "run.json"
    form = chance.randrange(6)
    if form == 0:
        content = damaged_text(json.dumps(run, indent=1), chance)
    elif form == 1:
        content = doubled_key(run, chance).encode("utf-8", "surrogatepass")
    else:
        content = json.dumps(damaged_tree(run, chance)).encode()
    path.write_bytes(content)
    show_results(path, run, chance)


def show_results(path: Path, before: dict[str, Any], chance: Random) -> None:
    """What every verb that reads results does with them."""
    from matrix.answers import causes, differences, equality
    from matrix.answers.candidates import DEFAULT_WEIGHTS, rank_compilers
    from matrix.answers.gates import load_gates
    from matrix.results.files import parse_run, read_run
    from matrix.results.formats import FORMATS

    run = read_run(path)
    FORMATS[chance.choice(list(FORMATS))](run).encode()
    match chance.randrange(4):
        case 0:
            other = parse_run(before, source="before")
            list(equality.comparison_lines(equality.compare_runs(other, run)))
        case 1:
            other = parse_run(before, source="before")
            differences.difference_lines(differences.diff_runs(run, other))
            report_release(run, other)
        case 2 if run.cells:
            cells, gates = causes.cells_of([run]), load_gates()
            for cell in cells:
                causes.cause_lines(causes.explain(cell, cells, gates), cell, gates)
        case _:
            rank_compilers([run], DEFAULT_WEIGHTS)


def report_release(run: Any, other: Any) -> None:
    """The report on the change between two runs, and the issue of every new failure."""
    from matrix.answers.differences import run_pairs
    from matrix.answers.releases.issue import failure_issue
    from matrix.answers.releases.report import report_lines
    from matrix.answers.releases.triage import triage

    for pairs in (run_pairs(run, other), run_pairs(other, run)):
        found = triage(pairs)
        assert "\n".join(report_lines("it", found, ())).encode()
        for group in found.accused:
            assert "\n".join(failure_issue(group, "the run", "before", "after")).encode()


# -- arrays, times


@functools.cache
def _arrays() -> tuple[bytes, ...]:
    import io

    import numpy

    found = [(DATA / name).read_bytes() for name in ("linear_input.npy", "linear_expected.npy")]
    for dtype in ("float16", "float64", "int8", "bool", "complex64"):
        stream = io.BytesIO()
        numpy.save(stream, numpy.ones((2, 3), dtype=dtype))
        found.append(stream.getvalue())
    return tuple(found)


def read_array(chance: Random, folder: Path) -> None:
    """As an output and as a reference."""
    from matrix.plan.spec import DEFAULT_TOLERANCE
    from matrix.results.judge import compare_outputs

    good = chance.choice(_arrays())
    spoilt = _spoilt_array(good, chance)
    for outputs, expected in (([spoilt], [good]), ([good], [spoilt]), ([spoilt], [spoilt])):
        assert compare_outputs(outputs, expected, DEFAULT_TOLERANCE).words


def _spoilt_array(content: bytes, chance: Random) -> bytes:
    """Damaged bytes, or a header that is hostile, of its right length or not."""
    if chance.random() < 0.5:
        return damaged_bytes(content, chance)
    shape = chance.choice(("(2, 3)", "(2**62,)", "(10**12,)", "(-1,)", "()", "(2, 3.5)", "'a'", "(1,)*40", "(" * 5000))
    descr = chance.choice(("'<f4'", "'|O'", "'<f8'", "[('a', '<f4')]", "'<U9999999'", "'|V0'", "7", "'<c16'", "'<m8'"))
    order = chance.choice(("False", "True", "None", "[]" * 999, "-" * 5000 + "1", "[" * 5000, "{" * 400))
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    length = chance.choice((len(header), len(header), 0, 1, 0xFFFF))
    version = chance.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = length.to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header + bytes(chance.choice((0, 24, 1000)))


@functools.cache
def _timings() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(path.read_text()) for path in sorted(DATA.glob("benchmark-*.json")))


def read_benchmark(chance: Random, folder: Path) -> None:
    from matrix.artifacts.benchmark import device_peak, read_timing, strip_private_data

    document = chance.choice(_timings())
    content = (
        damaged_text(json.dumps(document), chance)
        if chance.random() < 0.4
        else json.dumps(damaged_tree(document, chance)).encode()
    )
    kept = strip_private_data(content)
    read_timing(content)
    read_timing(kept)
    device_peak(content.decode(errors="replace"))


# -- specs


@functools.cache
def _specs() -> tuple[tuple[str, dict[str, Any]], ...]:
    from matrix.run import planning  # noqa: F401

    paths = [*sorted((ROOT / "matrix" / "data" / "presets").glob("*.toml")), DATA / "questions.toml"]
    texts = [path.read_text() for path in paths]
    return tuple((text, tomllib.loads(text)) for text in texts)


def read_spec(chance: Random, folder: Path) -> None:
    """As `plan` reads it; what still has a meaning is also planned."""
    from matrix.plan.question import Question
    from matrix.run.planning import load_spec, plan_for

    text, tree = chance.choice(_specs())
    path = folder / "spec.toml"
    content = damaged_text(text, chance) if chance.random() < 0.5 else as_toml(damaged_tree(tree, chance)).encode()
    path.write_bytes(content)
    spec = load_spec(str(path))
    if chance.random() < 0.05:  # it reads every lock and every model: 0.2 s
        plan_for(spec, Question(preset=str(path)))


# -- modules, MLIR, ONNX


@functools.cache
def _modules() -> tuple[bytes, ...]:
    import flatbuffers.table  # noqa: F401

    from matrix.artifacts.vmfb_audit import audit  # noqa: F401

    return (*(path.read_bytes() for path in FILES), module("linear-2.9.0").read_bytes())


def look_into(path: Path) -> None:
    """What `whatis` does, in both of its forms."""
    from matrix.answers.gates import load_gates
    from matrix.answers.whatis import explain_module, mlir_json, mlir_text, module_json, module_text
    from matrix.artifacts.contents.cpu_needs import cpu_needs
    from matrix.artifacts.contents.regions import read_regions
    from matrix.artifacts.mlir import is_mlir, read_mlir
    from matrix.artifacts.vmfb_archive import open_container
    from matrix.artifacts.vmfb_audit import audit_container

    if is_mlir(path, path.read_bytes()[:12]):
        found = read_mlir(path)
        assert mlir_text(str(path), found).encode()
        assert mlir_json(found).encode()
        return
    with open_container(path) as container:
        read, audit = audit_container(container)
        needs = cpu_needs(container, read_regions(container)[1])
    known = explain_module(read, load_gates(), {}, needs)
    assert module_text(str(path), read, audit, known).encode()
    assert module_json(read, audit, known).encode()


def read_module(chance: Random, folder: Path) -> None:
    from matrix.answers.modules.comparison import compare_modules, comparison_text
    from matrix.artifacts.vmfb import entry_points

    path, whole = folder / "module.vmfb", folder / "whole.vmfb"
    whole.write_bytes(chance.choice(_modules()))
    path.write_bytes(damaged_bytes(whole.read_bytes(), chance))
    entry_points(path)
    look_into(path)
    assert comparison_text("whole", "damaged", compare_modules(whole, path)).encode()


@functools.cache
def _mlir() -> tuple[bytes, ...]:
    texts = (DATA / "linear.mlir", DATA / "matmuls.mlir", *sorted((DATA / "gates").glob("*.mlir")))
    return tuple(path.read_bytes() for path in (*texts, DATA / "linear.mlirbc", DATA / "linear.mlirbc"))


def read_mlir_file(chance: Random, folder: Path) -> None:
    content = chance.choice(_mlir())
    bytecode = content.startswith(b"ML\xefR")
    spoilt = damaged_bytes(content, chance) if bytecode else damaged_text(content.decode(), chance)
    path = folder / "model.mlir"
    path.write_bytes(content[:4] + spoilt[4:] if bytecode else spoilt)
    look_into(path)


@functools.cache
def onnx_samples() -> tuple[bytes, ...]:
    """ONNX models as protobuf writes them, without the package: a graph with weights, inside and beside the file."""
    place = _field(13, _field(1, b"location") + _field(2, b"model.data"))
    inside = _field(1, b"\x02\x03") + _field(8, b"w") + _field(9, bytes(24))
    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(4, b"MatMul")
    graphs = [
        _field(1, node) * 3 + _field(2, b"main_graph") + _field(5, weight) * 2 for weight in (inside, inside + place)
    ]
    opsets = _field(8, _field(1, b"") + b"\x10\x11") + _field(8, _field(1, b"ai.onnx.ml") + b"\x10\x03")
    return tuple(b"\x08\x08" + _field(2, b"pytorch") + _field(7, graph) + opsets for graph in graphs)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | (0x80 if value > 0x7F else 0)]) + (_varint(value >> 7) if value > 0x7F else b"")


def readonnx_samples(chance: Random, folder: Path) -> None:
    from matrix.artifacts.onnx import onnx_facts

    content = bytearray(chance.choice(onnx_samples()))
    for _ in range(chance.choice((1, 2, 8))):  # tags and lengths, mostly
        at = chance.randrange(len(content))
        content[at : at + 1] = chance.choice(
            (b"", bytes([chance.randrange(256)]), b"\xff" * 9 + b"\x01", b"\x80" * 12, _varint(chance.getrandbits(40)))
        )
    path = folder / "model.onnx"
    path.write_bytes(bytes(content) if chance.random() < 0.5 else damaged_bytes(bytes(content), chance))
    facts = onnx_facts(path)
    assert len(facts.graph) + len(facts.opset) <= 4096, "a name of a hostile length"


# -- logs


@functools.cache
def _patterns() -> tuple[Any, ...]:
    from matrix.results.signatures import rows

    return tuple(row.pattern for row in rows())


def read_log(chance: Random, folder: Path) -> None:
    """A log made against one pattern, of the longest that is searched or longer, by all of them."""
    from matrix.results.signatures import recognise

    size = chance.choice((LOG_BYTES, LOG_BYTES, LOG_BYTES, 1 << 20, 300))
    log = next(hostile_logs(chance.choice(_patterns()).pattern, chance, size))
    found = recognise(log)
    assert len(found.message) <= 600
    assert found.name


KINDS = (
    Kind(name="results", read=read_results, prepare=_runs),
    Kind(name="npy", read=read_array, prepare=_arrays),
    Kind(name="benchmark", read=read_benchmark, prepare=_timings),
    Kind(name="specs", read=read_spec, prepare=_specs),
    Kind(name="vmfb", read=read_module, prepare=_modules),
    Kind(name="mlir", read=read_mlir_file, prepare=_mlir),
    Kind(name="onnx", read=readonnx_samples, prepare=onnx_samples),
    Kind(name="logs", read=read_log, prepare=_patterns, seconds=0.5),
)
