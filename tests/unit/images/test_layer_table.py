"""The committed tables: what is written is read back, in an order that shares layers, with a reason where none is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from layer_samples import TEXT, request_of, table, wheel

from matrix.core.errors import LockFault, NoImage
from matrix.images.debian.lock import BaseLock
from matrix.images.layer_table import (
    compute_image,
    layer_order,
    layer_table_text,
    read_layer_table,
    read_table_wishes,
    table_path,
)

COMMITTED = Path(__file__).parents[3] / "images" / "layers"


def base() -> BaseLock:
    return BaseLock(
        python="3.11",
        suite="bookworm",
        moving=False,
        released="2026-01-01T00:00:00Z",
        glibc="2.36",
        packages=("python3.11-minimal",),
        exclude=(),
        machines=(),
    )


def test_what_is_written_is_read_back(tmp_path):
    written = table(wheel("numpy", tools=("iree/tool",)), wheel("zlib", number=2))
    table_path(tmp_path, "3.11", "x86_64").write_text(layer_table_text(written), encoding="utf-8")
    assert read_layer_table(tmp_path, "3.11", "x86_64") == written


def test_the_order_of_the_wheels_does_not_matter():
    one, two = wheel("a"), wheel("b", number=2)
    assert layer_table_text(table(one, two)) == layer_table_text(table(two, one))
    assert len(layer_table_text(table(one, two)).splitlines()) == 11


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*.json")), ids=lambda path: path.stem)
def test_committed_tables_are_as_the_code_writes_them(path):
    python, _, machine = path.stem.partition("-")
    found = read_layer_table(COMMITTED, python, machine)
    assert found is not None
    assert layer_table_text(found) == path.read_text(encoding="utf-8")
    assert (python, machine) in {(wish.python, wish.machine) for wish in read_table_wishes(COMMITTED)}


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "python": "3.11"}'])
def test_a_table_that_cannot_be_read_is_named(tmp_path, text):
    table_path(tmp_path, "3.11", "x86_64").write_text(text, encoding="utf-8")
    with pytest.raises(LockFault, match=r"3\.11-x86_64\.json"):
        read_layer_table(tmp_path, "3.11", "x86_64")


def test_no_table_is_none(tmp_path):
    assert read_layer_table(tmp_path, "3.11", "x86_64") is None


def test_what_many_share_lies_lowest_and_the_pins_highest():
    names = ["zlib", "iree-base-runtime", "sympy", "numpy", "attrs"]
    ordered = layer_order([wheel(name) for name in names], ["iree-base-runtime"])
    assert [each.name for each in ordered] == ["numpy", "sympy", "attrs", "zlib", "iree-base-runtime"]


def test_an_image_lies_on_base_and_skeleton(tmp_path):
    runtime = wheel("iree-base-runtime", tools=("iree/_runtime_libs/iree-run-module",))
    image = compute_image(request_of(tmp_path, TEXT), table(runtime, wheel("numpy", number=2)), base())
    assert [part.made_of.partition("-")[0] for part in image.layers] == [
        "base",
        "skeleton",
        "numpy",
        "iree_base_runtime",
    ]
    place = "lib/python3.11/site-packages/iree/_runtime_libs/iree-run-module"
    assert image.tools == {"iree-run-module": place}
    assert image.distributions == (("iree-base-runtime", "1.0"), ("numpy", "1.0"))
    assert image.size == 4096 + 2048 + 2 * 1024
    assert json.loads(image.config)["rootfs"]["diff_ids"][0] == f"sha256:{'b' * 64}"


def test_no_table_or_no_base_is_a_reason(tmp_path):
    request = request_of(tmp_path, TEXT)
    for committed, lock in ((None, base()), (table(), None)):
        with pytest.raises(NoImage, match=r"no base image for Python 3\.11"):
            compute_image(request, committed, lock)


def test_a_package_without_a_layer_is_a_reason(tmp_path):
    request = request_of(tmp_path, TEXT)
    with pytest.raises(NoImage, match=r"no layer for numpy 1\.0 on x86_64"):
        compute_image(request, table(wheel("iree-base-runtime")), base())
    with pytest.raises(NoImage, match=r"no layer for numpy 1\.0"):  # the same package, but not a wheel of the lock
        compute_image(request, table(wheel("iree-base-runtime"), wheel("numpy", number=3)), base())
