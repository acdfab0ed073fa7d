"""What is committed for 32-bit Arm can be read, names no place, and its faults are named together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy
import pytest
from numpy.typing import NDArray

from matrix.builds import tools
from matrix.builds.sources import own_sources
from matrix.core.data import DATA
from matrix.core.errors import LockFault
from matrix.images.debian.tool_locking import set_text
from matrix.images.debian.unpacked import TOOLS_MACHINE, read_set
from matrix.images.debian.wanted import read_tool_wishes
from matrix.plan.backends.iree.source_builds import read_cross_toolchains
from matrix.plan.user_inputs import UserModel
from matrix.run.planning import load_spec

Array: TypeAlias = NDArray[Any]


def test_every_set_that_is_wanted_is_locked() -> None:
    wanted = read_tool_wishes(tools.images())
    for row in wanted.sets:
        lock = read_set(tools.images(), row.name)
        names = [deb.package for deb in lock.on(TOOLS_MACHINE).debs]
        assert set(row.packages) <= set(names)
        assert not set(row.exclude) & set(names)
        assert set_text(lock) == (tools.images() / f"debian-{row.name}.toml").read_text()


def test_a_set_that_no_command_could_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wanted.toml").write_text('format = 1\nsuite = "bookworm"\n[[set]]\nname = "arm64"\npackages = []\n')
    with pytest.raises(LockFault, match=r"set\[0\]\.name: read 'arm64', expected small letters"):
        read_tool_wishes(tmp_path)


def test_the_tools_are_locked_with_hashes() -> None:
    text = (tools.images() / "tools.txt").read_text()
    for requirement in read_tool_wishes(tools.images()).tools:
        name = re.split(r"[<>=]", requirement)[0]
        assert re.search(rf"^{name}==\S+ \\\n    --hash=sha256:", text, re.M)


def test_all_faults_of_a_lock_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "debian-x.toml").write_text('format = 2\nsuite = 1\nwhat = "?"\n')
    with pytest.raises(LockFault) as raised:
        read_set(tmp_path, "x")
    for word in ("format: read 2", "suite: read 1", "what: unknown key", "released: is missing", "x86_64.layer"):
        assert word in str(raised.value)


def test_a_lock_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LockFault, match=r"debian-x\.toml: cannot be read") as raised:
        read_set(tmp_path, "x")
    assert "nox -s lock" in raised.value.tip


def test_a_toolchain_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toolchains.toml").write_text('[mine]\ncc = ["cc"]\nfloat_abi = "softer"\nlnik = []\n')
    with pytest.raises(LockFault) as raised:
        read_cross_toolchains(tmp_path / "toolchains.toml")
    assert "mine.lnik" in str(raised.value)
    assert "mine.float_abi" in str(raised.value)


def test_a_tree_that_is_not_iree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockFault, match="no IREE source tree"):
        own_sources(tmp_path)


def conv(image: Array, weights: Array, bias: Array) -> Array:
    """3 x 3 convolution without padding, bias, then relu6, by its definition."""
    found = numpy.zeros((1, 8, 16, 16))
    for y, x in itertools.product(range(16), range(16)):
        found[0, :, y, x] = (image[0, None, :, y : y + 3, x : x + 3] * weights).sum(axis=(1, 2, 3)) + bias
    return numpy.clip(found, 0.0, 6.0)


REFERENCES: dict[str, Callable[..., Array]] = {
    "matmul": numpy.matmul,
    "exp": numpy.exp,
    "maximum": numpy.fmax,
    "division": lambda one, other: numpy.trunc(one / other),  # towards zero, as C and MLIR's divsi divide
    "conv": conv,
}
AFFINE = {"affine"}
"""Of the preset `history`."""


@pytest.mark.parametrize("model", load_spec("armv6-smoke").models.values(), ids=lambda model: model.name)
def test_what_is_expected_of_a_module_is_what_numpy_computes_in_double(model: UserModel) -> None:
    inputs = [numpy.load(DATA / "presets" / path) for path in model.inputs]
    expected = numpy.load(*(DATA / "presets" / path for path in model.expected))
    reference = REFERENCES[model.name](*(array.astype(numpy.float64) for array in inputs))
    assert (DATA / "presets" / model.path).is_file()
    assert expected.dtype == inputs[0].dtype
    assert numpy.allclose(expected, reference, rtol=1e-6, atol=1e-6)
    assert len(numpy.unique(expected)) > 3


def test_every_module_is_in_the_preset() -> None:
    assert load_spec("armv6-smoke").models.keys() == REFERENCES.keys()
    assert {path.stem for path in (DATA / "modules").glob("*.mlir")} - AFFINE == REFERENCES.keys()
