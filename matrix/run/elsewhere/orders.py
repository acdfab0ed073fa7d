"""A work order: jobs with all their inputs by digest, and the environments that they need, as JSON. What comes back is
a row of JSON for each thing that happened. `python -m matrix work` carries an order out.

Nothing in an order is code. Files of this project are named by their place in the checkout, and the order says what
its scripts and locks must be.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from matrix.core.data import data_root
from matrix.core.errors import OrderFault
from matrix.core.keys import KEY_VERSION, digest, sha256
from matrix.core.records import EnvironmentRequest, Job
from matrix.environments.user_tools import unchanged

if TYPE_CHECKING:
    from cattrs import Converter

ORDER_FORMAT = 1
IN_THE_CHECKOUT = "checkout:"
"""Begins a path of this project, in the place of the folder that holds it."""
SAME_CHECKOUT = "give both machines the same version of this project"
LARGEST_ORDER = 64 << 20
"""Bytes: 1,000 jobs take 1 to 2 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedJob:
    """A job of an order, and the place of its environment in the order. `again`: a result that is there does not answer
    it."""

    job: Job
    environment: int
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """Environments, and jobs in them. An environment without a job is only made, so that its digest is known. `locks`
    are the texts of locks that no checkout has, by their sha256."""

    engine: str
    scripts: str
    environments: tuple[EnvironmentRequest, ...]
    jobs: tuple[OrderedJob, ...]
    locks: dict[str, str]
    format: int = ORDER_FORMAT
    key_version: int = KEY_VERSION


def work_order_text(engine: str, environments: Sequence[EnvironmentRequest], jobs: Sequence[OrderedJob]) -> str:
    """An order as one line of JSON."""
    order = WorkOrder(
        engine=engine,
        scripts=scripts_digest(data_root()),
        environments=tuple(environments),
        jobs=tuple(replace(each, job=_without_folders(each.job)) for each in jobs),
        locks={
            lock.digest: lock.path.read_text(encoding="utf-8")
            for lock in (request.lock for request in environments if request.toolchain is None)
            if lock.path.is_file() and not lock.path.is_relative_to(data_root())
        },
    )
    return json.dumps(_converter().unstructure(order))


def read_order(text: str, folder: Path) -> WorkOrder:
    """The order in a text. Locks that come with it are written below `folder`. Raises OrderFault where it is none, or
    one for another checkout."""
    content = _content(text)
    try:
        order = _converter().structure(content, WorkOrder)
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever a field's type raises
        raise OrderFault(
            f"work: read an order whose fields are others ({type(error).__name__}), expected that of format "
            f"{ORDER_FORMAT}",
            tip=SAME_CHECKOUT,
        ) from None
    if order.scripts != scripts_digest(data_root()):
        raise OrderFault("work: read an order for other scripts, expected those of this checkout", tip=SAME_CHECKOUT)
    if any(not 0 <= each.environment < len(order.environments) for each in order.jobs):
        raise OrderFault("work: read a job without an environment, expected one of the order's", tip=SAME_CHECKOUT)
    return replace(order, environments=tuple(_here(request, order.locks, folder) for request in order.environments))


@functools.cache
def scripts_digest(root: Path) -> str:
    """What jobs run of this project."""
    folder = root / "scripts"
    return digest({path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*.py"))})


def _without_folders(job: Job) -> Job:
    """The job with its files by their names: they lie in its folder when it runs."""
    named = ((name, PurePath(value).name if name.endswith("_file") else value) for name, value in job.arguments)
    return replace(job, arguments=tuple(named))


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise OrderFault(
            f"work: read {text[:60]!r}, expected a work order as JSON", tip="`run --executor command` writes them"
        )
    if (content["format"], content.get("key_version")) != (ORDER_FORMAT, KEY_VERSION):
        raise OrderFault(
            f"work: read an order of format {content['format']} with keys of version {content.get('key_version')}, "
            f"expected {ORDER_FORMAT} and {KEY_VERSION}",
            tip=SAME_CHECKOUT,
        )
    return content


def _here(request: EnvironmentRequest, texts: dict[str, str], folder: Path) -> EnvironmentRequest:
    """The request with its lock on this machine. Raises OrderFault where the checkout has another one."""
    lock = request.lock
    if request.toolchain:
        if not request.toolchain.in_image and not unchanged(request.toolchain):
            raise OrderFault(
                f"work: read the toolchain {request.toolchain.name} at {request.toolchain.path}, expected the same "
                "tools there on this machine",
                tip="put them at the same path on every machine",
            )
        return request
    if request.bare or request.built or request.build or not lock.digest:
        return request
    if lock.digest in texts and not lock.path.is_file():
        place = folder / f"{lock.digest}{lock.path.suffix}"
        place.write_text(texts[lock.digest], encoding="utf-8")
        lock = replace(lock, path=place)
    if not lock.path.is_file() or sha256(lock.path) != lock.digest:
        raise OrderFault(
            f"work: read the lock {lock.name} of sha256 {lock.digest[:12]}…, expected the one of this checkout",
            tip=SAME_CHECKOUT,
        )
    return replace(request, lock=lock)


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    made = Converter(forbid_extra_keys=True)
    made.register_unstructure_hook(Path, _written_path)
    made.register_structure_hook(Path, lambda text, _: _read_path(str(text)))
    return made


def _written_path(path: Path) -> str:
    root = data_root()
    return IN_THE_CHECKOUT + path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _read_path(text: str) -> Path:
    place = text.removeprefix(IN_THE_CHECKOUT)
    return Path(text) if place == text else data_root() / place


def row_text(row: str, **fields: Any) -> str:  # noqa: ANN401 - JSON
    """A row of what happened, as one line."""
    records = {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in fields.items()
    }
    return json.dumps({"row": row, **records})
