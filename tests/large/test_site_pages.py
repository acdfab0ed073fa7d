"""What the pages of the committed results say, each against the results files themselves."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from plain_words import not_plain, page_words
from published_site import BuiltSite
from site_checks import RESULTS, ROOT, own_pages
from site_samples import generated, timed, write

from matrix.cli.boards.bundle import check_bundle
from matrix.cli.publish import repository_address
from matrix.cli.verbs import make_parser
from matrix.core.errors import UsageError
from matrix.plan.locks import release_dates
from matrix.results.files import read_run
from matrix.site.build import build_site
from matrix.site.harmless import safe_run
from matrix.site.squares import conclusions, find_squares

JOB = re.compile(r"<summary>(.*?)</summary>\n<dl>\n<dt>command</dt><dd>(.*?)</dd>")


@pytest.fixture(scope="module")
def site(published: BuiltSite) -> Path:
    return published.folder


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def words(html: str) -> str:
    """What a reader sees, in one line."""
    shown = re.sub(r"<(select|head|script).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", shown)).split())


def test_dated_releases_are_compared_with_each_other_and_with_the_first_numbered_one(site):
    addresses = {path.stem for path in (site / "compare").glob("iree-*.html")}
    assert {"iree-20230209.425--20241104.1068", "iree-20241104.1068--2.9.0", "iree-2.9.0--3.13.0"} <= addresses
    assert "iree-20241104.1068--3.13.0" not in addresses
    said = words(read(site / "release" / "iree-20240828.999.html"))
    assert "Modules of compiler 20240828.999 load on runtimes 20240828.999 to 3.3." in said


def test_every_release_has_its_day_and_its_notes_on_its_page_and_in_the_list(site):
    dates = release_dates(ROOT / "images" / "locks")
    listed = read(site / "releases.html")
    start = words(read(site / "index.html"))
    page = read(site / "release" / "iree-3.9.0.html")
    assert "Released 2025-11-25 (iree-base-compiler, iree-base-runtime); its release notes." in words(page)
    assert '<a href="https://github.com/iree-org/iree/releases/tag/v3.9.0">' in page
    older = read(site / "release" / "iree-20240724.964.html")
    assert '<a href="https://github.com/iree-org/iree/releases/tag/candidate-20240724.964">' in older
    mended = read(site / "release" / "iree-3.7.1.html")  # of the compiler alone: it has no notes of its own
    assert "Released 2025-09-08 (iree-base-compiler)." in words(mended)
    assert "github.com/iree-org" not in mended
    assert "3.9.0 was released 2025-11-25" in words(read(site / "compare" / "iree-3.8.0--3.9.0.html"))
    seen = 0
    for product, package in (("iree", "iree-base-compiler"), ("torch", "torch"), ("turbine", "iree-turbine")):
        for version, day in dates[package].items():
            path = site / "release" / f"{product}-{version}.html"
            if path.exists():
                seen += 1
                assert f"Released {day}" in words(read(path)), path.name
                assert f">{version}</a></th><td>{day} (" in listed
                assert f"{version} {day}" in start
    assert seen > 40
    assert words(read(site / "release" / "iree-zig-3.13.html")).count("Released") == 0


@pytest.mark.parametrize("page", ["release/iree-3.12.0.html", "compare/iree-3.11.0--3.12.0.html"])
def test_a_release_is_triaged_on_its_page_and_where_two_are_compared(site, page):
    """With the numbers of the raw files."""
    ends: dict[str, dict[str, str]] = {"3.11.0": {}, "3.12.0": {}}
    for document in documents():
        tied = all(cell["axes"].get("runtime") == cell["axes"].get("compiler") for cell in document["cells"])
        for axes, outcome in ((cell["axes"], cell["outcome"]) for cell in document["cells"]):
            if axes.get("compiler") in ends:
                moves = {"compiler", "runtime"} if tied else {"compiler"}
                place = json.dumps([tied, {name: axes[name] for name in sorted(set(axes) - moves)}])
                if outcome not in ("excluded", "untested") or place not in ends[axes["compiler"]]:
                    ends[axes["compiler"]][place] = outcome  # a cell of several presets counts once
    both = [(old, ends["3.12.0"][place]) for place, old in ends["3.11.0"].items() if place in ends["3.12.0"]]
    turned = sum(old == "passed" and new in ("failed", "wrong_output", "crashed") for old, new in both)
    passing = sum(old == new == "passed" for old, new in both)
    text = words(read(site / page))
    said = re.search(r"Cells as compiler: 3.11.0 → 3.12.0 (\d+) new failures, .*?(\d+) pass with both", text)
    assert said is not None
    assert (int(said[1]), int(said[2])) == (turned, passing) == (18, 76)
    assert f"New failures {turned} cells: passed before run: passed → failed at run: module-version" in text
    assert "confirmed: its message is one that a signature knows" in text
    assert "both ends are of one run on one machine, measured 2026-11-21 to 2026-11-25" in text
    assert "python -m matrix diff compiler 3.11.0 3.12.0 --report" in text


def test_a_flaky_cell_accuses_nothing_on_the_page_of_a_release(tmp_path):
    content = generated(1, 3)
    first, *others = [cell for cell in content["cells"] if cell["axes"]["runtime"] == "3.2.0"]
    first |= {"outcome": "flaky", "signature": None}
    build_site(tmp_path / "site", [write(tmp_path / "flaky.json", content)])
    text = words(read(tmp_path / "site" / "release" / "iree-3.2.0.html"))
    assert "Cells as runtime: 3.1.0 → 3.2.0 1 flaky; 2 pass with both; 0 were measured with one of them only" in text
    assert "Flaky 1 cell: two attempts at one of the ends differ: no verdict, nothing is accused" in text
    assert len(others) == 2 and "New failures" not in text


FIRST_VIEW = 100_000
"""Bytes of a page with its style and script, as a server sends them, compressed."""


def test_the_first_view_of_each_page_is_under_100_kb(site):
    around = [(site / name).read_bytes() for name in ("site.css", "site.js", "icon.svg")]
    shared = sum(len(gzip.compress(each)) for each in around)
    sent = {path: len(gzip.compress(path.read_bytes())) + shared for path in site.rglob("*.html")}
    kinds = {path.parent.name for path in sent}
    assert {"cell", "compare", "model", "pin", "release", "signature", "square", "tables"} <= kinds
    assert {path.name: size for path, size in sent.items() if size > FIRST_VIEW} == {}


def documents() -> list[dict[str, Any]]:
    return [json.loads(read(path)) for path in RESULTS]


def documents_of(preset: str) -> dict[str, Any]:
    return next(document for document in documents() if document["preset"] == preset)


def emulated() -> dict[str, str]:
    """Target -> the emulator's words, as the results have them."""
    found = {}
    for document in documents():
        for axis in document["axes"]:
            for value in axis["values"] if axis["name"] == "target" else ():
                if (note := value.get("note") or "").startswith("emulated"):
                    found[value["label"]] = note
    return found


