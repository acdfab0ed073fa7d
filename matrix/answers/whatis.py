"""What a file is, in words and as JSON: pure text from the records of `vmfb`, `mlir` and `gates`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from matrix.answers.gates import Gates, Prediction, likely_compilers, predict
from matrix.artifacts.contents.compiled_for import DeviceCode
from matrix.artifacts.contents.cpu_needs import CpuNeeds
from matrix.artifacts.mlir import Mlir
from matrix.artifacts.vmfb import Executable, Vmfb
from matrix.artifacts.vmfb_audit import VmfbAudit
from matrix.core.text import escape_controls, plain_rows
from matrix.core.versions import minor
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.results.measured.assumed import subgroup_warning
from matrix.results.run import Run
from matrix.results.square import ends_with

WHATIS_FORMAT = 1
VALID, INVALID, HEADER_READ = "valid", "invalid", "header read"
VULKAN = "vulkan"
"""How the formats of code for Vulkan begin."""
OLDER_NOTE = (
    "dated releases and modules of their compilers: observed in results/history.json (model affine, x86_64). What\n"
    "dated runtimes accept is not predicted"
)

Observed = Mapping[tuple[str, str], str]
"""(compiler, runtime) as minor releases -> how the cell ended: an outcome, or the signature of a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """In addition to the module's facts: its likely compilers, and for each runtime the prediction and the
    observations.

    `observed` is how modules of the likely compilers ended on that runtime ('' if none was run), `older` the same for
    the runtimes of dated releases, of which nothing is predicted; `cpu_needs` is by machine, `warnings` say which
    devices do not have what the module assumes.
    """

    compilers: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    observed: tuple[str, ...]
    older: tuple[tuple[str, str], ...] = ()
    cpu_needs: tuple[CpuNeeds, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCode:
    """The verdict of a tool about all code of one form in an executable: `valid`, `invalid`, or `header read` where no
    tool checks more. `said` is its first message."""

    executable: str
    code: str
    tool: str
    verdict: str
    said: str = ""

    @property
    def invalid(self) -> bool:
        return self.verdict == INVALID


def explain_module(
    module: Vmfb,
    gates: Sequence[Gates],
    observed: Observed,
    needs: tuple[CpuNeeds, ...] = (),
    older: Sequence[Gates] = (),
    *,
    devices: Mapping[str, tuple[int, ...]] | None = None,
) -> Answer:
    """The predictions use the module and the gates alone; observations are shown beside them. `older` are what is known
    of dated releases, `devices` those for Vulkan with the sizes of their subgroups."""
    compilers = likely_compilers(module, (*older, *gates))
    if any(each.device_header is not None for each in module.executables):
        observed = {}  # what was measured is native code
    return Answer(
        compilers=compilers,
        predictions=tuple(predict(module, each) for each in gates),
        observed=tuple(_observed(compilers, each.release, observed) for each in gates),
        older=tuple((each.release, _observed(compilers, each.release, observed)) for each in older),
        cpu_needs=needs,
        warnings=_warnings(module, devices or {}),
    )


def _warnings(module: Vmfb, devices: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    for_vulkan = any(each.format.startswith(VULKAN) for each in module.executables)
    said = (subgroup_warning(module.subgroups, name, sizes) for name, sizes in devices.items() if for_vulkan)
    return tuple(filter(None, said))


def _observed(compilers: Iterable[str], runtime: str, observed: Observed) -> str:
    return ", ".join(sorted({observed[compiler, runtime] for compiler in compilers if (compiler, runtime) in observed}))


def observed_outcomes(run: Run) -> dict[tuple[str, str], str]:
    """The outcomes of a run over compilers and runtimes; cells that ended before its last stage are left out."""
    return {
        (minor(cell.axes[COMPILER]), minor(cell.axes[RUNTIME])): cell.signature or cell.outcome
        for cell in run.cells
        if ends_with(run, cell.stage) and {COMPILER, RUNTIME} <= cell.axes.keys()
    }


def module_json(module: Vmfb, audit: VmfbAudit, found: Answer, checked: Sequence[CheckedCode] | None = None) -> str:
    """`checked`: what tools say of the code for devices; None: they were not asked."""
    content = {
        "format": WHATIS_FORMAT,
        "kind": "vmfb",
        **asdict(module),
        "bytecode_version": module.bytecode,
        "features": list(module.feature_names),
        "parts": dict(module.parts),
        "modules": dict(module.modules),
        "leaks": [asdict(leak) for leak in audit.leaks],
        "unscanned": audit.unscanned,
        "cpu_needs": [{**asdict(each), "words": each.words} for each in found.cpu_needs],
        "warnings": found.warnings,
        **({} if checked is None else {"checked": [asdict(each) for each in checked]}),
        "likely_compilers": found.compilers,
        "runtimes": [
            {**asdict(prediction), "observed": seen or None}
            for prediction, seen in zip(found.predictions, found.observed, strict=True)
        ],
        "older_runtimes": [{"release": release, "observed": seen or None} for release, seen in found.older],
    }
    return json.dumps(content, indent=1) + "\n"


def mlir_json(found: Mlir) -> str:
    return json.dumps({"format": WHATIS_FORMAT, "kind": "mlir", **asdict(found)}, indent=1) + "\n"


def module_text(
    path: str, module: Vmfb, audit: VmfbAudit, found: Answer, checked: Sequence[CheckedCode] | None = None
) -> str:
    wrapping = "zip" if module.zipped else "bare FlatBuffer"
    facts = [
        ["file", f"{path}: an IREE module (.vmfb, {wrapping}), {module.size} bytes"],
        ["VM bytecode", module.bytecode],
        ["features", ", ".join(module.feature_names) or "none"],
        ["modules", ", ".join(f"{name} from version {least}" for name, least in module.modules) or "none"],
        ["entry points", _functions(module)],
        ["imports", f"{len(module.imports)} functions of the runtime"],
        ["executables", "; ".join(map(_executable, module.executables)) or "none"],
        ["target CPU", ", ".join(module.cpus) or "not said"],
        *([["target device", _device(module)]] if module.architectures else []),
        *(["warning", each] for each in found.warnings),
        [
            "needs CPU",
            "; ".join(map(_needs, found.cpu_needs)) or "not known: no machine code that is disassembled here",
        ],
        ["constants", f"{dict(module.parts)['constants']} bytes"],
        ["debug information", "a source map of the VM's code" if module.debug_database else "stripped from the VM"],
        ["likely compilers", ", ".join(found.compilers) or "none of those in the table of gates"],
    ]
    parts = [[name, str(size), f"{100 * size / module.size:.1f} %"] for name, size in module.parts if size]
    leaks = [[leak.kind, str(leak.count), ", ".join(leak.examples)] for leak in audit.leaks]
    runtimes = [_row(each, seen) for each, seen in zip(found.predictions, found.observed, strict=True)]
    blocks = [plain_rows(facts, headers=())]
    if checked is not None:
        blocks.append(_checked_text(checked))
    if extensions := _extension_rows(found.cpu_needs):
        blocks.append(plain_rows(extensions, headers=("extension", "level", "instructions", "such as", "in")))
    blocks += [
        plain_rows(parts, headers=("part", "bytes", "share")),
        plain_rows(leaks, headers=("tells", "times", "such as")) if leaks else "no string that tells of its origin",
        plain_rows(runtimes, headers=(RUNTIME, "predicted", "observed", "detail")),
        "predicted: from this file and matrix/data/gates.json; observed: results/portability.json, modules of the\n"
        "likely compilers (model linear, x86_64)",
    ]
    if found.older:
        rows = [[release, seen or "-"] for release, seen in found.older]
        blocks += [plain_rows(rows, headers=(RUNTIME, "observed")), OLDER_NOTE]
    if audit.unscanned:
        blocks.append(f"{audit.unscanned} bytes were not looked through for strings")
    return escape_controls("\n\n".join(blocks)) + "\n"


def _functions(module: Vmfb) -> str:
    shown = [f"{each.name} ({each.signature})" for each in module.exports if not each.name.startswith("__")]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "") or "none"


def _executable(each: Executable) -> str:
    machine = each.machine or each.architecture
    words = [each.format, machine, f"{each.float_abi} float" if each.float_abi else ""]
    if each.library_abi is not None:
        words.append(f"library ABI {each.library_abi}")
    words += code_words(each.device_code)
    if each.device_header is not None:
        words.append("a header of 3.9 or later" if each.device_header else "no header: of 3.8 or earlier")
    return f"{each.name}: {', '.join(word for word in words if word)}, {each.size} bytes"


def _checked_text(checked: Sequence[CheckedCode]) -> str:
    rows = [[each.executable, each.code, each.tool, each.verdict, each.said] for each in checked]
    headers = ("code for a device in", "code", "checked by", "verdict", "because")
    return plain_rows(rows, headers=headers) if rows else "no code for a device that a tool could check"


def code_words(pieces: Sequence[DeviceCode]) -> list[str]:
    """Each form of code with its bytes: `PTX 7.6 for sm_80 (1,204 bytes)`, `SPIR-V 1.0 (2 modules, 3,344 bytes)`."""
    alike: dict[str, list[int]] = {}
    for piece in pieces:
        alike.setdefault(piece.words, []).append(piece.size)
    said = []
    for words, sizes in alike.items():
        facts = [f"{len(sizes)} modules"] * (len(sizes) > 1) + [f"{sum(sizes):,} bytes"] * all(sizes)
        said.append(f"{words} ({', '.join(facts)})" if facts else words)
    return said


def _device(module: Vmfb) -> str:
    """What the module assumes of its device. No runtime compares that with the device."""
    words = ", ".join(module.architectures)
    if not module.subgroups:
        return words
    sizes = " or ".join(map(str, module.subgroups))
    return f"{words}; subgroups of {sizes}: without them its numbers can be wrong, and no runtime refuses it"


def _needs(found: CpuNeeds) -> str:
    left = [f"{found.unknown} bytes of code are not known"] * bool(found.unknown)
    left += [f"{found.unseen} bytes of code were not looked at"] * bool(found.unseen)
    more = f"; more may be needed: {', '.join(left)}" if left else ""
    return ("" if found.certain else "at least ") + found.words + more


def _extension_rows(every: Iterable[CpuNeeds]) -> list[list[str]]:
    """Each extension that instructions belong to, with one of them."""
    return [
        [each.name, each.level, str(each.instructions), each.example, each.dispatch]
        for found in every
        for each in found.extensions
    ]


def _row(prediction: Prediction, seen: str) -> list[str]:
    predicted = prediction.gate or ("loads" if not prediction.unseen else "loads, as far as known")
    detail = prediction.detail
    if prediction.unseen:
        detail = f"signature not known here: {', '.join(prediction.unseen[:4])}" + ", …" * (len(prediction.unseen) > 4)
    return [prediction.release, predicted, seen or "-", detail]


def mlir_text(path: str, found: Mlir) -> str:
    points = "not listed in bytecode" if found.entry_points is None else ", ".join(found.entry_points) or "none"
    facts = [
        ["file", f"{path}: MLIR ({found.encoding}), {found.size} bytes"],
        ["written by", ", ".join([*([found.producer] if found.producer else []), *found.hints]) or "no hint"],
        ["dialects", ", ".join(found.dialects) or "none"],
        ["entry points", points],
    ]
    if not found.complete:
        facts.append(["read", "the beginning only; there may be more dialects and entry points"])
    return escape_controls(plain_rows(facts, headers=())) + "\n"
