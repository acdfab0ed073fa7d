"""Words of a spec that are too long for the name of a file: there is none, and the error says where the word stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.core.errors import MatrixError
from matrix.plan.question import Question
from matrix.run.planning import plan_of

HEAD = 'format = 1\nname = "long"\nquestion = "?"\n[axes]\n'
SPECS = {
    "a model": 'model = "m"\n[models.m]\nfile = "WORD.py"\n',
    "a module": 'model = "m"\n[models.m]\nvmfb = "WORD.vmfb"\n',
    "inputs": 'model = "m"\n[models.m]\nmlir = "m.mlir"\ninputs = ["WORD.npy"]\n',
    "tools": 'model = "linear"\ncompiler = "t"\n[toolchains.t]\npath = "WORD"\n',
    "sources": 'model = "linear"\nruntime = "b"\n[builds.b]\nsource = "WORD"\ntoolchain = "zig-static"\n',
}


@pytest.mark.parametrize("length", [300, 5000])
@pytest.mark.parametrize("what", SPECS)
def test_a_word_that_is_too_long_for_a_name_is_told(tmp_path: Path, what: str, length: int) -> None:
    (tmp_path / "m.mlir").write_text("module {}")
    spec = tmp_path / "long.toml"
    spec.write_text(HEAD + SPECS[what].replace("WORD", "a" * length))
    with pytest.raises(MatrixError) as caught:
        plan_of(Question(preset=str(spec)))
    assert "aaaa" in str(caught.value) and "expected" in str(caught.value) and caught.value.tip


def test_a_folder_of_wheels_likewise(tmp_path: Path) -> None:
    spec = tmp_path / "long.toml"
    spec.write_text(HEAD + 'model = "linear"\n')
    with pytest.raises(MatrixError, match=r"--find-links: read '.*aaa"):
        plan_of(Question(preset=str(spec), find_links=("a" * 300,)))


def test_a_file_of_a_model_likewise(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(f'FILES = ("{"a" * 300}",)\n')
    spec = tmp_path / "long.toml"
    spec.write_text(HEAD + SPECS["a model"].replace("WORD", "m"))
    with pytest.raises(MatrixError, match=r"FILES: read 'aaa"):
        plan_of(Question(preset=str(spec)))