def test_each_page_of_an_emulated_target_says_so_before_its_cells(site):
    targets, seen = emulated(), set()
    assert {"armv6", "aarch64"} <= set(targets)
    for path in [*own_pages(site / "square"), *own_pages(site / "cell")]:
        text = read(path)
        head = re.split(r'<section class="cell|<table class="grid"', text)[0]
        (title,) = re.findall(r'<p class="fixed">(.*?)</p>', text, re.DOTALL)[:1]
        for target, note in targets.items():
            program, word, hardware = note.split()[3:6]
            kind = {"-cpu": "CPU", "-M": "board"}[word]
            said = f"{target} is emulated by QEMU ({program}) as the {kind} {hardware} ("
            an_axis = "-target-" in path.name and re.search(rf'[>#"]{target}[<"]', text) is not None
            if f"target {target}," in f"{title}," or an_axis:
                seen.add(target)
                assert said in words(head), path
                assert "None of its cells was ever run on a board, and none has a time." in words(head), path
            else:
                assert said not in words(text), path
    assert seen == set(targets)


def test_a_job_under_an_emulator_has_no_seconds(site):
    summaries = [
        summary
        for path in (site / "cell").glob("*.html")
        for summary, command in JOB.findall(read(path))
        if command.startswith("<code>qemu-")
    ]
    assert len(summaries) > 200
    assert all(", under the emulator" in each and not re.search(r"\d s\b", each) for each in summaries)


