"""Pages of what each dispatch executes: from the model, the release and the comparison, and their picture."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from profiled_runs import Place, profiled_run
from site_checks import assert_valid, own_pages
from site_samples import HOSTILE

from matrix.results.formats import run_as_json
from matrix.site.build import build_site
from matrix.site.pictures.charts import find_charts
from matrix.site.pictures.drawing import draw
from matrix.site.pictures.operations import operation_charts_of

CONV, RELU = "torch.aten.conv2d", "torch.aten.relu"
SIZES = {"3.8.0": 900_000, "3.9.0": 900_000, "3.13.0": 300_000}
PLACES: dict[Place, dict[str, dict[str, int]]] = {
    ("net", target, release): {
        "dispatch_0_conv": {CONV: size, RELU: 10_000},
        "dispatch_1": {RELU: 50_000},
        **{f"dispatch_{number}": {RELU: 100 + number} for number in range(10, 22)},
    }
    for target in ("x86_64", "aarch64")
    for release, size in SIZES.items()
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiled")
    (folder / "profiles.json").write_text(run_as_json(profiled_run(PLACES)), encoding="utf-8")
    build_site(folder / "site", [folder / "profiles.json"])
    return folder / "site"


def words(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_each_model_and_release_has_a_page_with_its_dispatches(site):
    assert {path.name for path in own_pages(site / "profile")} == {f"net--{release}.html" for release in SIZES}
    page = site / "profile" / "net--3.13.0.html"
    said = words(page)
    assert "net with compiler 3.13.0: what each dispatch executes" in said
    assert said.count("dispatch_0_conv 310,000") == 2  # a target each
    assert "linear.mlir:10 torch.aten.conv2d 4x8xf32" in said
    assert "in 14 dispatches, 0 in other code of the module, 50 (0.0 %) in the runtime" in said
    assert "4 further dispatches" in said
    assert "dispatch_9 has the code of dispatch_1 and counts there" in said
    assert "Which operations execute more or fewer instructions: 3.9.0 → 3.13.0" in said
    assert "fewer, 900,000 -> 300,000 (-66.7 %)" in said
    assert "convolution 300,000" in said and "the runtime 50" in said
    assert_valid(site, [path.relative_to(site) for path in own_pages(site / "profile")])


def test_the_model_the_release_and_the_comparison_lead_there(site):
    link = 'href="../profile/net--3.13.0.html"'
    for page in ("model/net.html", "release/iree-3.13.0.html", "compare/iree-3.8.0--3.13.0.html"):
        assert link in (site / page).read_text(encoding="utf-8"), page
    compared = words(site / "compare" / "iree-3.8.0--3.13.0.html")
    assert "Which operations execute more or fewer instructions: 3.8.0 → 3.13.0" in compared
    assert "net, x86_64: 961,436 -> 361,436 instructions" in compared
    same = words(site / "compare" / "iree-3.8.0--3.9.0.html")
    assert "Which operations execute more" not in same
    assert 'src="../chart/profiles-operations-net.svg"' in (site / "model" / "net.html").read_text(encoding="utf-8")


def test_the_picture_has_a_legend_of_its_kinds(site):
    picture = (site / "chart" / "profiles-operations-net.svg").read_text(encoding="utf-8")
    for kind in ("convolution", "activation", "the runtime"):
        assert f">{kind}<" in picture
    (chart,) = operation_charts_of("net", find_charts(profiled_run(PLACES)))
    assert draw(chart, "svg") == draw(chart, "svg")


def test_strangers_names_are_shown_and_do_nothing(tmp_path):
    places: dict[Place, dict[str, dict[str, int]]] = {
        (HOSTILE, "x86_64", release): {HOSTILE: {HOSTILE: 5_000}} for release in ("3.8.0", "3.9.0")
    }
    (tmp_path / "p.json").write_text(run_as_json(profiled_run(places)), encoding="utf-8")
    build_site(tmp_path / "site", [tmp_path / "p.json"])
    pages = own_pages(tmp_path / "site" / "profile")
    assert len(pages) == 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "onerror=alert(1)>" not in text and "\x1b" not in text
    assert_valid(tmp_path / "site", [path.relative_to(tmp_path / "site") for path in pages])


def test_times_of_a_published_run_stand_beside_the_instructions(tmp_path):
    run = profiled_run(PLACES)
    row = {"main$async_dispatch_0_conv": [1, 90_000, 90_000, 91_000, 92_000, 99_000]}
    slow = {"main$async_dispatch_1": [2, 900_000, 900_000, 910_000, 920_000, 990_000]}
    whole = {"method": "tracy 0.11.2", "calls": 40, "quartiles": [1_001_000, 1_012_000, 1_089_000]}
    figures = {"traced_times": {**whole, "dispatches": {**slow, **row}}}
    jobs = {
        key: replace(job, measurements=figures)
        for key, job in run.jobs.items()
        if "3.13.0" in key and "x86_64" in key and job.stage == "count"
    }
    timed = replace(run, preset="profile_times", profiles={}, profiled_models={}, jobs={**run.jobs, **jobs})
    for each in (run, timed):
        (tmp_path / f"{each.preset}.json").write_text(run_as_json(each), encoding="utf-8")
    build_site(tmp_path / "site", sorted(tmp_path.glob("*.json")))
    said = words(tmp_path / "site" / "profile" / "net--3.13.0.html")
    assert said.count("median of calls (quartiles)") == 2, "the first dispatches and the others of one target"
    assert "920 us (910 us to 990 us)" in said
    assert "by time alone" not in said  # both of the two that have a time are among the first by instructions
    assert "by tracy 0.11.2, 40 calls" in said
    assert "median of calls" not in words(tmp_path / "site" / "profile" / "net--3.8.0.html")
    assert_valid(
        tmp_path / "site", [path.relative_to(tmp_path / "site") for path in own_pages(tmp_path / "site" / "profile")]
    )
