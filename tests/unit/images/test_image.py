"""An image's ID is a function of its parts, and the commands that need no daemon say it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.core.errors import UsageError
from matrix.core.records import EnvironmentRequest, Lock
from matrix.engines.docker.loaded_images import LoadedImage, remove_images
from matrix.images.image import Image, ImageLayer, make_image
from matrix.images.layer import Layer
from matrix.images.oci import write_layout

GOLDEN = "5bbb188a300edb54a72b266ddea5249686cf18c2f2c40a47bd131f7c339ad9e5"
GOLDEN_MANIFEST = "653642e1f0835043d937712335d450345072d5f9996986a8f5a9154aa4d001f3"


@pytest.fixture(autouse=True)
def _fixed_version(monkeypatch):
    monkeypatch.setattr("matrix.images.image.__version__", "0.0.test")


def part(content: bytes) -> ImageLayer:
    digest = hashlib.sha256(content).hexdigest()
    return ImageLayer(layer=Layer(digest=digest, size=len(content)), made_of=content.decode(), source="5" * 64)


def image(*, python: str = "3.11", lock: str = "d" * 64, machine: str = "x86_64", layers: str = "abc") -> Image:
    request = EnvironmentRequest(
        kind="runtime",
        python=python,
        lock=Lock(name="runtime/1.0", path=Path("1.0.txt"), digest=lock, pins=(("iree-base-runtime", "1.0"),)),
    )
    return make_image(
        request,
        machine=machine,
        layers=[part(letter.encode()) for letter in layers],
        python_version="3.11.2",
        c_library="glibc 2.36",
        tools={},
        distributions=(),
    )


def test_the_id_is_what_it_always_was():
    assert image().digest == GOLDEN
    assert image().manifest_digest == GOLDEN_MANIFEST
    assert image().digest == hashlib.sha256(image().config).hexdigest()


def test_each_part_changes_the_id():
    others = (image(python="3.13"), image(lock="e" * 64), image(machine="aarch64"), image(layers="acb"))
    assert len({image().digest, *(other.digest for other in others)}) == 5


def test_the_config_says_what_it_was_made_from():
    config = json.loads(image(machine="aarch64").config)
    labels = config["config"]["Labels"]
    assert config["architecture"] == "arm64"
    assert labels["org.iree-matrix.project"] == "iree-matrix"
    assert labels["org.iree-matrix.pin.iree-base-runtime"] == "1.0"
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 3


def test_a_layout_holds_every_blob_below_its_digest(tmp_path):
    made = image(layers="aab")
    write_layout(tmp_path, made, tag="1.0", layer=lambda each: iter([each.made_of.encode()]))
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "blobs" / "sha256").iterdir()}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    (entry,) = json.loads((tmp_path / "index.json").read_bytes())["manifests"]
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    named = [manifest["config"], *manifest["layers"]]
    assert all(len(blobs[each["digest"].removeprefix("sha256:")]) == each["size"] for each in named)
    assert json.loads((tmp_path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


CHOICE = ("--environment", "runtime/3.8.0")


def test_plan_needs_neither_a_daemon_nor_a_store(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert main(["image", "plan", "--store", str(tmp_path / "none"), "--machine", "x86_64", *CHOICE]) == 0
    said = capsys.readouterr().out
    assert "to fetch" in said
    assert said.splitlines()[1].rstrip().endswith("?")
    assert "1 images, 5 layers" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "--environment", "runtime/0.0"],
        ["save", "folder"],
        ["push", "no-slash", *CHOICE],
        ["remove"],
        ["pan"],
    ],
)
def test_wrong_words_are_refused(words, tmp_path, capsys):
    assert main(["image", *words, "--store", str(tmp_path / "none")]) == UsageError.exit_code
    assert "TIP" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["list"], ["remove", "--older-than", "3"], ["build", *CHOICE]])
def test_no_daemon_is_one_clear_message(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert main(["image", *words, "--store", str(tmp_path / "store")]) == 3
    assert "no container daemon answers" in capsys.readouterr().err


def test_an_image_that_somebody_named_is_kept():
    named = LoadedImage(
        digest="a" * 64,
        environment="runtime/1.0 on Python 3.11",
        machine="x86_64",
        lock="",
        size=1,
        tags=("iree-matrix/runtime:1.0-py3.11", "mine:latest"),
        layers=(),
        loaded=None,
    )
    assert remove_images(None, named) == "kept: it is also called mine:latest"  # no daemon is asked


def test_a_bill_is_the_same_each_time(tmp_path, capsys):
    pytest.importorskip("cyclonedx", reason="NOT TESTED: cyclonedx-python-lib is not installed")
    texts = []
    for _ in range(2):
        assert main(["image", "sbom", "--machine", "x86_64", *CHOICE, "--environment", "compiler/3.8.0"]) == 0
        texts.append(capsys.readouterr().out)
    bill = json.loads(texts[0])
    kinds = [each["bom-ref"].partition(":")[0] for each in bill["components"]]
    assert texts[0] == texts[1]
    assert kinds.count("image") == 2
    assert kinds.count("deb") > 20
    assert all(len(each["hashes"][0]["content"]) == 64 for each in bill["components"])
    assert len({each["ref"] for each in bill["dependencies"]}) == len(bill["components"]) + 1