def test_runtimes_that_were_built_and_routes_are_explained_in_a_line(site):
    for path in [path for path in own_pages(site / "square") if path.name.startswith("armv6-")]:
        names = set(re.findall(r'title="[^"]*">((?:zig|dynamic|threads)-3\.1[13])<', read(path)))
        names |= set(re.findall(r"route-([a-z]+(?:-repaired)?)[\"&]", read(path).partition("</form>")[2]))
        explained = dict(re.findall(r"<dt>(?:runtime|route) (.*?)</dt><dd>(.+?)</dd>", read(path)))
        assert names <= set(explained), path
    page = words(read(site / "release" / "iree-zig-3.13.html"))
    assert "IREE's runtime 3.13.0 built from source with zig-static: one static file for the ARM1176" in page
    assert "armv6 is emulated by QEMU" in page


def test_the_commands_for_bundles_are_taken_by_the_verb(site):
    found = {
        unescape(command)
        for path in site.rglob("*.html")
        for command in re.findall(r"<code>(python -m matrix bundle [^<]+)</code>", read(path))
    }
    assert "python -m matrix bundle armv6 mobilenet_v2 -o FOLDER" in found
    exact = "--compiler 3.13.0 --route embedded-repaired --toolchain zig-static"
    assert f"python -m matrix bundle armv6 mobilenet_v2 {exact} -o FOLDER" in found
    for command in found:
        check_bundle(make_parser().parse_args(shlex.split(command)[3:]))
    assert not any("3.11" in read(path) and "bundle armv6" in read(path) for path in (site / "cell").glob("*zig-3.11*"))


def test_the_machine_is_named_beside_every_number_of_speed(site):
    for name in ("tables/performance.html", "tables/flags.html", "charts.html", "release/iree-3.12.0.html"):
        text = words(read(site / name))
        assert re.search(r"\d+ rounds in 2 passes; noise floor \d+ to \d+ %; load [^;]*; (NOT )?quiet", text), name
        assert re.search(r"x86_64, (AMD EPYC|Intel\(R\) Xeon\(R\) Processor), 2 cores \(CPU flags not recorded\)", text)


def test_runs_of_one_preset_on_two_machines_lead_to_each_other(site):
    """The run of `flags` on the AMD machine, beside that on the Intel one."""
    both = {"flags.html": "Intel(R) Xeon(R)", "flags.on-amd-epyc-2-cores.html": "AMD EPYC"}
    for (name, own), (other, its) in zip(both.items(), reversed(both.items()), strict=True):
        (nav,) = re.findall(r'<nav class="machines".*?</nav>', read(site / "tables" / name), re.DOTALL)
        assert re.search(rf"<b>x86_64, {re.escape(own)}", nav)
        assert re.search(rf'<a href="../tables/{re.escape(other)}">x86_64, {re.escape(its)}', nav)
    charts = read(site / "charts.html")
    kinds = set(re.findall(r'id="flags-([a-z-]+)"', charts))
    assert "ratio" in kinds
    for kind in kinds:
        assert f'href="charts.html#flags-{kind}"' in charts
        assert f'href="charts.html#flags.on-amd-epyc-2-cores-{kind}"' in charts
    assert (site / "data" / "flags.on-amd-epyc-2-cores.json").read_bytes() == (
        ROOT / "results" / "amd-epyc" / "flags.json"
    ).read_bytes()


def test_the_flags_of_a_cpu_are_shown_whole_and_runs_of_one_machine_are_twins(tmp_path):
    told = "x86_64, a CPU, 1 core, CPU flags " + " ".join(f"avx512_{number}" for number in range(30))
    content = timed(("one",), ("3.1.0", "3.2.0"), lambda *_: 1.0)
    first = write(tmp_path / "first.json", content)
    for job in content["jobs"].values():
        job["machine"] = told
    build_site(tmp_path / "site", [first, write(tmp_path / "second.json", content)])
    page = words(read(tmp_path / "site" / "tables" / "timed.on-a-cpu-1-core.html"))
    assert told in page and "not recorded" not in page.partition("Measured on:")[2].partition(told)[2]
    with pytest.raises(UsageError, match="both are of the preset timed on the same machine"):
        build_site(tmp_path / "site", [first, write(tmp_path / "third.json", json.loads(first.read_text()))])


# -- the start page and the pages of cells


