"""The content of an environment of this machine besides its wheels: C compilers and IREE's sources to build a runtime,
the repaired linker if a route of the compiler needs it, the driver of a device, and nothing for a built runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.builds.devices.own_devices import device_facts, own_driver, with_own_device
from matrix.builds.drivers import driver_facts, driver_identity, with_driver
from matrix.builds.linker import LINKER, link_folder, link_identity
from matrix.builds.planning import find_program
from matrix.builds.sources import own_sources, pinned_sources
from matrix.core.data import data_root
from matrix.core.disk import disk_errors
from matrix.core.errors import EngineMissing, StoreUnusable
from matrix.core.keys import digest, sha256, tree_digest
from matrix.core.records import Build, Environment, EnvironmentRequest
from matrix.images.debian.unpacked import TOOLS_MACHINE, Tree, read_set, unpack_debs
from matrix.images.workshop import Workshop
from matrix.plan.backends.iree.source_builds import (
    BENCHMARK_LIBRARY,
    LINK_FOLDER,
    OWN,
    TREES,
    CrossToolchain,
    read_cross_toolchains,
)
from matrix.plan.targets import DEVICES

SYSTEM_SET = "system-qemu"
"""The locked set with emulators of whole boards, which are started on their own C library."""
OTHER_EMULATORS = {
    "qemu-riscv64-static": ("newer-qemu", "qemu-riscv64"),
    "qemu-system-arm": (SYSTEM_SET, "qemu-system-arm"),
}
"""Emulators of another locked set than `qemu`, and their program there (wanted.toml says why)."""


def images() -> Path:
    """The committed data for 32-bit Arm: locks, toolchains, C sources."""
    return data_root() / "images" / "armv6"


def emulator_set(name: str) -> tuple[str, str]:
    """The locked set with an emulator, by Debian's name of it, and its program there."""
    return OTHER_EMULATORS.get(name, ("qemu", name))


def toolchains() -> Mapping[str, CrossToolchain]:
    """All of `toolchains.toml`, by name."""
    return read_cross_toolchains(images() / "toolchains.toml")


def released_linker(environment: Environment) -> str:
    """The linker of a compiler's environment, relative to its folder. Raises StoreUnusable."""
    if LINKER not in environment.tools:
        raise StoreUnusable(
            f"{environment.request_label} has no {LINKER}", tip="choose a release that has it: 3.0 or newer"
        )
    return environment.tools[LINKER]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTools:
    """`shop` has the store's locks and fetched files, `store` is its folder."""

    shop: Workshop
    store: Path

    def look_for(self, build: Build) -> None:
        """Raises EngineMissing if a compiler of the user is not on this machine."""
        for word in build.programs:
            if find_program(word, build.path) is None:
                program = word.replace(f"{{{OWN}}}", str(build.path))
                raise EngineMissing(
                    f"the toolchain of targets.{build.toolchain} has no {program} on this machine",
                    tip="install it (on Debian g++-TRIPLE), or name its folder: `path`, and {toolchain} in the words",
                )

    def identity(self, request: EnvironmentRequest) -> str:
        """The digest of the additional tools; "" if there are none, or if the request's lock has it."""
        if request.driver in DEVICES:
            return digest(own_driver(request.driver))
        if request.driver:
            return driver_identity(self.shop, request.driver)
        if not request.linked:
            return ""
        armel = read_set(self._images, "armel").on(TOOLS_MACHINE).layer
        return digest({"link": link_identity(self._images / "link"), "armel": armel})

    def furnish(self, request: EnvironmentRequest, root: Path, folder: Path, bare: Environment) -> Environment:
        """Adds the tools to the environment at `root`, whose final path is `folder`. Raises the errors of fetching."""
        if request.build:
            return self._builder(request.build, root, bare)
        if request.driver in DEVICES:
            return with_own_device(request.driver, root, bare)
        if request.driver:
            return with_driver(self.shop, self.store, request.driver, root, bare)
        return self._linked(root, folder, bare) if request.linked else bare

    def facts(self, driver: str, environment: Environment) -> dict[str, object]:
        """What results say of the driver of an environment."""
        return {**device_facts(driver, environment)} if driver in DEVICES else driver_facts(self.shop, driver)

    def packages(self, name: str) -> Tree:
        """The Debian packages of one locked set. Raises the errors of fetching."""
        return unpack_debs(read_set(self._images, name), TOOLS_MACHINE, self.store, source=lambda: self.shop.sources)

    def emulator(self, name: str) -> Path:
        """The program of a locked emulator, by Debian's name of the static one. Raises the errors of fetching."""
        chosen, program = emulator_set(name)
        return self.packages(chosen).path / "usr" / "bin" / program

    def linker(self, place: Path, iree_lld: Path) -> Tree:
        """Fills the folder of the repaired linker, which replaces that of the release. Returns the programs that it
        calls."""
        armel = self.packages("armel")
        link_folder(place, iree_lld, sources=self._images / "link", armel=armel)
        return armel

    def _builder(self, build: Build, root: Path, bare: Environment) -> Environment:
        trees = {name: self.packages(name) for name in build.sets}
        pins = self._images / "src"
        trees["source"] = own_sources(build.tree) if build.tree else pinned_sources(pins, build.release)
        if build.benchmark:
            trees["benchmark"] = self._benchmark(trees["source"], build.benchmark)
        contents = {name: tree.digest for name, tree in trees.items()}
        places = {name: tree.path for name, tree in trees.items()} | {
            "bin": Path("..") / "bin",
            "zig": Path("..") / next(root.glob("lib/python*/site-packages/ziglang")).relative_to(root),
            "zig-cache": self._cache(),
            **({OWN: build.path} if build.path else {}),
        }
        (root / TREES).mkdir()
        for name, place in places.items():
            (root / TREES / name).symlink_to(place)
        return replace(bare, digest=digest({"wheels": bare.digest, "trees": contents}))

    def _benchmark(self, source: Tree, release: str) -> Tree:
        """Google's benchmark: from a runtime's own sources if they have it."""
        carrying = (source, pinned_sources(self._images / "src", release))
        place = next(tree.path / BENCHMARK_LIBRARY for tree in carrying if (tree.path / BENCHMARK_LIBRARY).is_dir())
        return Tree(path=place, digest=tree_digest(place))

    def _linked(self, root: Path, folder: Path, bare: Environment) -> Environment:
        own = released_linker(bare)
        place = root / LINK_FOLDER
        place.mkdir()
        armel = self.linker(place, folder / own)
        parts = {path.name: sha256(path) for path in sorted(place.iterdir()) if path.name != "settings"}
        return replace(bare, digest=digest({"wheels": bare.digest, "link": parts, "armel": armel.digest}))

    @property
    def _images(self) -> Path:
        return self.shop.images / "armv6"

    def _cache(self) -> Path:
        cache = self.store / "armv6" / "zig-cache"
        with disk_errors(self.store):
            cache.mkdir(parents=True, exist_ok=True)
        return cache
