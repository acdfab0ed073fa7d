"""Nightly builds and release candidates from a folder of one's own: which values an axis gets, and what is refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from local_wheels import local_wheel
from packaging.tags import sys_tags

from matrix.core.errors import EngineMissing, SpecError, WheelFault
from matrix.core.records import EnvironmentRequest
from matrix.engines.choice import refuse
from matrix.engines.kind import Feature, features_of
from matrix.plan.axes import resolve_axes
from matrix.plan.locks import OWN_LOCKS
from matrix.plan.question import Question, ask, question_from, question_text
from matrix.plan.spec import parse_spec
from matrix.run.own.releases import places_of, with_own_releases
from matrix.run.planning import load_catalogue, load_spec, plan_of

NIGHTLY, LATER = "3.14.0rc20261120", "3.14.0rc20261121"
COMPILER, RUNTIME = "iree-base-compiler", "iree-base-runtime"
FITS = next(f"py3-none-{tag.platform}" for tag in sys_tags() if tag.platform != "any")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two nightly builds of the compiler, one of the runtime, and a wheel of another package."""
    for name, version in ((COMPILER, NIGHTLY), (COMPILER, LATER), (RUNTIME, NIGHTLY), ("numpy", "1.0")):
        local_wheel(tmp_path, name, version, {}, tag=FITS)
    return tmp_path


def labels(folder: Path, axis: str, *terms: str) -> list[str]:
    spec = ask(load_spec("portability"), asked(folder, **{axis: terms}), shipped=["linear"])
    return [value.label for value in resolve_axes(spec, load_catalogue(spec))[axis]]


def asked(folder: Path, **axes: tuple[str, ...]) -> Question:
    return Question(preset="portability", models=("linear",), axes=axes, find_links=(str(folder),))


@pytest.mark.parametrize(
    ("term", "found"),
    [
        (NIGHTLY, [NIGHTLY]),
        ("3.14.0.rc20261121", [LATER]),
        (">=3.13", ["3.13.0", NIGHTLY, LATER]),
        ("==3.14.0rc20261120", [NIGHTLY]),
        ("latest", ["3.13.0"]),
        ("latest >=3.14.0rc1", [LATER]),
        ("latest-minors >=3.12", ["3.12.0", "3.13.0"]),
    ],
)
def test_a_nightly_build_is_a_value_of_its_axis(folder, term, found):
    assert labels(folder, "compiler", term) == found


def test_all_has_them_behind_the_releases(folder):
    assert labels(folder, "compiler", "all")[-3:] == ["3.13.0", NIGHTLY, LATER]
    assert labels(folder, "runtime", "all")[-2:] == ["3.13.0", NIGHTLY]


def test_without_its_folder_it_is_not_known():
    with pytest.raises(SpecError, match=r"axes.compiler: unknown version '3.14.0rc20261120'") as caught:
        plan_of(Question(models=("linear",), axes={"compiler": (NIGHTLY,)}))
    assert "--find-links and --index take nightly builds" in caught.value.tip


def requests_of(folder: Path, store: Path) -> dict[str, EnvironmentRequest]:
    plan = plan_of(asked(folder, compiler=(NIGHTLY,), runtime=(NIGHTLY,)), store)
    return {request.kind: request for request in plan.environments()}


def test_its_lock_is_in_the_store_and_follows_the_files(folder, tmp_path):
    store = tmp_path / "store"
    before = requests_of(folder, store)["compiler"].lock
    assert (before.name, before.pins) == (f"compiler/{NIGHTLY}", ((COMPILER, NIGHTLY),))
    assert before.path.parent == store / "locks" / OWN_LOCKS
    assert before.places == (f"--find-links={folder}",)
    assert not before.digest
    assert requests_of(folder, store)["compiler"].lock == before
    local_wheel(folder, COMPILER, NIGHTLY, {"iree/more.py": "another day's build"}, tag=FITS)
    assert requests_of(folder, store)["compiler"].lock.path != before.path
    text = f"# pins: {COMPILER}=={NIGHTLY}\n{COMPILER}=={NIGHTLY} \\\n    --hash=sha256:{'0' * 64}\n"
    changed = requests_of(folder, store)["compiler"].lock
    changed.path.parent.mkdir(parents=True)
    changed.path.write_text(text)
    resolved = requests_of(folder, store)["compiler"].lock
    assert (resolved.path, bool(resolved.digest)) == (changed.path, True)


def test_a_release_with_a_lock_is_the_locked_one(folder, tmp_path):
    local_wheel(folder, COMPILER, "3.13.0", {}, tag=FITS)
    plan = plan_of(asked(folder, compiler=("3.13.0",)), tmp_path / "store")
    (lock,) = {request.lock for request in plan.environments() if request.kind == "compiler"}
    assert (lock.places, bool(lock.digest)) == ((), True)