def test_the_start_page_answers_before_it_asks(site):
    """The answer in words, the questions that people come with, what to conclude, what the model is."""
    html = read(site / "index.html")
    before = words(html.partition('<form class="pick"')[0])
    assert "modules of compilers 3.4 to 3.7 run on runtimes 3.4 to 3.7" in before
    assert "modules of compilers 3.12 to 3.13 run on runtimes 3.12 to 3.13" in before
    asked = dict(
        re.findall(r'<a href="([^"]+)">([^<]+)</a>', html.partition('class="asked"')[2].partition("</nav>")[0])
    )
    assert asked == {
        "loads.html": "What loads my file?",
        "pins.html": "What do I pin?",
        "compatibility.html": "How compatible are releases?",
        "release/iree-3.13.0.html": "What did the last release change? (3.13.0)",
    }
    assert all((site / link).is_file() for link in asked)
    text = words(html)
    assert "In each, all modules run on every runtime, and on no other runtime.".lower() in text.lower()
    assert "Runtime 3.13 loads modules of compilers 3.12 and 3.13: a new runtime does not load old modules." in text
    assert "Compilers 3.10 and 3.11 stand alone, each with one runtime." in text
    assert "model linear One linear layer, y = x W^T + b" in re.sub("linear(?=One)", "linear ", text)
    loads = words(read(site / "loads.html"))
    assert "Modules of compiler 3.5 load on runtimes 3.4 to 3.7." in loads
    assert "python -m matrix whatis model.vmfb" in loads


