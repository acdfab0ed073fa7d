"""The site from the committed results: whole, valid, inert, and right in what it says."""

from __future__ import annotations

import csv
import functools
import json
import platform
import re
import tempfile
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.version import Version
from pages_read import Page, broken_links, read_page, read_site
from published_site import BuiltSite
from site_checks import PORTABILITY, RESULTS, ROOT, assert_valid, own_pages
from site_samples import HOSTILE, OVERRIDE, cell, document, generated, hostile, job, timed, write

from matrix.cli.main import main
from matrix.core.errors import ResultsFault, UsageError
from matrix.core.text import mark_controls
from matrix.core.versions import release_key
from matrix.results.files import read_run
from matrix.results.run import Run
from matrix.site.build import build_site
from matrix.site.harmless import safe_run, slug
from matrix.site.squares import column_answer, find_squares, row_answer, slug_of


@pytest.fixture(scope="module")
def site(published: BuiltSite) -> Path:
    return published.folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return read_site(site)


@pytest.fixture(scope="module")
def portability() -> Run:
    return safe_run(read_run(PORTABILITY))


def run_of(tmp_path: Path, content: dict) -> Run:
    return safe_run(read_run(write(tmp_path / "run.json", content)))


def test_every_link_leads_to_a_file_and_an_anchor_of_the_site(site, pages):
    assert len(pages) > 60
    assert sum(len(page.links) for page in pages.values()) > 2000
    assert broken_links(site, pages) == []


def test_a_broken_link_would_be_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#x">x</a><a href="https://example.org/">e</a>')
    assert len(broken_links(tmp_path, read_site(tmp_path))) == 3


def test_no_page_has_inline_code_or_two_targets_of_one_name(pages):
    for path, page in pages.items():
        assert page.faults == [], path
        assert len(set(page.ids)) == len(page.ids), path


def test_every_page_has_a_strict_policy(pages):
    for path in pages:
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', path.read_text(encoding="utf-8"))
        assert policy and policy[1].startswith("default-src 'none'; "), path
        assert "unsafe" not in policy[1] and "http" not in policy[1]


def test_every_page_is_valid(site, pages):
    assert_valid(site, list(pages))


def test_nothing_of_the_building_machine_is_in_it(site):
    host = re.compile(rf"(?<![\w/.-]){re.escape(platform.node())}(?![\w/.-])")
    for path in site.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            assert path.suffix == ".png" or not host.search(text), path  # pixels spell any short name
            assert not [
                place
                for place in (str(ROOT), str(site), f"{Path.home()}/", f"{tempfile.gettempdir()}/")
                if place in text
            ]


def test_two_builds_write_the_same_bytes(tmp_path):
    results = [PORTABILITY, write(tmp_path / "timed.json", timed(("one",), ("3.1.0", "3.2.0"), lambda *_: 1.0))]
    made = []
    for folder in (tmp_path / "first", tmp_path / "again"):
        build_site(folder, results)
        made.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert made[0] == made[1]
    assert {path.suffix for path in made[0]} >= {".html", ".svg", ".png", ".csv", ".json"}


def test_the_start_page_answers(site, pages):
    page = pages[site / "index.html"]
    assert "Modules of compiler 3.8 load on runtimes 3.8 and 3.9." in page.text
    assert "Runtime 3.10 loads modules of compiler 3.10." in page.text
    assert {"compiler-3.8.0", "runtime-3.10.0", "mark-B"} <= set(page.ids)
    assert (site / "index.html").stat().st_size < 150_000


def test_the_answers_are_those_of_the_islands(portability):
    (table,) = find_squares(portability)
    assert row_answer(table, "2.9.0") == "Modules of compiler 2.9 load on runtimes 2.9 to 3.3."
    assert column_answer(table, "3.13.0") == "Runtime 3.13 loads modules of compilers 3.12 and 3.13."


def test_every_cell_has_its_evidence(site, pages):
    content = json.loads(PORTABILITY.read_text(encoding="utf-8"))
    square = "portability-compiler-runtime"
    rows = {path.name.rpartition("--")[2]: pages[path] for path in own_pages(site) if path.name.startswith(square)}
    for each in content["cells"]:
        page = rows[f"{each['axes']['compiler']}.html"]
        assert each["axes"]["runtime"] in page.ids
        assert each["evidence"]["reproduce"] in page.text
        for key in each["evidence"]["jobs"]:
            made = content["jobs"][key]
            assert made["lock_sha256"] in page.text and made["finished_at"] in page.text
            assert all(artifact["sha256"] in page.text for artifact in made["artifacts"].values())
        if each["signature"]:
            assert each["evidence"]["message"] in page.text


