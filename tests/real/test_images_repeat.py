"""Images are a function of the locks: twice from nothing, in surroundings that differ, and as they are committed."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import ROOT, link_or_copy
from containers import workshop

from matrix.cli.main import main
from matrix.core.errors import ImageFault
from matrix.core.records import EnvironmentRequest, Lock
from matrix.engines.committed import Committed
from matrix.plan.locks import kind_of, load_locks
from matrix.run.planning import Question, plan_of

pytestmark = pytest.mark.real
SAMPLE = 3
SEED_VARIABLE = "IREE_MATRIX_SAMPLE_SEED"
IMAGES = (("compiler/3.13.0", "x86_64"), ("runtime/3.8.0", "x86_64"), ("runtime/3.13.0", "aarch64"))
SURROUNDINGS = (
    {"umask": "000", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "folder": "a"},
    {"umask": "077", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "77", "folder": "b/c d/\u00e4"},
)
ASSEMBLE = """
import json, os, random, sys
from pathlib import Path

shuffled = random.Random(sys.argv[1])
true_scandir, true_listdir = os.scandir, os.listdir

class Scanned:
    def __init__(self, *place):
        with true_scandir(*place) as entries:
            found = list(entries)
        shuffled.shuffle(found)
        self.found = iter(found)
    def __iter__(self):
        return self.found
    def __next__(self):
        return next(self.found)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.close()
    def close(self):
        self.found = iter(())

def listdir(*place):
    found = true_listdir(*place)
    shuffled.shuffle(found)
    return found

os.scandir, os.listdir = Scanned, listdir

from matrix.images.debian import mirror
from matrix.images.workshop import Workshop
from matrix.environments.index import configured_index
from matrix.images.layer_table import TableWish, compute_image
from matrix.plan.locks import kind_of, load_locks
from matrix.images.debian.mirror import Sources
from matrix.core.records import EnvironmentRequest
from matrix.environments.wheels import FetchedFiles

store, images = Path(sys.argv[2]), Path(sys.argv[3])
shop = Workshop(images=images, files=FetchedFiles(store / "files"), scratch=store / "scratch", index=configured_index(),
                sources=Sources(mirrors=()))
locks = {lock.name: lock for lock in load_locks(images / "locks").locks}
said = {}
for name, machine in json.loads(sys.argv[4]):
    lock = locks[name]
    wish = TableWish(python="3.11", machine=machine, locks=(name,))
    request = EnvironmentRequest(kind=kind_of(lock), python="3.11", lock=lock)
    image = compute_image(request, shop.make_table(wish, [lock], None), shop.bases()["3.11"])
    said[f"{name} {machine}"] = [image.digest, *(part.layer.digest for part in image.layers)]
print(json.dumps(said))
"""
"""Fetches from folders, makes a table of layers as `nox -s lock` does, without looking at what is committed, and says
the images that follow. Files have no order of their own: what lists a folder is given its names in a random one."""


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon has a part in what files give, and another run may be changing what it has."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")


def lock_of(name: str) -> Lock:
    (found,) = [lock for lock in load_locks(ROOT / "images" / "locks").locks if lock.name == name]
    return found


def request_of(name: str) -> EnvironmentRequest:
    lock = lock_of(name)
    return EnvironmentRequest(kind=kind_of(lock), python="3.11", lock=lock)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's folder of files, with those of the three images."""
    place = tmp_path_factory.mktemp("fetched")
    shop = workshop(place)
    for name, machine in IMAGES:
        shop.fetch(request_of(name), machine, shop.image(request_of(name), machine))
    return place / "files"


def assembling(fetched: Path, place: Path, surroundings: dict[str, str]) -> subprocess.Popen[str]:
    """Makes the images from a store that holds only linked .debs; wheels come by way of pip, which checks them too."""
    store, wheels = place / "store", place / "wheels"
    (store / "scratch").mkdir(parents=True)
    (store / "files").mkdir()
    wheels.mkdir()
    order = random.Random(str(place))
    for source in order.sample(sorted(fetched.glob("*.deb")), k=len(list(fetched.glob("*.deb")))):
        link_or_copy(str(source), str(store / "files" / source.name))
    found = sorted(fetched.glob("*/*/*.whl"))
    for source in order.sample(found, k=len(found)):
        link_or_copy(str(source), str(wheels / source.name))
    images = Path(shutil.copytree(ROOT / "images", place / "images"))
    settings = {name: value for name, value in surroundings.items() if name.isupper()}
    nothing_else = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri()}
    return subprocess.Popen(
        [sys.executable, "-c", ASSEMBLE, str(place), store, images, json.dumps(IMAGES)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(place), **nothing_else, **settings},
        cwd=place,
        umask=int(surroundings["umask"], 8),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assembled(process: subprocess.Popen[str]) -> dict[str, list[str]]:
    """The IDs and layers of the images, by name."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    found: dict[str, list[str]] = json.loads(out)
    return found


def test_three_images_are_the_same_twice_from_nothing_and_as_committed(fetched, tmp_path):
    running = [assembling(fetched, tmp_path / each["folder"], each) for each in SURROUNDINGS]
    first, second = map(assembled, running)
    assert first == second
    committed = {}
    for name, machine in IMAGES:
        image = workshop(tmp_path / "mine").image(request_of(name), machine)
        committed[f"{name} {machine}"] = [image.digest, *(part.layer.digest for part in image.layers)]
    assert first == committed
    assert not [path for path in tmp_path.glob("**/scratch/*")]
    assert len({digests[0] for digests in first.values()}) == len(IMAGES)


def environments() -> Iterator[tuple[str, str]]:
    """Every image of portability on every machine, but for the one with torch: that is the second tier's."""
    requests = plan_of(Question(preset="portability")).environments()
    for machine in ("x86_64", "aarch64"):
        committed = Committed(machine)
        for request in requests:
            if request.kind != "exporter" and committed.row(request).image is not None:
                yield request.lock.name, machine


@pytest.mark.full
def test_a_sample_that_changes_from_run_to_run_is_what_is_committed(tmp_path, capsys):
    every = list(environments())
    assert len(every) == 45
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(1 << 32))
    chosen = random.Random(seed).sample(every, SAMPLE)
    with capsys.disabled():
        said = ", ".join(f"{name} on {machine}" for name, machine in chosen)
        print(f"\nverified against what is committed: {said}; again with {SEED_VARIABLE}={seed}")
    for name, machine in chosen:
        words = ["--environment", name, "--machine", machine, "--store", str(tmp_path / "store")]
        assert main(["image", "verify", *words]) == 0


def test_a_committed_digest_that_is_not_what_the_files_give_is_found(fetched, tmp_path, monkeypatch, capsys):
    for name in ("images", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / "data" / name)
    table = tmp_path / "data" / "images" / "layers" / "3.11-x86_64.json"
    part = workshop(tmp_path / "mine").image(request_of("runtime/3.8.0"), "x86_64").layers[-1]
    other = part.layer.digest.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    assert table.read_text().count(part.layer.digest) == 1
    table.write_text(table.read_text().replace(part.layer.digest, other))
    shutil.copytree(fetched, tmp_path / "store" / "files", copy_function=link_or_copy)
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path / "data"))
    words = ["--environment", "runtime/3.8.0", "--store", str(tmp_path / "store")]
    assert main(["image", "verify", *words]) == ImageFault.exit_code
    assert f"the layer of {part.made_of} is {part.layer.digest[:12]}" in capsys.readouterr().err
