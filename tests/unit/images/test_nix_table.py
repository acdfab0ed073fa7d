"""The committed store paths: what is written is read back, and what does not fit the layers is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.core.errors import LockFault, NoImage
from matrix.core.records import EnvironmentRequest
from matrix.images.debian.lock import load_bases
from matrix.images.layer_table import compute_image, read_table_wishes, table_path
from matrix.images.layer_table import read_layer_table as read_layers
from matrix.images.nix.nar import Nar
from matrix.images.nix.table import NixEnvironment, NixTable, StoreTree, Wheel, nix_table_text, read_nix_table
from matrix.plan.locks import kind_of, load_locks

IMAGES = Path(__file__).parents[3] / "images"
COMMITTED = sorted((IMAGES / "nix").glob("*.json"))


def tree(name: str, number: int) -> StoreTree:
    return StoreTree(name=name, nar=Nar(digest=f"{number:064x}", size=number))


def table() -> NixTable:
    numpy = Wheel(file="numpy-1.0-py3-none-any.whl", sha256="a" * 64)
    tools = {"iree-run-module": "lib/python3.11/site-packages/iree/_runtime_libs/iree-run-module"}
    row = NixEnvironment(lock="runtime/1.0", tree=tree("runtime", 2), wheels=(numpy,), tools=tools)
    installer = Wheel(file="installer-1.0-py3-none-any.whl", sha256="c" * 64)
    own = NixEnvironment(lock="matrix", tree=tree("matrix", 4), wheels=(installer,), tools={"uv": "bin/uv"})
    return NixTable(
        python="3.11",
        machine="x86_64",
        base=tree("base", 1),
        layer="b" * 64,
        environments=(own, row, replace(row, lock="compiler/2.0+x.cuda", tree=tree("compiler", 3), tools={})),
    )


def written(folder: Path, text: str) -> None:
    table_path(folder, "3.11", "x86_64").write_text(text, encoding="utf-8")


def test_what_is_written_is_read_back(tmp_path):
    written(tmp_path, nix_table_text(table()))
    found = read_nix_table(tmp_path, "3.11", "x86_64")
    assert found is not None
    assert nix_table_text(found) == nix_table_text(table())
    assert {each.lock: each for each in found.environments} == {each.lock: each for each in table().environments}


def test_an_attribute_is_a_name_of_nix():
    assert table().environments[2].attribute == "compiler-2_0-x_cuda"


def test_a_path_that_does_not_follow_from_its_digest_is_refused(tmp_path):
    read = json.loads(nix_table_text(table()))
    read["environments"][0]["nar"] = "f" * 64
    written(tmp_path, json.dumps(read))
    with pytest.raises(LockFault, match=r"images/nix/3\.11-x86_64\.json: ValueError: compiler: read the path"):
        read_nix_table(tmp_path, "3.11", "x86_64")


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "wheels": {}}'])
def test_a_table_that_cannot_be_read_is_named(tmp_path, text):
    written(tmp_path, text)
    with pytest.raises(LockFault, match=r"3\.11-x86_64\.json"):
        read_nix_table(tmp_path, "3.11", "x86_64")


def test_no_table_is_none(tmp_path):
    assert read_nix_table(tmp_path, "3.11", "x86_64") is None


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_tables_fit_the_committed_layers(path):
    """Each lock that is to have layers has a store path, of the same wheels on the same base."""
    python, _, machine = path.stem.partition("-")
    found, layers = read_nix_table(path.parent, python, machine), read_layers(IMAGES / "layers", python, machine)
    assert found is not None
    assert layers is not None
    assert nix_table_text(found) == path.read_text(encoding="utf-8")
    assert found.layer == layers.base.digest
    (base,) = (each for each in load_bases(IMAGES / "base") if each.python == python)
    (wish,) = (
        each for each in read_table_wishes(IMAGES / "layers") if (each.python, each.machine) == (python, machine)
    )
    locks = [lock for lock in load_locks(IMAGES / "locks").locks if wish.wants(lock.name) and not lock.refusal]
    assert {each.lock for each in found.environments} == {"matrix", *(lock.name for lock in locks)}
    for lock in locks:
        request = EnvironmentRequest(kind=kind_of(lock), python=python, lock=lock)
        image = compute_image(request, layers, base)
        assert dict(found.find(request, image).tools) == dict(image.tools)


def test_other_wheels_or_none_are_a_reason():
    path = COMMITTED[0]
    python, _, machine = path.stem.partition("-")
    found, layers = read_nix_table(path.parent, python, machine), read_layers(IMAGES / "layers", python, machine)
    assert found is not None
    (base,) = (each for each in load_bases(IMAGES / "base") if each.python == python)
    lock = next(lock for lock in load_locks(IMAGES / "locks").locks if lock.name == "runtime/3.8.0")
    request = EnvironmentRequest(kind="runtime", python=python, lock=lock)
    image = compute_image(request, layers, base)
    fewer = replace(image, layers=image.layers[:-1])
    with pytest.raises(NoImage, match=r"runtime/3\.8\.0 on Python 3\.11: images/nix names other wheels"):
        found.find(request, fewer)
    with pytest.raises(NoImage, match="images/nix has no store path of it"):
        replace(found, environments=()).find(request, image)
