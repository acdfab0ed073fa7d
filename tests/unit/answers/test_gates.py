"""Predictions from `.vmfb` files alone, beside the 225 outcomes that were measured with the same modules."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from modules import RELEASES, affine_modules, linear_modules, module, vulkan_modules

from matrix.answers.gates import (
    GONE_TYPES,
    OLDER_GATES_FILE,
    gates_json,
    learn_gates,
    learn_gates_from,
    likely_compilers,
    load_gates,
    predict,
)
from matrix.answers.predictions import ON_DEVICE, device_predictions, prediction_agreement, predictions
from matrix.answers.whatis import explain_module
from matrix.artifacts.vmfb import Function, read_vmfb
from matrix.cli import publish
from matrix.cli.main import main
from matrix.core.data import DATA
from matrix.core.errors import FileFault
from matrix.core.versions import minor
from matrix.results.files import read_run

RESULTS = Path(__file__).parents[3] / "results" / "portability.json"


def square():
    modules = {minor(release): read_vmfb(module(f"linear-{release}")) for release in RELEASES}
    return {
        (compiler, gates.release): predict(found, gates)
        for compiler, found in modules.items()
        for gates in load_gates()
    }


def test_all_225_predictions_agree_with_what_was_observed_gate_for_gate():
    found = prediction_agreement(read_run(RESULTS).cells, square())
    assert (found.agreeing, found.other) == (225, ())


def test_releases_are_predicted_as_their_modules_are():
    """The table of gates alone, without any module, says the same of every pair."""
    by_release = predictions(load_gates())
    assert {pair: found.gate for pair, found in square().items()} == {
        pair: found.gate for pair, found in by_release.items()
    }


def on_vulkan():
    modules = {minor(release): read_vmfb(vulkan_modules() / f"vulkan-{release}.vmfb") for release in RELEASES}
    return {
        (compiler, gates.release, ON_DEVICE): predict(found, gates)
        for compiler, found in modules.items()
        for gates in load_gates()
    }


def test_modules_for_a_device_meet_the_header_of_their_executables_and_no_abi_of_native_code():
    square = on_vulkan()
    assert {pair: found.gate for pair, found in square.items()} == {
        pair: found.gate for pair, found in device_predictions(load_gates()).items()
    }
    refused = {pair[:2] for pair, found in square.items() if found.gate == "executable-header"}
    older, newer = ("3.4", "3.5", "3.6", "3.7", "3.8"), ("3.9",)
    assert refused == {*itertools.product(older, newer), *itertools.product(newer, older)}
    assert square["3.8", "3.9", ON_DEVICE].detail.startswith(
        "executables have no header before their FlatBuffer, runtime"
    )
    assert "executable-abi" not in {found.gate for found in square.values()}


@pytest.mark.parametrize(("release", "header"), [("3.8.0", False), ("3.9.0", True)])
def test_code_for_a_device_says_whether_it_has_the_header(release, header):
    (code,) = read_vmfb(vulkan_modules() / f"vulkan-{release}.vmfb").executables
    assert (code.format, code.device_header, code.library_abi) == ("vulkan-spirv-fb", header, None)
    assert load_gates()[RELEASES.index(release)].device_header is header


def test_without_any_outcome_the_predictions_are_the_same(tmp_path, monkeypatch):
    found = read_vmfb(module("linear-3.8.0"))
    before = explain_module(found, load_gates(), publish.observed_of((), tmp_path))
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    after = explain_module(found, load_gates(), publish.observed_of((), tmp_path))
    assert (after.predictions, after.compilers) == (before.predictions, before.compilers)
    assert set(after.observed) == {""} != set(before.observed)


def test_the_committed_gates_are_what_the_modules_teach(tmp_path):
    """Of the facts that `linear` shows: the committed table holds more imports, of more models."""
    for release in RELEASES:
        folder = tmp_path / release
        folder.mkdir()
        (folder / "module.vmfb").write_bytes((linear_modules() / f"linear-{release}.vmfb").read_bytes())
        (folder / "device.vmfb").write_bytes((vulkan_modules() / f"vulkan-{release}.vmfb").read_bytes())
    learnt = {gates.release: gates for gates in learn_gates_from(tmp_path)}
    assert list(learnt) == [gates.release for gates in load_gates()]
    for gates in load_gates():
        shown = learnt[gates.release]
        assert (shown.bytecode_version, shown.library_abi) == (gates.bytecode_version, gates.library_abi)
        assert shown.device_header is gates.device_header
        assert shown.modules == gates.modules
        assert shown.imports.items() <= gates.imports.items()
        assert shown.features & ~gates.features == 0


def test_the_table_of_gates_survives_writing_and_reading(tmp_path):
    path = tmp_path / "gates.json"
    path.write_text(gates_json(load_gates()))
    assert load_gates(path) == load_gates()
    assert path.read_text() == (DATA / "gates.json").read_text()


@pytest.mark.parametrize(
    ("release", "compilers"),
    [
        ("2.9.0", {"2.9", "3.0", "3.1", "3.2", "3.3"}),
        ("3.8.0", {"3.8", "3.9"}),
        ("3.10.0", {"3.10"}),
        ("3.11.0", {"3.11"}),
    ],
)
def test_the_likely_compilers(release, compilers):
    assert set(likely_compilers(read_vmfb(module(f"linear-{release}")), load_gates())) == compilers


def test_modules_for_other_targets_meet_the_same_gates():
    by_release = {gates.release: gates for gates in load_gates()}
    arm = read_vmfb(module("arm-3.5.0"))
    assert predict(arm, by_release["3.7"]).loads
    assert predict(arm, by_release["3.8"]).gate == "executable-abi"
    # No native code, so no executable ABI: the imports decide.
    assert predict(read_vmfb(module("vmvx-3.13.0")), by_release["3.12"]).loads


def test_an_import_that_no_module_has_shown_is_not_called_fine():
    (gates,) = [each for each in load_gates() if each.release == "3.8"]
    found = read_vmfb(module("linear-3.8.0"))
    unknown = replace(found, imports=(*found.imports, Function(name="hal.new.thing", signature="0v_v")))
    assert predict(found, gates).unseen == ()
    assert predict(unknown, gates).unseen == ("hal.new.thing",)


def test_every_release_meets_every_gate_in_the_order_of_the_runtime():
    found = read_vmfb(module("linear-3.12.0"))
    gates = {each.release: each for each in load_gates()}
    assert predict(found, gates["3.10"]).gate == "vm-features"
    assert predict(replace(found, features=0), gates["3.10"]).gate == "vm-bytecode-version"
    as_if = replace(found, features=0, bytecode_version=(16, 0))
    assert predict(as_if, gates["3.10"]).gate == "module-version"
    assert predict(replace(as_if, modules=(("hal", 6),)), gates["3.10"]).gate == "import-signature"
    assert predict(replace(as_if, modules=(), imports=()), gates["3.10"]).loads
    assert (
        predict(replace(as_if, bytecode_version=(15, 0), modules=(), imports=()), gates["3.7"]).gate == "executable-abi"
    )
    assert predict(replace(as_if, bytecode_version=(16, 1)), gates["3.10"]).gate == "vm-bytecode-version"


def test_modules_of_two_releases_are_refused():
    mixed = [read_vmfb(module("linear-3.8.0")), read_vmfb(module("linear-3.10.0"))]
    with pytest.raises(FileFault, match=r"modules of 3\.8: read bytecode \[\(15, 0\), \(16, 0\)\]"):
        learn_gates("3.8", mixed)


def test_a_folder_without_modules_is_refused(tmp_path):
    with pytest.raises(FileFault, match="expected one for each release"):
        learn_gates_from(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(FileFault, match="expected a folder of folders named by release"):
        learn_gates_from(tmp_path)


# -- dated releases

HISTORY = RESULTS.with_name("history.json")


def dated_modules():
    found = {path.stem.removeprefix("affine-"): read_vmfb(path) for path in affine_modules().glob("*.vmfb")}
    assert len(found) == 16
    return found


def test_numbered_runtimes_are_predicted_for_modules_of_dated_compilers_gate_for_gate():
    square = {
        (compiler, gates.release): predict(found, gates)
        for compiler, found in dated_modules().items()
        for gates in load_gates()
    }
    found = prediction_agreement(read_run(HISTORY).cells, square)
    assert (found.agreeing, found.other) == (16 * 15, ())


def test_types_that_are_gone_are_those_of_all_earlier_modules_alone():
    dated = dated_modules()
    earlier = [set(found.types) for release, found in dated.items() if release <= "20240724.964"]
    later = [set(found.types) for release, found in dated.items() if release > "20240724.964"]
    later += [set(read_vmfb(module(f"linear-{release}")).types) for release in RELEASES]
    assert set.intersection(*earlier) - set.union(*later) == GONE_TYPES


def test_dated_compilers_are_told_apart_by_their_modules():
    every = (*load_gates(OLDER_GATES_FILE), *load_gates())
    found = {release: set(likely_compilers(read, every)) for release, read in dated_modules().items()}
    assert all(release in compilers for release, compilers in found.items())
    assert found["20230209.425"] == {"20230209.425", "20230228.444"}
    assert found["20231004.665"] == {"20231004.665"}
    assert found["20240724.964"] == {"20240410.859", "20240621.931", "20240724.964"}
    assert found["20241104.1068"] >= {"20240828.999", "20241104.1068", "2.9", "3.3"}


def test_a_module_of_the_layout_before_april_2023_is_read_whole():
    older, newer = (read_vmfb(module(f"affine-{release}")) for release in ("20230228.444", "20230404.479"))
    assert (older.bytecode_version, newer.bytecode_version) == ((13, 0), (15, 0))
    assert (older.types, older.modules, older.imports) == (newer.types, newer.modules, newer.imports)
    assert [(each.name, each.signature) for each in older.exports] == [("main", "0r_r"), ("__init", "0v_v")]
    assert sum(size for _, size in older.parts) == older.size
    assert older.executables[0].library_abi == newer.executables[0].library_abi == 3


def test_whatis_says_on_which_dated_runtimes_such_modules_ran(capsys):
    assert main(["whatis", str(module("affine-20240724.964")), "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    loaded = [row["release"] for row in content["older_runtimes"] if row["observed"] == "passed"]
    assert loaded == ["20240410.859", "20240621.931", "20240724.964"]
    assert {row["gate"] for row in content["runtimes"]} == {"type-missing", "vm-bytecode-version"}
    assert all(row["gate"] == row["observed"] for row in content["runtimes"])
    assert main(["whatis", str(module("affine-20240724.964"))]) == 0
    assert "likely compilers   20240410.859, 20240621.931, 20240724.964" in capsys.readouterr().out
