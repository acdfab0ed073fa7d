"""Packages that a model needs beside torch and turbine in the exporter's environment: what may be asked, which pins
answer it, under which key the answer is kept. Pure.

They are asked for as requirements (`transformers==4.57.1`, `torchvision`): by a model file's PACKAGES, or by a value of
a spec's own axis. All of a cell's go into one lock, beside those of the exporter lock that it extends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from matrix.keys import digest

FORMAT = 1
"""Goes into every key. Raise it when the same question is to be resolved anew."""
AXES = ("torch", "iree-turbine", "iree-base-compiler", "iree-base-runtime")
"""Packages that are axes, or go with one: their versions are chosen there."""


def fault_of(word: str) -> str:
    """Why a word is no requirement that can be asked for; empty where it is one."""
    try:
        requirement = Requirement(word)
    except InvalidRequirement:
        return f"read {word!r}, expected a requirement such as 'transformers==4.57.1'"
    if requirement.url:
        return f"read {word!r}, expected a package of the index, no address: only such a one has a hash to lock"
    if canonicalize_name(requirement.name) in AXES:
        return f"read {word!r}, expected another package: {requirement.name} is chosen by an axis of the matrix"
    return ""


def answer(pins: Mapping[str, str], packages: Iterable[str]) -> bool:
    """The pins are just what was asked for: a fitting version of each package, and no package that nobody named."""
    asked = [Requirement(word) for word in packages]
    named = {canonicalize_name(requirement.name) for requirement in asked}
    return pins.keys() == named and all(
        requirement.specifier.contains(pins[canonicalize_name(requirement.name)], prereleases=True)
        and not (requirement.extras or requirement.marker)  # what these add is not in the pins
        for requirement in asked
    )


def names(packages: Iterable[str]) -> tuple[str, ...]:
    """The names of the packages that are asked for, each once, sorted."""
    return tuple(sorted({canonicalize_name(Requirement(word).name) for word in packages}))


def key_of(base: str, packages: Iterable[str], python: str) -> str:
    """Names the answer for the exporter lock of the digest `base`: another base, another answer."""
    return digest({"format": FORMAT, "base": base, "packages": sorted(packages), "python": python})[:32]