def test_a_release_says_what_it_broke_and_repaired(site, pages):
    text = " ".join(pages[site / "release" / "iree-3.8.0.html"].text.split())
    cards = re.findall(r"as compiler, compared with 3\.7\.1 .*?(?=Outcomes: as )", text)
    broke = "Broke runtimes 3.4 to 3.7 passed → failed at run: executable-abi"
    (card,) = (card for card in cards if broke in card and "Do modules for aarch64" in card)
    beside = re.findall(r"as \w+, compared with ([\d.]+)", text)
    assert len(set(beside)) > 2 and beside == sorted(beside, key=Version, reverse=True)  # the nearest first
    assert (
        card.count("Which IREE runtimes load") == card.count("Do modules for aarch64") == 1
    )  # two squares say the same
    assert "Repaired runtimes 3.8 and 3.9 failed at run: executable-abi → passed" in text
    same = " ".join(pages[site / "release" / "iree-3.9.0.html"].text.split())
    assert (
        "Squares in which no outcome changed" in same
        and "compiler3.8.015Modules of compiler 3.9 load on runtimes" in same
    )
    assert "compilerthe first one measured-Modules of" in " ".join(
        pages[site / "release" / "iree-2.9.0.html"].text.split()
    )


def test_releases_are_listed_newest_first_and_builds_behind_them(site, pages):
    text = pages[site / "index.html"].text.partition("What a release broke and repaired")[2]
    listed = re.search(r"\bIREE\s+(3\..*?)\s*(?:torch|iree-turbine)\b", text, re.DOTALL).group(1)
    listed = re.sub(r"\b\d{4}-\d\d-\d\d\b", "", listed).split()  # without the days of the releases
    released = [label for label in listed if label[0].isdigit()]
    assert listed[: len(released)] == released == sorted(released, key=release_key, reverse=True)
    assert "zig-3.13" in listed[len(released) :]


def test_one_of_a_thing_is_one(pages):
    found = {path.name for path, page in pages.items() if re.search(r"\b1 (?:cells|exports)\b", page.text)}
    assert found == set()


def test_a_signature_says_what_it_means_where_it_is_and_what_to_do(site, pages):
    text = " ".join(pages[site / "signature" / "vm-bytecode-version.html"].text.split())
    refused = [cell for cell in all_cells() if cell["signature"] == "vm-bytecode-version"]
    assert f"{len({frozenset(cell['axes'].items()) for cell in refused})} cells" in text  # of two runs, once
    assert "compiler 3.10 on runtimes 2.9 to 3.9 and 3.11 to 3.13" in text
    assert "Next: recompile with a compiler of the runtime's own release" in text


def test_predictions_stand_beside_what_was_observed(site, pages):
    page = pages[site / "index.html"]
    assert "225 of 225 cells ended as the gates alone predict" in page.text and "≠" not in page.text
    said = " ".join(pages[site / "cell" / "portability-compiler-runtime-linear--3.8.0.html"].text.split())
    assert said.count("Predicted: ".lower()) == said.count("; as observed.") == 15
    assert "predicted: refused at vm-bytecode-version (runtime reads 16.0, module has 15.0); as observed." in said


def offers(path: Path) -> dict[str, dict[str, str]]:
    """Axis -> value -> the link of a page's picker."""
    selects = re.findall(r'<select data-axis="([^"]+)".*?</select>', path.read_text(encoding="utf-8"), re.DOTALL)
    bodies = re.findall(r"<select data-axis=.*?</select>", path.read_text(encoding="utf-8"), re.DOTALL)
    found = [re.findall(r"<option value=\"([^\"]*)\"[^>]*>([^<]*)<", unescape(body)) for body in bodies]
    return {axis: {label: link for link, label in each} for axis, each in zip(selects, found, strict=True)}


