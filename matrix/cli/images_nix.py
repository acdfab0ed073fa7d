"""`python -m matrix image … --engine nix`: the environments of a preset as paths of the Nix store."""

from __future__ import annotations

import platform
import time
from argparse import Namespace
from collections.abc import Callable, Iterable

from matrix.cli.images import Committed, chosen_rows, sample
from matrix.core.data import data_root
from matrix.core.errors import EXIT_OK, ImageFault, NoImage, UsageError
from matrix.core.text import plain_rows
from matrix.engines.choice import nix_maker
from matrix.engines.nix.making import Maker
from matrix.engines.nix.store import NixStore
from matrix.images.nix.table import OWN, Place, Places, pythons_with_tables
from matrix.run.stand import SHORT, Row, make_images, megabytes, say, threads
from matrix.run.store import Store

AT_ONCE = 4
"""Builds at the same time: Nix hashes one on one core while another is unpacked."""


def plan(options: Namespace) -> int:
    """Says where the environments are or will be; needs no Nix and touches nothing."""
    table = []
    for row, place, reason in _places(options):
        if place is None:
            table.append([row.request.label, "none", "", "", reason])
            continue
        state = "in the store" if place.tree.is_dir() else "to build"
        assert row.image is not None
        image, size = row.image.digest[:SHORT], megabytes(place.environment.tree.nar.size)
        table.append([row.request.label, image, str(place.tree), size, state])
    print(plain_rows(table, headers=("environment", "image", "path", "MB", "state")))
    return EXIT_OK


def build(options: Namespace) -> int:
    """Fetches what Nix needs and has it build what its store lacks; then says what all take. `matrix` among the
    environments is this project's own."""
    began = time.monotonic()
    chosen = options.environment
    options.environment = [name for name in chosen if name != OWN]
    found = [] if chosen and not options.environment else _here(options)
    make_images(options.store, [row for row, _, _ in found], engine_name="nix", at_once=AT_ONCE)
    if not chosen or OWN in chosen:
        _make_own(options)
    places = [(row, place) for row, place, _ in found if place is not None]
    every = NixStore().closure(*(tree.path for _, place in places for tree in place.trees)) if places else {}
    rows = [
        [row.request.label, str(place.tree), megabytes(sum(every[tree.path].size for tree in place.trees))]
        for row, place in places
    ]
    print(plain_rows(rows, headers=("environment", "path", "MB with its base")))
    held = f"{len(rows)} environments, {len(every)} paths: {megabytes(sum(each.size for each in every.values()))} MB"
    print(f"\n{held}; {time.monotonic() - began:.1f} s")
    _all_have(found)
    return EXIT_OK


def _make_own(options: Namespace) -> None:
    """This project's own environment, which the app of the flake starts in."""
    with Store(options.store) as store:
        maker = nix_maker(store.places)
        for python in pythons_with_tables(data_root() / "images" / "nix", options.machine):
            place = maker.own(python)
            maker.make(place, store.places.roots / f"{place.name}-{OWN}")
            say(f"{place.name}: for `nix run`")


def verify(options: Namespace) -> int:
    """Lets Nix build environments again and compare. Raises ImageFault with all that differ."""
    found = sample(_here(options), options)
    with Store(options.store) as store, threads(AT_ONCE) as pool:
        maker = nix_maker(store.places)
        tasks = [pool.submit(_verified, maker, place, reason) for _, place, reason in found]
        faults = []
        for number, ((row, _, _), task) in enumerate(zip(found, tasks, strict=True), 1):
            fault, said = task.result()
            say(f"[{number}/{len(found)}] {row.request.label}: {said}")
            faults += [f"{row.request.label}: {fault}"] if fault else []
    _all_have(found)
    if faults:
        raise ImageFault("\n".join(faults), tip="`nox -s lock` shows what has changed: a wheel, or the unpacking code")
    print(f"{len(found)} environments are what is committed, built again by Nix")
    return EXIT_OK


def _verified(maker: Maker, place: Place | None, reason: str) -> tuple[str, str]:
    """What is wrong, and what to say."""
    if place is None:
        return "", f"not verified: {reason}"
    began = time.monotonic()
    fault = maker.check(place)
    digest = place.environment.tree.nar.digest[:SHORT]
    return fault, f"DIFFERS: {fault}" if fault else f"NAR {digest} built again, {time.monotonic() - began:.1f} s"


def _here(options: Namespace) -> list[tuple[Row, Place | None, str]]:
    """The same, where Nix is to build them: Raises UsageError for another machine's."""
    if options.machine != platform.machine():
        raise UsageError(
            f"--machine: read {options.machine!r}, expected {platform.machine()!r}: Nix builds here for this machine",
            tip="`image plan --engine nix` says the paths of others",
        )
    return _places(options)


def _places(options: Namespace) -> list[tuple[Row, Place | None, str]]:
    """The environments that were asked for, and where each is; else why it is nowhere."""
    places = Places(data_root() / "images" / "nix", options.machine)
    found: list[tuple[Row, Place | None, str]] = []
    for row in chosen_rows(options, Committed(options.machine)):
        try:
            place = places.find(row.request, row.image) if row.image else None
            found.append((row, place, row.reason))
        except NoImage as error:
            found.append((row, None, str(error)))
    return found


def _all_have(found: Iterable[tuple[Row, Place | None, str]]) -> None:
    if lacking := [f"{row.request.label}: {reason}" for row, place, reason in found if place is None]:
        raise NoImage("\n".join(lacking), tip="`python -m matrix image plan --engine nix` shows which have one")


SUBVERBS: dict[str, Callable[[Namespace], int]] = {"plan": plan, "build": build, "verify": verify}
