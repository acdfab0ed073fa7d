"""Locked drivers of devices: their locks, how a tool finds them, and what a person reads of a faulty row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import spec_of

from matrix.builds.drivers import Driver, read_drivers, shipped_drivers
from matrix.core.data import data_root
from matrix.core.errors import LockFault
from matrix.core.records import Environment
from matrix.engines.contract import tool_variables
from matrix.images.debian.tool_locking import set_text
from matrix.images.debian.unpacked import TOOLS_MACHINE, read_set
from matrix.images.debian.wanted import read_tool_wishes
from matrix.run.planning import load_catalogue

IMAGES = data_root() / "images" / "drivers"
LAVAPIPE = shipped_drivers()["lavapipe"]


def test_every_driver_is_wanted_and_locked() -> None:
    wanted = read_tool_wishes(IMAGES).sets
    assert {row.name for row in wanted} == set(shipped_drivers())
    for row in wanted:
        lock = read_set(IMAGES, row.name)
        names = {deb.package for deb in lock.on(TOOLS_MACHINE).debs}
        assert set(row.packages) <= names
        assert not set(row.exclude) & names
        assert set_text(lock) == (IMAGES / f"debian-{row.name}.toml").read_text()


def test_the_drivers_of_shipped_targets_exist() -> None:
    named = {target.driver for target in load_catalogue(spec_of()).targets.values()} - {""}
    assert named == set(shipped_drivers())


def test_the_device_of_lavapipe_is_named_after_the_locked_mesa() -> None:
    """Mesa makes the name of its device from its version, and the target names the device: both change together."""
    (mesa,) = [deb.version for deb in read_set(IMAGES, "lavapipe").on(TOOLS_MACHINE).debs if "mesa" in deb.package]
    (flag,) = load_catalogue(spec_of()).targets["vulkan-lavapipe"].flags["run"]
    name = bytes.fromhex(flag.removeprefix("--device=vulkan://GPU-")).rstrip(b"\0").decode()
    assert name == "mesa" + mesa.partition("-")[0]


def test_a_tool_finds_it_by_variables_wherever_the_store_is() -> None:
    environment = Environment(
        request_label="runtime/3.13.0",
        engine="venv",
        digest="d",
        root=Path("/moved/env"),
        python_version="3.11.2",
        c_library="glibc 2.36",
        tools={},
        distributions=(),
        variables=LAVAPIPE.variables,
    )
    variables = tool_variables(environment)
    assert variables["LD_LIBRARY_PATH"] == "/moved/env/driver/usr/lib/x86_64-linux-gnu"
    assert variables["VK_DRIVER_FILES"] == variables["VK_ICD_FILENAMES"] == "/moved/env/driver.json"
    assert variables["LP_NATIVE_VECTOR_WIDTH"] == "256"
    library = json.loads(LAVAPIPE.manifest)["ICD"]["library_path"]
    assert library == "driver/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"  # relative to the manifest itself


def test_all_faults_of_a_row_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "drivers.toml").write_text('format = 1\n[mine]\nlibary = "x"\nsettings = ["A"]\nsubgroups = ["x"]\n')
    with pytest.raises(LockFault) as raised:
        read_drivers(tmp_path)
    for word in (
        "mine.libary: unknown key",
        "mine.library: is missing",
        "mine.settings[0]: read 'A', expected NAME=",
        "mine.subgroups[0]: read 'x', expected a number",
    ):
        assert word in str(raised.value)


def test_a_row_is_this_record(tmp_path: Path) -> None:
    text = 'format = 1\n[mine]\npackage = "p"\nlibrary = "l"\nlibraries = "d"\napi = "1.3.0"\nsubgroups = ["4"]\n'
    (tmp_path / "drivers.toml").write_text(text + 'settings = ["A=b=c"]\n')
    found = read_drivers(tmp_path)["mine"]
    assert found == Driver(
        name="mine", package="p", library="l", libraries="d", api="1.3.0", subgroups=("4",), settings=("A=b=c",)
    )
    assert found.variables[-1] == ("A", "b=c")
