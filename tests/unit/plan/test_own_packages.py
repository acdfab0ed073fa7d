"""Packages of one's own beside a model: a wheel, an sdist, a folder. What they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_wheels import local_wheel
from packaging.requirements import Requirement

from matrix.core.errors import ModelUnusable
from matrix.core.keys import sha256
from matrix.environments.own.packages import is_own, only_own
from matrix.plan.locks import OWN_WHEELS, own_digests
from matrix.plan.question import Question
from matrix.run.own.models import packages_of
from matrix.run.planning import plan_of

PROJECT = '[project]\nname = "My_Layers"\nversion = "1.0"\n'


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A model's folder with a package as a folder, as a wheel and as an sdist."""
    folder = tmp_path / "layers"
    (folder / "my_layers").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "my_layers" / "__init__.py").write_text("def answer():\n    return 42\n")
    local_wheel(tmp_path, "my-layers", "1.0", {"my_layers.py": ""})
    (tmp_path / "my_layers-1.0.tar.gz").write_bytes(b"an sdist")
    return tmp_path


def declared(desk: Path, *words: str) -> tuple[str, ...]:
    path = desk / "model.py"
    path.write_text(f"PACKAGES = {words!r}\n")
    return packages_of(path)


@pytest.mark.parametrize("word", ["./layers", "layers/", "my_layers-1.0-py3-none-any.whl", "./my_layers-1.0.tar.gz"])
def test_a_path_is_a_requirement_with_its_digest(desk, word):
    (read,) = declared(desk, word)
    requirement = Requirement(read)
    assert requirement.name == "my-layers"
    address, _, digest = str(requirement.url).partition("#sha256=")
    assert address == (desk / word).resolve().as_uri()
    if (desk / word).is_file():
        assert digest == sha256(desk / word)
    assert own_digests([read, "einops"]) == (digest,)


def test_index_requirements_stay(desk):
    assert declared(desk, "einops>=0.8", "transformers==4.57.1") == ("einops>=0.8", "transformers==4.57.1")
    assert not any(map(is_own, ("einops", "einops>=0.8", "a[b]==1.0", "pkg @ https://a.example/b.whl")))


def test_what_tools_make_in_a_folder_is_no_content_and_a_change_is(desk):
    before = declared(desk, "./layers")
    for made in (".git/HEAD", "build/x", "dist/y", "my_layers/__pycache__/z.pyc", "my_layers.egg-info/PKG-INFO"):
        (desk / "layers" / made).parent.mkdir(exist_ok=True, parents=True)
        (desk / "layers" / made).touch()
    assert declared(desk, "./layers") == before
    (desk / "layers" / "my_layers" / "build.py").touch()
    changed = declared(desk, "./layers")
    assert changed != before
    (desk / "layers" / "my_layers" / "build.py").rename(desk / "layers" / "my_layers" / "other.py")
    assert declared(desk, "./layers") not in (before, changed)


def test_its_lock_is_in_the_store_and_follows_the_content(desk, tmp_path):
    store, model = tmp_path / "store", desk / "model.py"

    def lock():
        declared(desk, "./layers", "einops")
        plan = plan_of(Question(models=(str(model),)), store)
        return next(request.lock for request in plan.environments() if request.kind == "exporter")

    before = lock()
    assert before.name.endswith("+einops+my-layers.cuda")
    assert (before.digest, before.path.parent) == ("", store / "locks")
    (digest,) = own_digests(before.packages)
    assert before.places == (f"--find-links={store / 'locks' / OWN_WHEELS / digest}",)
    (desk / "layers" / "more.py").touch()
    assert lock().path != before.path


def test_a_lock_takes_its_own_wheel_and_no_other_of_that_name():
    text = (
        "# pins: torch==2.9.1\neinops==0.8.0 \\\n    --hash=sha256:aa\n"
        "my-layers==1.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\nnumpy==2.0 \\\n    --hash=sha256:dd\n"
    )
    kept = "my-layers==1.0 \\\n    --hash=sha256:cc\n"
    assert only_own(text, {"my-layers": "cc"}) == text.replace(kept.replace("cc", "bb \\\n    --hash=sha256:cc"), kept)
    assert only_own(text, {}) == text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("./nothing", "read './nothing', expected a wheel, an sdist or a folder, and there is none at"),
        ("./empty", "expected a folder whose pyproject.toml has a name in [project]"),
        ("./broken", "expected a folder whose pyproject.toml has a name in [project]"),
        ("my.whl", "read 'my.whl', expected a name such as my-1.0.tar.gz, or that of a wheel"),
        ("./notes.txt", "expected a name such as my-1.0.tar.gz, or that of a wheel"),
        ("./torch-2.9.1.tar.gz", "expected another package: torch is chosen by an axis of the matrix"),
        ("pkg @ https://a.example/pkg.whl", "expected a package of the index, no address"),
    ],
)
def test_what_is_no_package(desk, word, said):
    (desk / "empty").mkdir()
    (desk / "broken").mkdir()
    (desk / "broken" / "pyproject.toml").write_text("[project\n")
    for name in ("my.whl", "notes.txt", "torch-2.9.1.tar.gz"):
        (desk / name).touch()
    with pytest.raises(ModelUnusable) as caught:
        declared(desk, word)
    assert said in str(caught.value)
    assert str(caught.value).startswith("model.py: PACKAGES: ")
