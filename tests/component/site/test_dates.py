"""The page of what changed over time, from an archive of kept runs; and sentences on the pages of tables."""

from __future__ import annotations

import json
from pathlib import Path

from counted_runs import counted_run
from site_samples import generated, write
from system_runs import TWO, made_run

from matrix.results.files import read_run
from matrix.results.formats import run_as_json
from matrix.results.kept.archive import keep_run
from matrix.site.build import build_site


def kept(archive: Path, folder: Path, date: str, *, worse: bool = False) -> Path:
    content = generated(1, 3)
    for job in content["jobs"].values():
        job["finished_at"] = f"{date}T03:04:05Z"
    if worse:
        content["cells"][0] |= {"outcome": "crashed", "signature": None}
    path = write(folder / f"{date}.json", content)
    keep_run(read_run(path), archive)
    return path


def test_runs_of_several_dates_have_a_page_and_one_run_has_none(tmp_path):
    path = kept(tmp_path / "kept", tmp_path, "2026-01-02")
    build_site(tmp_path / "site", [path], archive=tmp_path / "kept")
    assert not (tmp_path / "site" / "dates.html").exists()
    assert "dates.html" not in (tmp_path / "site" / "data.html").read_text()
    kept(tmp_path / "kept", tmp_path, "2026-01-09", worse=True)
    build_site(tmp_path / "site", [path], archive=tmp_path / "kept")
    page = (tmp_path / "site" / "dates.html").read_text()
    assert "dates.html" in (tmp_path / "site" / "data.html").read_text()
    assert page.index("2026-01-09") < page.index("2026-01-02"), "the newest first"
    assert "1 worse, 0 better, 0 changed, 8 the same" in page and "does not repeat" in page
    build_site(tmp_path / "site", [path])
    assert not (tmp_path / "site" / "dates.html").exists(), "none without an archive"


def test_the_sentences_of_a_section_are_on_its_page_of_tables(tmp_path):
    run = json.loads(run_as_json(made_run(TWO)))
    build_site(tmp_path / "site", [write(tmp_path / "peers.json", run)])
    page = (tmp_path / "site" / "tables" / "peers.html").read_text()
    assert "<li>ONNX Runtime 1.32.0 is faster than IREE 3.13.0, host-cpu on 1 of 2 models, slower on 1</li>" in page
    start = (tmp_path / "site" / "index.html").read_text()
    assert "ONNX Runtime 1.32.0 is faster than IREE 3.13.0, host-cpu on 1 of 2 models" in start


def test_the_start_page_has_what_was_counted_and_says_that_it_is_no_speed(tmp_path):
    counts = {("m", "x86_64", "3.8.0"): 1_108_583_768, ("m", "x86_64", "3.13.0"): 409_386_705}
    build_site(tmp_path / "site", [write(tmp_path / "cost.json", json.loads(run_as_json(counted_run(counts))))])
    start = (tmp_path / "site" / "index.html").read_text()
    assert start.count("<li>m, x86_64: 1,109 M instructions with 3.8, 409 M with 3.13</li>") == 1
    assert "they are no speed" in start
