"""The `image` verbs of the engine nix: the environments of a preset as paths of the Nix store."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from matrix.core.data import data_root
from matrix.core.errors import EXIT_OK, ImageFault, NoImage, UsageError
from matrix.core.text import plain_rows, say
from matrix.engines.committed import SHORT, CommittedImage, make_all, megabytes, sample, threads
from matrix.engines.kind import EngineSetting, ImageWork
from matrix.engines.nix.kind import NIX, nix_maker
from matrix.engines.nix.making import Maker
from matrix.engines.nix.store import NixStore
from matrix.images.nix.table import ORCHESTRATOR, NixTables, StoreEnvironment, pythons_with_tables

BUILDS_AT_ONCE = 4
"""Builds at the same time: Nix hashes one on one core while it unpacks another."""
Located = tuple[CommittedImage, StoreEnvironment | None, str]
"""An environment with its paths, or the reason why it has none."""


def _plan(work: ImageWork) -> int:
    """Prints the paths of the environments, whether they exist or not; needs no Nix and changes nothing."""
    table = []
    for row, place, reason in _places(work, work.options.environment):
        if place is None:
            table.append([row.request.label, "none", "", "", reason])
            continue
        state = "in the store" if place.tree.is_dir() else "to build"
        assert row.image is not None
        image, size = row.image.digest[:SHORT], megabytes(place.environment.tree.nar.size)
        table.append([row.request.label, image, str(place.tree), size, state])
    print(plain_rows(table, headers=("environment", "image", "path", "MB", "state")))
    return EXIT_OK


def _build(work: ImageWork) -> int:
    """Fetches the inputs and lets Nix build what its store lacks; then prints the sizes. `matrix` is the project's own
    environment."""
    began = time.monotonic()
    chosen = work.options.environment
    names = [name for name in chosen if name != ORCHESTRATOR]
    found = [] if chosen and not names else _here(work, names)
    engine = NIX.make(EngineSetting(places=work.places, slots=1, on_event=lambda _: None))
    make_all(engine, [row for row, _, _ in found], at_once=BUILDS_AT_ONCE)
    if not chosen or ORCHESTRATOR in chosen:
        _make_own(work)
    places = [(row, place) for row, place, _ in found if place is not None]
    every = NixStore().closure(*(tree.path for _, place in places for tree in place.trees)) if places else {}
    rows = [
        [row.request.label, str(place.tree), megabytes(sum(every[tree.path].size for tree in place.trees))]
        for row, place in places
    ]
    print(plain_rows(rows, headers=("environment", "path", "MB with its base")))
    held = f"{len(rows)} environments, {len(every)} paths: {megabytes(sum(each.size for each in every.values()))} MB"
    print(f"\n{held}; {time.monotonic() - began:.1f} s")
    _all_stand(found)
    return EXIT_OK


def _make_own(work: ImageWork) -> None:
    """The project's own environment, in which the app of the flake starts."""
    maker = nix_maker(work.places)
    for python in pythons_with_tables(data_root() / "images" / "nix", work.committed.machine):
        place = maker.own(python)
        maker.make(place, work.places.roots / f"{place.name}-{ORCHESTRATOR}")
        say(f"{place.name}: for `nix run`")


def _verify(work: ImageWork) -> int:
    """Lets Nix build environments again and compare them. Raises ImageFault with all that differ."""
    found = sample(_here(work, work.options.environment), work.options)
    with threads(BUILDS_AT_ONCE) as pool:
        maker = nix_maker(work.places)
        tasks = [pool.submit(_verified, maker, place, reason) for _, place, reason in found]
        faults = []
        for number, ((row, _, _), task) in enumerate(zip(found, tasks, strict=True), 1):
            fault, said = task.result()
            say(f"[{number}/{len(found)}] {row.request.label}: {said}")
            faults += [f"{row.request.label}: {fault}"] if fault else []
    _all_stand(found)
    if faults:
        raise ImageFault("\n".join(faults), tip="`nox -s lock` shows what has changed: a wheel, or the unpacking code")
    print(f"{len(found)} environments are what is committed, built again by Nix")
    return EXIT_OK


def _verified(maker: Maker, place: StoreEnvironment | None, reason: str) -> tuple[str, str]:
    """What is wrong, and the message."""
    if place is None:
        return "", f"not verified: {reason}"
    began = time.monotonic()
    fault = maker.check(place)
    digest = place.environment.tree.nar.digest[:SHORT]
    return fault, f"DIFFERS: {fault}" if fault else f"NAR {digest} built again, {time.monotonic() - began:.1f} s"


def _here(work: ImageWork, names: Sequence[str]) -> list[Located]:
    """The environments to build. Raises UsageError for those of another machine."""
    machine = work.committed.machine
    if machine != platform.machine():
        raise UsageError(
            f"--machine: read {machine!r}, expected {platform.machine()!r}: Nix builds here for this machine",
            tip="`image plan --engine nix` says the paths of others",
        )
    return _places(work, names)


def _places(work: ImageWork, names: Sequence[str]) -> list[Located]:
    """The requested environments."""
    places = NixTables(data_root() / "images" / "nix", work.committed.machine)
    found: list[Located] = []
    for row in work.choose(names):
        try:
            place = places.find(row.request, row.image) if row.image else None
            found.append((row, place, row.reason))
        except NoImage as error:
            found.append((row, None, str(error)))
    return found


def _all_stand(found: Iterable[Located]) -> None:
    if lacking := [f"{row.request.label}: {reason}" for row, place, reason in found if place is None]:
        raise NoImage("\n".join(lacking), tip="`python -m matrix image plan --engine nix` shows which have one")


NIX_VERBS: Mapping[str, Callable[[ImageWork], int]] = {"plan": _plan, "build": _build, "verify": _verify}
