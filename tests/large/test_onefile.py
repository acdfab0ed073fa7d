"""The page for a presentation: whole in one file, asks for nothing, runs nothing, and says what the results say."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages_read import Page
from site_checks import PORTABILITY, RESULTS, assert_valid
from site_samples import HOSTILE, OVERRIDE, generated, hostile, timed, write

from matrix.cli.main import main
from matrix.core.errors import ResultsFault
from matrix.site.one_page import one_file


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    content = timed(("one", "two"), ("3.1.0", "3.2.0"), lambda *_: 1.0)
    return one_file([PORTABILITY, write(tmp_path_factory.mktemp("run") / "timed.json", content)])


def test_it_has_the_square_the_islands_and_what_to_do(report):
    text = " ".join(read(report).text.split())
    assert "51 passed, 174 failed of 225 cells, 2026-11-21" in text
    assert "modules of compilers 3.4 to 3.7 run on runtimes 3.4 to 3.7" in text
    assert report.count('title="failed at run: vm-bytecode-version"') == 58
    assert "225 of 225 cells ended as the gates alone predict" in text
    assert "recompile with a compiler of the runtime's own release" in text
    assert text.index("Which IREE runtimes load modules from which compilers?") < text.index("Does it work?")


def test_it_has_the_charts_as_pictures_and_as_numbers(report):
    pictures = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', report)
    assert len(pictures) == 6
    for picture, alt in pictures:
        assert "compiler" in alt
        text = " ".join(ElementTree.fromstring(base64.b64decode(picture)).itertext())
        assert "Source: IREE matrix" in text
    assert "1.000 (1.000 to 1.000) the same bytes" in read(report).text


def test_it_begins_with_a_summary_and_contents(report):
    summary = report[report.index('id="summary"') : report.index('class="sheet"')]
    said = " ".join(read(summary).text.split())
    assert "Which IREE runtimes load modules from which compilers? 51 passed, 174 failed of 225 cells" in said
    assert "Modules of compilers 2.9 to 3.3 run on runtimes 2.9 to 3.3; modules of compilers 3.4 to 3.7" in said
    assert "The same at every release: one 10 ms, two 10 ms." in said
    for target in ("question-portability", "charts", "errors", "sources"):
        assert f'href="#{target}"' in summary and f'<section class="sheet" id="{target}">' in report


def test_a_summary_says_nothing_twice():
    """aarch64 has the islands of x86_64: the summary says them once."""
    text = one_file([PORTABILITY, PORTABILITY.with_name("aarch64.json")])
    summary = text[text.index('id="summary"') : text.index('class="sheet"')]
    assert summary.count("odules of compilers 3.4 to 3.7 run on") == 1
    assert "Aarch64 ends as x86_64 does in all 234 cells." in summary


def test_each_source_stands_with_its_date_and_digest(report):
    assert "portability.json" in report and "timed.json" in report
    assert hashlib.sha256(PORTABILITY.read_bytes()).hexdigest() in report


def test_it_asks_for_nothing_and_runs_nothing(report):
    page = read(report)
    asked = [link for link in page.links if not link.startswith("data:image/svg+xml;base64,")]
    assert asked and all(link[:1] == "#" and link[1:] in page.ids for link in asked)  # the contents
    assert page.faults == ["inline style"] and "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', report)[1]
    style = re.search(r"<style>(.*?)</style>", report, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_it_is_valid(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(report, encoding="utf-8")
    assert_valid(tmp_path, [path])


def test_hostile_text_is_inert(tmp_path):
    text = one_file([write(tmp_path / "run.json", hostile())])
    page = read(text)
    assert page.faults == ["inline style"] and not {"script", "img"} & set(page.tags)
    assert HOSTILE.split("\x1b")[0] in page.text
    assert not [letter for letter in text if (ord(letter) < 32 and letter != "\n") or letter in (OVERRIDE, "\u2028")]
    assert "49" not in page.text.replace(hashlib.sha256((tmp_path / "run.json").read_bytes()).hexdigest(), "")
    assert len(text) < 300_000


def test_many_squares_are_cut_and_counted(tmp_path):
    text = read(one_file([write(tmp_path / "run.json", generated(30, 4))])).text
    assert text.count("compiler by runtime") == 24 and "6 more squares are in the data" in text


def test_the_command_writes_it(tmp_path, capsys):
    path = tmp_path / "deep" / "report.html"
    assert main(["report", "-o", str(path), str(PORTABILITY)]) == 0
    assert str(path) in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == one_file([PORTABILITY])
    assert main(["report", "-o", str(tmp_path), str(PORTABILITY)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("{}")
    with pytest.raises(ResultsFault, match=re.escape(str(path))):
        one_file([path])


@pytest.mark.full
def test_all_committed_results_make_one_page():
    page = read(one_file(RESULTS))
    assert all(name in page.text for name in (path.name for path in map(Path, RESULTS)))


def test_runs_of_one_preset_on_two_machines_are_both_there_with_their_machines(tmp_path):
    content = timed(("one",), ("3.1.0", "3.2.0"), lambda *_: 1.0)
    other = timed(("one",), ("3.1.0", "3.2.0"), lambda _, place, __: 1.0 + place)
    for made in other["jobs"].values():
        made["machine"] = "x86_64, another CPU, 4 cores"
    text = one_file([write(tmp_path / "one.json", content), write(tmp_path / "two.json", other)])
    summary = " ".join(read(text[text.index('id="summary"') : text.index('class="contents"')]).text.split())
    for machine in ("a CPU, 2 cores", "another CPU, 4 cores"):
        assert f"On x86_64, {machine} (CPU flags not recorded): 2 passed" in summary
    alone = one_file([tmp_path / "one.json"])
    assert "On x86_64, a CPU" not in read(alone).text