def all_cells() -> list[dict]:
    """As the files have them."""
    return [cell for path in RESULTS for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def test_every_value_of_the_picker_leads_to_a_square_that_has_it(site, pages):
    """By what the results hold: all values of all axes but the square's own; `any` where the start page has none."""
    axes = {axis for cell in all_cells() for axis in cell["axes"]} - {"compiler", "runtime"}
    labels = {axis: {cell["axes"].get(axis, "-") for cell in all_cells()} for axis in axes}
    start = json.loads(PORTABILITY.read_text(encoding="utf-8"))["cells"][0]["axes"]  # it has no value of other axes
    wanted = {axis: (found - {"-"}) | ({"any"} if axis not in start else set()) for axis, found in labels.items()}
    picker = offers(site / "index.html")
    assert {axis: len(values) for axis, values in picker.items()} == {
        axis: len(all_) for axis, all_ in wanted.items() if len(labels[axis] - {"-"}) > 1
    }
    for path in (site / "index.html", *own_pages(site / "square")):
        for axis, values in offers(path).items():
            for label, link in values.items():
                if not link:
                    continue
                name, _, words = link.partition("#")
                page = pages[(path.parent / name).resolve()]
                assert all(word in page.ids for word in words.split("&") if word), link
                lit = any(re.search(rf"-{re.escape(label)}(\.|$)", word) for word in words.split("&"))
                assert lit or f"{axis} {label}" in page.text, (path.name, axis, label, link)
    assert picker["target"]["aarch64"].startswith("square/aarch64-compiler-runtime-linear")
    assert picker["model"]["yolox_nano"].endswith("#model-yolox_nano")
    assert picker["torch"]["2.5"].endswith("#torch-2.5.1") and picker["model"]["linear"] == ""


def test_the_data_can_be_downloaded(site):
    assert (site / "data" / "portability.json").read_bytes() == PORTABILITY.read_bytes()
    rows = list(csv.DictReader((site / "data" / "portability.csv").open(encoding="utf-8", newline="")))
    assert len(rows) == 225
    assert sum(1 for row in rows if row["outcome"] == "passed") == 51


def test_a_model_has_its_badge(site, pages):
    page = pages[site / "model" / "yolox_nano.html"]
    assert "../badge/yolox_nano.svg" in page.links
    assert "3.9 to 3.13 pass" in (site / "badge" / "yolox_nano.svg").read_text(encoding="utf-8")


def test_hostile_text_is_inert(tmp_path):
    build_site(tmp_path / "site", [write(tmp_path / "run.json", hostile())])
    pages = read_site(tmp_path / "site")
    assert broken_links(tmp_path / "site", pages) == []
    for path, page in pages.items():
        text = path.read_text(encoding="utf-8")
        assert page.faults == [] and page.tags.count("script") == 1, path
        assert page.tags.count("img") == (path.parent.name == "model"), path  # its badge
        assert not [
            letter for letter in text if (ord(letter) < 32 and letter != "\n") or letter in (OVERRIDE, "\u2028")
        ]
        assert len(text) < 300_000 and "49" not in page.text
    assert all(ElementTree.parse(path) for path in (tmp_path / "site" / "badge").iterdir())
    assert {path.parent.name for path in pages} >= {"cell", "release", "signature", "environment"}
    assert_valid(tmp_path / "site", list(pages))


def test_hostile_text_stays_readable():
    assert mark_controls("\x1b[31mred\x7f\u202eok\u00e9\n") == "␛[31mred␡⟨U+202E⟩oké␊"
    assert mark_controls("x" * 3000).endswith("x … (1000 more characters)")
    assert "<script>" in mark_controls(HOSTILE)


def test_a_slug_is_a_file_name_and_no_two_texts_share_one():
    texts = ["3.8.0", "3.8.0/", "../3.8.0", "a b", "a-b", "?", "??", "", "\x00", ".", "..", "x" * 300, "x" * 301]
    slugs = [slug(text) for text in texts]
    assert slugs[0] == "3.8.0"
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", each) for each in slugs)


@pytest.mark.parametrize(("models", "releases", "squares"), [(1, 4, 1), (3, 4, 3), (2, 1, 1), (1, 1, 1), (1, 70, 2)])
def test_the_squares_of_a_run_hold_every_cell(tmp_path, models, releases, squares):
    run = run_of(tmp_path, generated(models, releases))
    tables = find_squares(run)
    assert len(tables) == squares
    assert {id(each) for table in tables for each in table.cells.values()} == {id(each) for each in run.cells}
    assert len({slug_of(table) for table in tables}) == squares


def test_an_axis_that_follows_another_makes_no_square_of_its_own(tmp_path):
    jobs = {"k": job("k", "run", "e")}
    axes = [{"model": m, "compiler": r, "runtime": r} for m in ("a", "b") for r in ("3.1.0", "3.2.0")]
    (table,) = find_squares(run_of(tmp_path, document([cell(each, ["k"]) for each in axes], jobs)))
    assert (table.row_axis, table.column_axis, table.ties) == ("model", "compiler", {"runtime": "compiler"})
    assert row_answer(table, "a") == "Model a passes with compilers 3.1 and 3.2."


def test_a_cross_of_two_squares_is_no_square(tmp_path):
    """Pythons at one torch, torches at one Python, both over compilers: two squares and not a third, mostly empty."""
    jobs = {"k": job("k", "run", "e")}
    pairs = {(p, "2.9.1") for p in ("3.9", "3.10", "3.11")} | {("3.11", t) for t in ("2.3.1", "2.5.1", "2.9.1")}
    axes = [
        {"model": "linear", "python": p, "torch": t, "compiler": c}
        for p, t in sorted(pairs)
        for c in ("3.1.0", "3.2.0")
    ]
    tables = find_squares(run_of(tmp_path, document([cell(each, ["k"]) for each in axes], jobs)))
    assert sorted((table.row_axis, table.column_axis) for table in tables) == [
        ("python", "compiler"),
        ("torch", "compiler"),
    ]


def test_the_command_builds_it_and_replaces_only_its_own(tmp_path, capsys):
    target = tmp_path / "site"
    assert main(["site", "-o", str(target), str(PORTABILITY)]) == 0
    assert "225 cells" in capsys.readouterr().out
    (target / "old.html").write_text("old")
    assert main(["site", "-o", str(target), str(PORTABILITY)]) == 0
    assert not (target / "old.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    assert main(["site", "-o", str(mine), str(PORTABILITY)]) == 2
    assert (mine / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda content: content["cells"][2].pop("outcome"), "cells[2]"),
        (lambda content: content["cells"][1].update(outcome="perhaps"), "cells[1]"),
        (lambda content: content["cells"][1]["evidence"].update(jobs=["gone"]), "cells[1]"),
        (lambda content: content["jobs"]["e0"].update(seconds="long"), "jobs.e0"),
        (lambda content: content.update(jobs=[]), "jobs: read []"),
        (lambda content: content.update(format=4), "format 4"),
    ],
)
def test_damaged_results_are_refused_by_place(tmp_path, damage, place):
    content = generated(1, 2)
    damage(content)
    with pytest.raises(ResultsFault, match=re.escape(place)):
        build_site(tmp_path / "site", [write(tmp_path / "run.json", content)])
    assert not (tmp_path / "site").exists()


