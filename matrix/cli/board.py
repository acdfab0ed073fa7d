"""The verbs `armv6-smoke` and `armv6-lld`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from matrix.builds import tools
from matrix.builds.board_check import BINARY, Smoke, expectation, read_expectation, smoke
from matrix.builds.board_models import SHAPES, exported_model
from matrix.builds.bundle import BundleOrder, make_bundle, refuse_filled, toolchain_and_route
from matrix.builds.digests import read_built, write_built
from matrix.builds.linker import helpers_task, link_folder
from matrix.builds.routes import TABLE_HEADERS, advice, differences, linkage_table
from matrix.builds.tasks import Tasks
from matrix.core.data import data_root
from matrix.core.errors import EXIT_NO, EXIT_OK, StoreUnusable
from matrix.core.text import plain_rows

FORMAT = 1
NEWEST = "3.13.0"
"""The compiler of the same release as the pinned sources."""


def expected_path() -> Path:
    return data_root() / "results" / "armv6" / "expected.json"


def armv6_smoke(options: Namespace) -> int:
    """From toolchains to models on the emulated board; exit status 1 where an outcome is not the committed one."""
    committed = expected_path().exists() and not options.accept
    expected = read_expectation(expected_path()) if committed else {}
    models = [exported_model(path) for path in options.model]
    state = smoke(options.store, compiler=options.compiler or NEWEST, source=options.source, say=_say, models=models)
    print()
    print(plain_rows(linkage_table(state.rows, state.runners), headers=TABLE_HEADERS))
    print()
    print("\n".join(advice(state.rows, state.runners)))
    if options.accept:
        _accept(state, own=options.source is not None)
        return EXIT_OK
    if not committed:
        print("\nno outcomes are committed to compare these with: look at the rows, then keep them with --accept")
        return EXIT_OK
    return _judge(state, expected, own=options.source is not None)


def _accept(state: Smoke, *, own: bool) -> None:
    """Writes what was found; the cells of models that were not measured stay as they are."""
    if not own:
        digests = {name: text for name, text in state.checks.items() if name.startswith(BINARY)}
        write_built(tools.images(), state.release, {name[len(BINARY) :]: text for name, text in digests.items()})
    path = expected_path()
    measured = {row.model for row in state.rows}
    before = read_expectation(path)["cells"] if path.exists() else {}
    kept = {cell: text for cell, text in before.items() if cell.split()[0] not in measured}
    found = expectation(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**found, "cells": dict(sorted({**kept, **found["cells"]}.items()))}
    path.write_text(json.dumps({"format": FORMAT, **whole}, indent=1) + "\n", encoding="utf-8")


def _digests(release: str) -> dict[str, str]:
    """What is expected of the bytes of the runtimes, by the names of those checks."""
    known = tools.board_toolchains()
    built = read_built(tools.images()).get(release, {})
    return {f"{BINARY}{name}": text for name, text in built.items() if name in known}


def _judge(state: Smoke, expected: Mapping[str, Mapping[str, str]], *, own: bool) -> int:
    """With sources of one's `own` nothing is expected of the runtimes' bytes."""
    measured = {row.model for row in state.rows} | set(SHAPES)
    cells = {cell: outcome for cell, outcome in expected["cells"].items() if cell.split()[0] in measured}
    lines = differences(state.rows, cells)
    wanted = {**expected["checks"], **({} if own else _digests(state.release))}
    checks = {name: text for name, text in state.checks.items() if not (own and name.startswith(BINARY))}
    for name in sorted(checks.keys() | wanted.keys()):
        was, now = wanted.get(name, "nothing"), checks.get(name, "not measured")
        if was != now:
            lines.append(f"{name}: expected {was}, is {now}")
    if not lines:
        print(f"\nas expected: {len(checks)} checks and {len(state.rows)} cells")
        return EXIT_OK
    print(f"\n{len(lines)} not as expected:")
    print("\n".join(f"  {line}" for line in lines))
    return EXIT_NO


def armv6_lld(options: Namespace) -> int:
    """Makes a folder with the repaired linker for one compiler release, and says how to use it."""
    folder: Path = options.folder
    if folder.exists() and any(folder.iterdir()):
        raise StoreUnusable(f"{folder} is not empty", tip="name a folder that is yours to fill")
    tasks = Tasks(options.store)
    trees = {"armel": tools.package_tree("armel", options.store)}
    helpers = tasks.run(helpers_task(tools.images() / "link", trees))
    if not helpers.passed:
        raise StoreUnusable(f"the helpers do not compile:\n{helpers.log[-2000:]}", tip="report it with this text")
    lld = options.iree_lld or tools.tool(
        tools.compiler_environment(options.compiler or NEWEST, options.store), "iree-lld"
    )
    folder.mkdir(parents=True, exist_ok=True)
    link_folder(folder, helpers.folder, lld, sources=tools.images() / "link", armel=trees["armel"])
    print(f"iree-compile … --iree-llvmcpu-embedded-linker-path={folder.resolve()}/iree-lld")
    return EXIT_OK


def check_bundle(options: Namespace) -> None:
    """Before minutes of work. Raises UsageError."""
    toolchain_and_route(_order(options))
    refuse_filled(options.output)


def bundle(options: Namespace, mlir: Path) -> int:
    """Writes a folder for a real board, of a model as `export --arrays` leaves it."""
    make_bundle(options.store, exported_model(mlir), options.output, _order(options), say=_say)
    print(f"{options.output}: copy it to the board and start run.sh")
    return EXIT_OK


def _order(options: Namespace) -> BundleOrder:
    return BundleOrder(
        toolchain=options.toolchain,
        route=options.route,
        compiler=options.compiler or NEWEST,
        source=options.source,
    )


def _say(line: str) -> None:
    print(line, flush=True)
