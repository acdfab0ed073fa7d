"""Which runtime loads which module, from facts of the modules: outcomes of runs are not used.

What a release writes is what the runtime of the same release reads. So the gates of a runtime are learnt from modules
of the same release's compiler. A module of any origin is compared with them, in the runtime's order: features,
bytecode, modules, imports, executables. The names of the gates are those of signatures.toml.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion

from matrix.artifacts.json_reader import read_json
from matrix.artifacts.vmfb import Vmfb, feature_names, read_vmfb
from matrix.core.data import DATA
from matrix.core.errors import FileFault
from matrix.core.versions import is_dated, minor, release_key

GATES_FORMAT = 1

GATES_FILE = DATA / "gates.json"

OLDER_GATES_FILE = DATA / "older_gates.json"
"""What modules of the dated releases say. It tells their compilers from each other. What the dated runtimes accept is
not predicted: modules of 20231113.707 ask for less than its runtime has, and have instructions of their own."""

FIRST_BYTECODE = 15
"""The first version in the layout of today; 13 was laid out otherwise."""

GONE_TYPES = frozenset(("!hal.descriptor_set_layout", "!hal.pipeline_layout"))
"""All modules of releases up to 20240724.964 have them. Since then none has, and no runtime knows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What the runtime of one minor release is known to accept.

    `imports` maps a function to its calling convention, as far as the known modules use it; `library_abi` is for native
    executables.
    """

    release: str
    bytecode_version: tuple[int, int]
    features: int
    modules: Mapping[str, int]
    imports: Mapping[str, str]
    library_abi: int
    device_header: bool | None = None
    """Whether code for a device has a header; None: no known module has such code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """`gate` names what refuses ('' if the module loads), `detail` both sides of it. `unseen` are imports whose
    signature in this runtime is unknown: each may still refuse."""

    release: str
    loads: bool
    gate: str = ""
    detail: str = ""
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a module requires of a runtime; `library_abis` are those of its native executables, `device_headers` say of
    its code for a device whether it has a header, `gone` are types that numbered releases do not have."""

    bytecode_version: tuple[int, int]
    features: int
    modules: Mapping[str, int]
    imports: Mapping[str, str]
    library_abis: tuple[int, ...]
    device_headers: tuple[bool, ...] = ()
    gone: tuple[str, ...] = ()


def predict(module: Vmfb, gates: Gates) -> Prediction:
    """Whether the runtime of `gates.release` loads the module, and which gate refuses first."""
    needs = Needs(
        bytecode_version=module.bytecode_version,
        features=module.features,
        modules=dict(module.modules),
        imports={each.name: each.signature for each in module.imports},
        library_abis=tuple(each.library_abi for each in module.executables if each.library_abi is not None),
        device_headers=tuple(each.device_header for each in module.executables if each.device_header is not None),
        gone=tuple(each for each in module.types if each in GONE_TYPES),
    )
    return _predicted(needs, gates)


def predict_release(compiler: Gates, runtime: Gates, *, for_device: bool = False) -> Prediction:
    """The same for a module that uses everything that modules of the compiler's release are known to use, with native
    code or with code for a device."""
    headers = () if compiler.device_header is None else (compiler.device_header,)
    needs = Needs(
        bytecode_version=compiler.bytecode_version,
        features=compiler.features,
        modules=compiler.modules,
        imports=compiler.imports,
        library_abis=() if for_device else (compiler.library_abi,),
        device_headers=headers if for_device else (),
    )
    return _predicted(needs, runtime)


def _predicted(needs: Needs, gates: Gates) -> Prediction:
    for gate, detail in _refusals(needs, gates):
        return Prediction(release=gates.release, loads=False, gate=gate, detail=detail)
    unseen = tuple(name for name in needs.imports if name not in gates.imports)
    return Prediction(release=gates.release, loads=True, unseen=unseen)


def _refusals(needs: Needs, gates: Gates) -> Iterable[tuple[str, str]]:
    if (needs.bytecode_version[0] < FIRST_BYTECODE) != (gates.bytecode_version[0] < FIRST_BYTECODE):
        yield "module-layout", "the layout of the file changed in April 2023, after 20230228.444"
    lacking = needs.features & ~gates.features
    if lacking:
        yield "vm-features", f"the module needs {', '.join(feature_names(lacking))}"
    major, minor = gates.bytecode_version
    wrote_major, wrote_minor = needs.bytecode_version
    if wrote_major != major or wrote_minor > minor:
        yield "vm-bytecode-version", f"runtime reads {major}.{minor}, module has {wrote_major}.{wrote_minor}"
    if needs.gone and not is_dated(gates.release):
        yield "type-missing", f"the module uses {needs.gone[0]}, which no release since 20240828.999 has"
    for name, least in needs.modules.items():
        have = gates.modules.get(name)
        if have is not None and have < least:
            yield "module-version", f"runtime has {name} {have}, module requires {least}"
    for name, signature in needs.imports.items():
        offered = gates.imports.get(name, signature)
        if offered != signature:
            yield "import-signature", f"{name}: module expects {signature}, runtime offers {offered}"
    yield from _executable_refusals(needs, gates)


def _executable_refusals(needs: Needs, gates: Gates) -> Iterable[tuple[str, str]]:
    for abi in needs.library_abis:
        if abi != gates.library_abi:
            yield "executable-abi", f"executables want ABI {abi}, runtime has {gates.library_abi}"

    if gates.device_header is not None and (not gates.device_header) in needs.device_headers:
        have, wants = ("no header", "one") if gates.device_header else ("a header", "none")
        yield "executable-header", f"executables have {have} before their FlatBuffer, runtime wants {wants}"


def likely_compilers(module: Vmfb, every: Iterable[Gates]) -> tuple[str, ...]:
    """The releases whose compilers write modules like this one, oldest first."""
    return tuple(gates.release for gates in every if _wrote(module, gates))


def _wrote(module: Vmfb, gates: Gates) -> bool:
    return (
        predict(module, gates).loads
        and module.bytecode_version == gates.bytecode_version
        and all(gates.modules.get(name, least) == least for name, least in module.modules)
        # A feature that all modules of a release have is a mark of it; f32 or f64 depends on the model.
        and (module.features ^ gates.features) & ~0b11 == 0
    )


def learn_gates(release: str, modules: Iterable[Vmfb]) -> Gates:
    """The gates of a release from modules of its compiler. Raises FileFault if the modules contradict each other."""
    read = list(modules)
    versions = {each.bytecode_version for each in read}
    abis = {each.library_abi for module in read for each in module.executables if each.library_abi is not None}
    imports: dict[str, set[str]] = {}
    for module in read:
        for function in module.imports:
            imports.setdefault(function.name, set()).add(function.signature)
    headers = {each.device_header for module in read for each in module.executables} - {None}
    unclear = [name for name, signatures in imports.items() if len(signatures) > 1]
    if len(versions) != 1 or len(abis) != 1 or len(headers) > 1 or unclear:
        raise FileFault(
            f"modules of {release}: read bytecode {sorted(versions)}, executable ABI {sorted(abis)}, imports with two "
            f"signatures: {unclear}; expected one of each",
            tip="give modules of one release only, at least one with native code",
        )
    features = 0
    for module in read:
        features |= module.features
    return Gates(
        release=release,
        bytecode_version=versions.pop(),
        features=features,
        modules={name: max(_least(read, name)) for name in sorted({name for each in read for name, _ in each.modules})},
        imports={name: imports[name].copy().pop() for name in sorted(imports)},
        library_abi=abis.pop(),
        device_header=headers.pop() if headers else None,
    )


def _least(modules: list[Vmfb], wanted: str) -> list[int]:
    return [least for module in modules for name, least in module.modules if name == wanted]


def learn_gates_from(folder: Path) -> tuple[Gates, ...]:
    """From FOLDER/RELEASE/*.vmfb, a row for each minor release. Raises FileFault for a folder without such files."""
    files: dict[str, list[Path]] = {}
    try:
        for _, each in sorted((release_key(each.name), each) for each in folder.iterdir() if each.is_dir()):
            files.setdefault(minor(each.name), []).extend(sorted(each.glob("*.vmfb")))
    except (OSError, InvalidVersion) as error:
        read = error.strerror if isinstance(error, OSError) else error
        raise FileFault(
            f"{folder}: read {read}, expected a folder of folders named by release", tip="FOLDER/3.8.0/module.vmfb"
        ) from error
    if not files:
        raise FileFault(f"{folder}: read no folder, expected one for each release", tip="FOLDER/3.8.0/module.vmfb")
    return tuple(learn_gates(release, map(read_vmfb, paths)) for release, paths in files.items())


def load_gates(path: Path = GATES_FILE) -> tuple[Gates, ...]:
    """The committed gates, oldest release first."""
    content = read_json(path.read_text(encoding="utf-8"))
    return tuple(
        Gates(
            release=release,
            bytecode_version=tuple(row["bytecode_version"]),
            features=row["features"],
            modules=row["modules"],
            imports={
                name: signature
                for name, signatures in content["imports"].items()
                for signature, releases in signatures.items()
                if release in releases
            },
            library_abi=row["library_abi"],
            device_header=row.get("device_header"),
        )
        for release, row in content["releases"].items()
    )


def gates_json(every: Iterable[Gates]) -> str:
    """Imports are grouped by signature, so that a diff shows the release that changed one."""
    rows = list(every)
    imports: dict[str, dict[str, list[str]]] = {}
    for gates in rows:
        for name, signature in gates.imports.items():
            imports.setdefault(name, {}).setdefault(signature, []).append(gates.release)
    releases = {
        gates.release: {
            "bytecode_version": list(gates.bytecode_version),
            "features": gates.features,
            "modules": dict(gates.modules),
            "library_abi": gates.library_abi,
            **({} if gates.device_header is None else {"device_header": gates.device_header}),
        }
        for gates in rows
    }
    lines = [f'"{name}": {json.dumps(row)}' for name, row in releases.items()]
    functions = [f'"{name}": {json.dumps(imports[name])}' for name in sorted(imports)]
    first = ",\n  ".join(lines)
    second = ",\n  ".join(functions)
    return f'{{\n "format": {GATES_FORMAT},\n "releases": {{\n  {first}\n }},\n "imports": {{\n  {second}\n }}\n}}\n'