def test_nothing_is_concluded_where_the_runtimes_form_no_groups(tmp_path):
    def concluded(releases: int, ended: Callable[[int, int], bool]) -> list[str]:
        content = generated(1, releases)
        for cell in content["cells"]:
            row, column = (int(cell["axes"][axis].split(".")[1]) for axis in ("compiler", "runtime"))
            cell["signature"] = None if ended(row, column) else "vm-features"
            cell["outcome"] = "passed" if ended(row, column) else "failed"
        (table,) = find_squares(safe_run(read_run(write(tmp_path / "run.json", content))))
        return conclusions(table)

    assert concluded(4, lambda row, column: row <= column) == []
    assert concluded(4, lambda row, column: True) == []
    assert concluded(4, lambda row, column: row // 2 == column // 2)[0].startswith("The releases form 2 groups: ")


def test_a_cell_says_what_it_is_the_nearest_that_pass_since_when_and_how_to_measure_it(site):
    page = read(site / "cell" / "portability-compiler-runtime-linear--3.8.0.html")
    html = re.search(r'<section class="cell \w+" id="3\.11\.0">.*?</section>', page, re.DOTALL)[0]
    text = words(html)
    assert "compiled by 3.8, run on 3.11: refused" in words(re.search("<h2>.*?</h2>", html)[0])
    assert "Nearest that pass: runtime 3.9.0 (2 older); compiler 3.11.0 (3 newer)." in text
    assert "runtime: failed at run: vm-bytecode-version from 3.10.0 (3.9.0: passed) to 3.13.0 (the newest" in text
    assert 'href="../cell/portability-compiler-runtime-linear--3.11.0.html#3.11.0"' in html
    assert 'data-copy="again-3.11.0" hidden>Copy</button>' in html
    (command,) = re.findall(r'<pre id="again-3\.11\.0">(.*?)</pre>', html, re.DOTALL)
    install, again = unescape(command).split("\n")
    assert install == "python3 -m pip install -e ."
    assert again == "python -m matrix run portability --only compiler=3.8.0 --only runtime=3.11.0"


def test_the_nearest_that_pass_do_pass_and_none_nearer_does(site):
    """Of every cell of the square of portability, by the results file."""
    cells = {(cell["axes"]["compiler"], cell["axes"]["runtime"]): cell for cell in documents_of("portability")["cells"]}
    order = {
        axis: sorted({place[index] for place in cells}, key=Version) for index, axis in enumerate(("row", "column"))
    }
    checked = 0
    for row in order["row"]:
        page = read(site / "cell" / f"portability-compiler-runtime-linear--{row}.html")
        for column in order["column"]:
            section = page.partition(f'id="{column}">')[2].partition("</section>")[0]
            said = re.findall(r'--([\d.]+)\.html#([\d.]+)">(?:compiler|runtime) [\d.]+ \((\d+) ', section)
            if cells[row, column]["outcome"] == "passed":
                assert not said
                continue
            assert said
            for there_row, there_column, away in said:
                assert cells[there_row, there_column]["outcome"] == "passed"
                steps = abs(order["row"].index(there_row) - order["row"].index(row))
                steps += abs(order["column"].index(there_column) - order["column"].index(column))
                assert steps == int(away)
                nearer = [
                    place
                    for place in cells
                    if (place[0] == row or place[1] == column)
                    and cells[place]["outcome"] == "passed"
                    and (place[0] == row) == (there_row == row)
                    and between(order, (row, column), (there_row, there_column), place)
                ]
                assert nearer == []
                checked += 1
    assert checked > 174


def between(order: dict[str, list[str]], here: tuple[str, str], there: tuple[str, str], place: tuple[str, str]) -> bool:
    """Whether a place lies strictly between two others of a row or column."""

    def at(each: tuple[str, str]) -> tuple[int, int]:
        return order["row"].index(each[0]), order["column"].index(each[1])

    if place in (here, there):
        return False
    return all(min(a, c) <= b <= max(a, c) for a, b, c in zip(at(here), at(place), at(there), strict=True))


def test_the_repository_is_a_link_on_every_page_of_a_site_that_knows_it(tmp_path):
    config = '[core]\n\tbare = false\n[remote "origin"]\n\tfetch = +x\n\turl = {}\n[branch "main"]\n'
    for url, address in (
        ("https://example.org/a/matrix.git", "https://example.org/a/matrix"),
        ("https://me:secret@example.org/a/matrix", "https://example.org/a/matrix"),
        ("/somewhere/hub.git", ""),
        ("javascript:alert(1)", ""),
    ):
        (tmp_path / ".git").mkdir(exist_ok=True)
        (tmp_path / ".git" / "config").write_text(config.format(url))
        assert repository_address(tmp_path) == address
    run = write(tmp_path / "run.json", generated(1, 2))
    build_site(tmp_path / "site", [run], repository="https://example.org/a/matrix")
    for path in own_pages(tmp_path / "site"):
        assert '<a href="https://example.org/a/matrix">' in read(path), path
    (cell, *_) = own_pages(tmp_path / "site" / "cell")
    assert "git clone https://example.org/a/matrix iree-matrix &amp;&amp; cd iree-matrix" in read(cell)
    build_site(tmp_path / "other", [run])
    for path in (tmp_path / "other").rglob("*.html"):
        assert not re.search("git clone|Source, locks and results|example", read(path)), path


# -- plain words


def test_every_page_says_it_plainly(site):
    """All pages with what results, signatures and sentences put on them, but for commands and messages of programs."""
    found = {path.name: words for path in site.rglob("*.html") if (words := not_plain(page_words(read(path))))}
    assert found == {}


# -- small things


def test_what_is_said_of_pages_is_what_was_written(tmp_path):
    """Two runs share environments; each page is written, and counted, once."""
    results = []
    for name in ("one", "two"):
        results.append(write(tmp_path / f"{name}.json", generated(1, 2) | {"preset": name}))
    built = build_site(tmp_path / "site", results)
    assert built.pages == len(own_pages(tmp_path / "site"))
    assert len(list((tmp_path / "site" / "environment").iterdir())) == 3


def test_an_export_dated_after_the_compile_that_reads_it_is_explained(site):
    """Where two exporters wrote the same bytes, the compile ran once, perhaps before the second of them."""

    said = re.compile(
        r"Its \S+ is dated before its \S+: another \S+, or an earlier run of it, had written the same bytes"
    )
    found = {}
    for document in documents():
        dates = [
            [document["jobs"][key]["finished_at"] for key in cell["evidence"]["jobs"][:2]] for cell in document["cells"]
        ]
        found[document["preset"]] = any(pair != sorted(pair) for pair in dates)
    assert found["exporters"] and not found["models"]
    for preset, turned in found.items():
        pages = [words(read(path)) for path in (site / "cell").glob(f"{preset}-*.html")]
        assert any(said.search(page) for page in pages) == turned, preset


def test_one_is_one_and_a_lock_is_a_lock(site):
    for path in site.rglob("*.html"):
        assert not re.search(r"\b1 cores\b|\b1 cells\b|\(1 cells\)|sha256 built for", read(path)), path
    assert any("no lock of wheels: built for arm" in read(path) for path in (site / "environment").iterdir())
