"""The engine nix as a record."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.core.data import PACKAGE_FOLDER
from matrix.core.disk import StorePlaces
from matrix.core.errors import MatrixError
from matrix.engines.contract import Engine, tool_line
from matrix.engines.kind import Cleaning, EngineKind, EngineSetting, Finding, ImageWork, ManualRepeat, State, workshop
from matrix.engines.venv.kind import in_folder, python_line

if TYPE_CHECKING:
    from matrix.engines.nix.making import Maker

PROGRAMS = "nix_programs"
"""Keys in an environment's evidence: the path whose `bin` has the tools, for repeating a job by hand. STORE_PATHS are
all paths of its closure, including `nix_base` and `nix_path`; `nix_closure_bytes` is their size as archives."""


def nix_maker(places: StorePlaces) -> Maker:
    """The maker of environments in the machine's Nix store."""
    from matrix.engines.nix.making import Maker

    return Maker(workshop(places), platform.machine(), code=PACKAGE_FOLDER.parent)


def _make(setting: EngineSetting) -> Engine:
    from matrix.engines.nix.engine import NixEngine

    return NixEngine(
        roots=setting.places.roots,
        scratch=setting.places.scratch,
        scripts=setting.scripts,
        slots=setting.slots,
        on_event=setting.on_event,
        maker=nix_maker(setting.places),
        offline=setting.offline,
    )


def _shell_line(made: ManualRepeat) -> str:
    """Without a sandbox a tool is started from the programs beside the environment."""
    tool, *words = python_line(made) if made.script else tool_line(made.job.command, made.environment)
    programs = dict(made.environment.evidence).get(PROGRAMS)
    return in_folder(made, (f"{programs}/bin/{Path(tool).name}" if programs else tool, *words))


def _examine() -> Finding:
    """Checks Nix, whether it builds in a sandbox, and whether jobs of its environments can be sandboxed."""
    from matrix.engines.nix.sandbox import find_sandbox
    from matrix.engines.nix.store import NixStore, settings

    try:
        found = settings()
        NixStore()
    except MatrixError as error:
        state: State = "warning" if shutil.which("nix-build") else "missing"
        return Finding(name="Nix", state=state, found=str(error), advice=f"{error.tip}; only --engine nix needs it")
    box = find_sandbox()
    said = f"{found.version}, builds {'in' if found.sandbox else 'without'} a sandbox; sandbox of jobs: {box.said}"
    if box.works:
        return Finding(name="Nix", state="ok", found=said)
    return Finding(name="Nix", state="warning", found=said, advice="apt install bubblewrap, and allow user namespaces")


def _clean(cleaning: Cleaning) -> Mapping[str, int]:
    """Removes the roots of environments that no result names (`environments`: of all), and from the Nix store the paths
    that only they and the wheels kept."""
    from matrix.engines.nix.store import NixStore
    from matrix.images.nix.nar import file_path
    from matrix.images.nix.table import ORCHESTRATOR, ROOT_DIGITS

    places = cleaning.places
    if not places.roots.is_dir():
        return {}
    kept = set() if cleaning.environments else {ORCHESTRATOR, *(digest[:ROOT_DIGITS] for digest in cleaning.needed)}
    dropped = [root for root in places.roots.iterdir() if root.name.rpartition("-")[2] not in kept]
    paths = [str(root.readlink()) for root in dropped]
    for root in dropped:
        root.unlink()
    wheels = [file_path(path.name, path.parent.name) for path in places.files.glob("*/*/*.whl")]
    try:
        nix = NixStore()
        there = [path for path in paths if Path(path).exists()]
        needed = nix.closure(*there) if there else {}
        freed = nix.delete(dict.fromkeys([*paths, *sorted(needed), *filter(os.path.exists, wheels)]))
    except MatrixError:  # Nix was uninstalled: its store is left alone
        freed = 0
    return {"paths of the Nix store": freed}


def _image(verb: str, work: ImageWork) -> int:
    from matrix.engines.nix.image_verbs import NIX_VERBS

    return NIX_VERBS[verb](work)


NIX = EngineKind(
    name="nix",
    title="Nix",
    make=_make,
    shell_line=_shell_line,
    sees_store=True,
    examine=_examine,
    clean=_clean,
    image_verbs=frozenset({"plan", "build", "verify"}),
    image=_image,
)