def test_engines_know_it_as_a_feature(folder, tmp_path):
    found = requests_of(folder, tmp_path / "store")
    assert features_of(found["compiler"]) == (Feature.PLACES,)
    assert features_of(found["exporter"]) == ()
    for engine in ("docker", "nix"):
        with pytest.raises(EngineMissing, match=f"the engine {engine} takes no releases from a folder or an index of"):
            refuse(found["runtime"], engine)
    refuse(found["runtime"], "venv")


def test_a_spec_names_places_too(folder):
    text = (
        'format = 1\nname = "mine"\nquestion = "?"\nfind_links = "wheels"\nindex = ["https://pypi.example/simple"]\n'
        f'[axes]\ncompiler = "{NIGHTLY}"\n'
    )
    spec = parse_spec(text, source="mine.toml", base=folder.parent)
    spec = replace(spec, find_links=(folder.name,))
    assert places_of(spec) == (f"--find-links={folder}", "--index=https://pypi.example/simple")
    with pytest.raises(SpecError, match="find_links"):
        parse_spec(text.replace('"wheels"', "3"), source="mine.toml", base=folder)


def test_a_question_keeps_its_places(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    question = Question(find_links=(folder.name, "https://a.example/links.html"), indexes=("https://b.example/simple",))
    words = ("--find-links", folder.name, "--find-links", "https://a.example/links.html")
    assert question.options == (*words, "--index", "https://b.example/simple")
    again, _ = question_from(question_text(question, "venv"))
    assert again.find_links == (str(folder), "https://a.example/links.html")
    assert again.indexes == question.indexes


# -- what is wrong with a place


def refused(folder: Path, **axes: tuple[str, ...]) -> str:
    with pytest.raises(WheelFault) as caught:
        plan_of(asked(folder, **axes))
    assert caught.value.tip
    return str(caught.value).replace(str(folder), "FOLDER")


@pytest.mark.parametrize("word", ["not-there", "a-file"])
def test_no_folder(tmp_path, word):
    (tmp_path / "a-file").touch()
    said = refused(tmp_path / word).replace("FOLDER", "X")
    assert said.startswith("--find-links: read 'X', expected a folder with wheels or the address of a page")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("wheels", "--index: read 'wheels', expected an address that begins with https:// or file://"),
        ("https://", "--index: read 'https://', expected an address that begins with https:// or file://"),
        ("https://me:secret@a.example/simple", "--index: read an address with a name or a password"),
    ],
)
def test_no_address(word, said):
    with pytest.raises(WheelFault) as caught:
        plan_of(Question(indexes=(word,)))
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


def test_a_folder_without_such_wheels(tmp_path):
    assert "and it has none of them" in refused(tmp_path)
    local_wheel(tmp_path, "numpy", "1.0", {})
    assert "and it has none of them" in refused(tmp_path)


@pytest.mark.parametrize("tag", ["cp27-cp27m-linux_x86_64", "py3-none-win_amd64"])
def test_wheels_for_another_python_or_platform(tmp_path, tag):
    name = local_wheel(tmp_path, COMPILER, NIGHTLY, {}, tag=tag).name
    assert f"for others, such as {name}" in refused(tmp_path, compiler=("3.13.0",))
    named = refused(tmp_path, compiler=(NIGHTLY,))
    assert f"axes.compiler: read '{NIGHTLY}', expected a wheel for Python 3.11 on " in named
    assert named.endswith(f"and there is {name}")


def test_one_that_another_wheel_replaces_is_no_fault(folder):
    local_wheel(folder, COMPILER, NIGHTLY, {}, tag="cp27-cp27m-linux_x86_64")
    assert labels(folder, "compiler", NIGHTLY) == [NIGHTLY]


def test_a_wheel_whose_name_and_metadata_differ(folder):
    for version in ("3.14.0rc1", "3.14.0rc2"):
        path = local_wheel(folder, RUNTIME, version, {}, tag=FITS)
        lines = {member: zipfile.ZipFile(path).read(member) for member in zipfile.ZipFile(path).namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in lines.items():
                archive.writestr(member, content.replace(f"Version: {version}".encode(), b"Version: 3.13.0"))
    said = refused(folder)
    for version in ("3.14.0rc1", "3.14.0rc2"):
        assert f"iree_base_runtime-{version}-{FITS}.whl: its METADATA says iree-base-runtime 3.13.0, expected" in said


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_wheel(folder, content):
    path = folder / f"iree_base_runtime-3.14.0rc5-{FITS}.whl"
    path.write_bytes(content)
    assert f"{path.name}: expected a whole wheel, with METADATA of the name and version in its" in refused(folder)


def test_a_name_that_is_no_wheels(folder):
    (folder / "iree_base_compiler-nightly.whl").touch()
    assert "iree_base_compiler-nightly.whl: expected the name of a wheel" in refused(folder)


def test_no_place_is_asked_without_one():
    spec = load_spec("portability")
    locks = load_catalogue(spec).locks
    assert with_own_releases(locks, spec) is locks
