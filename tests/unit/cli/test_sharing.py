"""The verbs for several machines, as far as they run without a tool."""

from __future__ import annotations

from pathlib import Path

import pytest
from sharded import Shards

from matrix.cli.main import main
from matrix.core.errors import EXIT_BAD_INPUT, EXIT_OK


@pytest.fixture(autouse=True)
def unchanged_signals(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_shards_says_what_each_would_do_and_touches_nothing(tmp_path, capsys):
    store = tmp_path / "store"
    assert main(["shards", "exporters", "--shards", "16", "--store", str(store)]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()) == "wave shard jobs, at most environments download disk time of one core"
    assert len(lines) == 1 + 2 * 16
    assert lines[1].split()[:4] == ["1", "1/16", "28", "export"]
    assert not store.exists()


def merged(capsys, *words: object) -> tuple[int, str]:
    status = main([str(word) for word in words])
    return status, capsys.readouterr().err


def test_merge_says_what_came_and_what_is_missing(tmp_path, capsys):
    bundles = Shards(tmp_path).whole(2)
    store = tmp_path / "merged"
    status, said = merged(capsys, "merge", bundles[0], bundles[2], "--store", store)
    assert status == EXIT_OK
    assert "2 bundles of small: 9 results, 9 of them new; 6 environments, 9 new artifacts" in said
    assert "no bundle of wave 2 shard 2/2 among them" in said
    status, said = merged(capsys, "merge", *bundles, "--store", store)
    assert status == EXIT_OK
    assert "4 bundles of small: 13 results, 4 of them new" in said and "no bundle" not in said


def test_merge_names_every_file_that_is_no_bundle(tmp_path, capsys):
    bundles = Shards(tmp_path).whole(1)
    (tmp_path / "text.zip").write_text("text")
    words = ("merge", bundles[0], tmp_path / "text.zip", tmp_path / "none.zip", "--store", tmp_path / "merged")
    status, said = merged(capsys, *words)
    assert status == EXIT_BAD_INPUT
    assert "text.zip: read a torn file" in said and "none.zip: read nothing" in said and "nothing was merged" in said
    assert not Path(tmp_path / "merged").exists()


@pytest.mark.parametrize("kind", ["github", "slurm"])
def test_shards_makes_the_file_that_carries_them_out(tmp_path, capsys, kind):
    target = tmp_path / "file"
    words = ("shards", "exporters", "--only", "model=linear", "--shards", "16", "--disk-budget", "12")
    assert main([*words, "--format", kind, "--output", str(target)]) == EXIT_OK
    text = target.read_text()
    assert "@" not in text.replace("matrix@", "") or kind == "github"
    assert not [word for word in text.split() if word.startswith("@")]
    assert "run exporters --only model=linear --wave 1 --shard" in text
    assert text.count(" --disk-budget 12\n") == 2
    first = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]"
    assert (first if kind == "github" else first.strip("[]").replace(" ", "")) in text
    assert capsys.readouterr().out == ""


def test_what_would_break_the_file_is_refused(capsys):
    status = main(["shards", "quick", "--only", "model=${{ github.token }}", "--format", "github"])
    assert status == EXIT_BAD_INPUT
    assert "TIP" in capsys.readouterr().err