def test_two_files_of_one_preset_are_refused(tmp_path):
    twin = write(tmp_path / "twin.json", generated(1, 2))
    with pytest.raises(UsageError, match="both are of the preset made"):
        build_site(tmp_path / "site", [twin, write(tmp_path / "other.json", generated(1, 3))])


def test_two_presets_share_a_site(tmp_path):
    build_site(tmp_path / "site", [PORTABILITY, write(tmp_path / "more.json", generated(2, 3))])
    pages = read_site(tmp_path / "site")
    assert broken_links(tmp_path / "site", pages) == []
    assert "Does it work?" in pages[tmp_path / "site" / "index.html"].text
    assert read_page(tmp_path / "site" / "data.html").text.count("CSV") == 3


# -- what to pin


@functools.cache
def raw_cells() -> list[dict]:
    """Those of IREE: no other system is advised where nobody asks for it."""
    found = [cell for path in RESULTS for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    return [cell for cell in found if cell["axes"].get("backend", "iree") == "iree"]


def raw_right(model: str, target: str, python: str) -> list[dict[str, str]]:
    """The axes of the cells that answer a question, as the files have them."""
    cells = raw_cells()
    red = {tuple(cell["axes"].items()) for cell in cells if cell["outcome"] not in ("passed", "untested", "excluded")}
    return [
        cell["axes"]
        for cell in cells
        if (cell["axes"]["model"], cell["axes"]["target"], cell["axes"]["python"]) == (model, target, python)
        if cell["outcome"] == "passed" and "comparison" in cell["evidence"] and tuple(cell["axes"].items()) not in red
    ]


def test_every_model_target_and_python_has_a_page_of_what_to_pin(site, pages):
    found = {path.stem: page for path, page in pages.items() if path.parent.name == "pin"}
    models = {cell["axes"]["model"] for cell in all_cells()}
    targets = {cell["axes"]["target"] for cell in all_cells()}
    assert len(found) == len(models) * len(targets) * 6
    answered = 0
    for name, page in found.items():
        model, target, python = re.fullmatch(rf"(.+)-({'|'.join(sorted(targets))})-(.+)", name).groups()
        right = raw_right(model, target, python)
        said = re.search(r"runtime (\S+), compiler (\S+), .*: the newest set that was tested and passes", page.text)
        if not right:
            assert said is None and "Nothing that was tested passes. No set is guessed." in page.text, name
            assert "The nearest that passes" in page.text, name
            continue
        answered += 1
        assert any((axes["runtime"], axes["compiler"]) == said.groups() for axes in right), name
        releases = [Version(axes["runtime"]) for axes in right if re.fullmatch(r"[\d.]+", axes["runtime"])]
        assert not releases or Version(said[1]) == max(releases), name
        assert (
            "not tested" in page.text and "--require-hashes -r requirements.txt" in page.text and "sha256:" in page.text
        )
    assert answered == 50


def test_no_address_needs_to_be_quoted(site):
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {name for name in names if not re.fullmatch(r"[A-Za-z0-9._/-]+", name)} == set()


def test_compatibility_is_one_click_away_and_leads_to_each_square(site, pages):
    """A row of each backend."""
    assert "compatibility.html" in pages[site / "index.html"].links
    page = pages[site / "compatibility.html"]
    for preset in ("portability", "portability_onnxruntime", "portability_litert", "portability_openvino", "vulkan"):
        assert any(link.startswith(f"square/{preset}-") for link in page.links), preset
    assert "117 of 126 (93 %)" in page.text and "33 of 120 (28 %)" in page.text


def test_what_to_pin_is_two_clicks_away_also_where_nothing_is(site, pages):
    """For yolox_nano on aarch64, which nobody measured."""
    assert "pins.html" in pages[site / "index.html"].links
    table = pages[site / "pins.html"]
    assert "pin/yolox_nano-aarch64-3.11.html" in table.links
    page = " ".join(pages[site / "pin" / "yolox_nano-aarch64-3.11.html"].text.split())
    assert "nothing that passes has model yolox_nano, target aarch64" in page
    assert "model yolox_nano -> linear: runtime 3.13.0, compiler 3.13.0" in page
    assert "target aarch64 -> x86_64: runtime 3.13.0, compiler 3.13.0" in page
    assert "yolox_nano-x86_64-3.11.html" in " ".join(pages[site / "pin" / "yolox_nano-aarch64-3.11.html"].links)


def test_a_page_to_pin_from_has_the_file_that_advise_writes(site, pages, tmp_path):
    words = ["--model", "mobilenet_v2", "--target", "x86_64", "--python", "3.12"]
    assert main(["advise", *words, "-o", str(tmp_path / "requirements.txt")]) == 0
    folder = site / "pin" / "mobilenet_v2-x86_64-3.12"
    assert {path.name for path in folder.iterdir()} == {path.name for path in tmp_path.iterdir()}
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert text == (tmp_path / path.name).read_text(encoding="utf-8")
        assert text.strip() in pages[site / "pin" / "mobilenet_v2-x86_64-3.12.html"].text
    assert "the tools on Python 3.12: they were run on 3.11" in pages[site / "pin" / f"{folder.name}.html"].text


def test_a_board_is_said_to_be_emulated_and_its_runtime_to_be_built(pages, site):
    text = pages[site / "pin" / "mobilenet_v2-armv6-3.11.html"].text
    assert "armv6 is emulated by QEMU (qemu-arm-static) as the CPU arm1176" in text
    assert "runtime zig-3.13" in text and "from source with zig-static" in text
    assert "python -m matrix bundle armv6 mobilenet_v2 --compiler 3.13.0 --route embedded-repaired" in text
    assert "aarch64 is emulated by QEMU" in pages[site / "pin" / "llama_2l-aarch64-3.11.html"].text
