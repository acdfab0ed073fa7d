"""The documents: README is short and begins with the question, every command is run by a test that is named in
`tests/helpers/documents.py` or found by its form, and every file, link and variable that they name exists."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tomllib
from unittest.mock import patch

import pytest
from documents import ALL_COMMANDS, BY_FORM, BY_NAME, ROOT, RUN, TEXTS, inline

from matrix.cli.main import main
from matrix.cli.verbs import VERBS, make_parser
from matrix.core.errors import STATUSES
from matrix.site.build import first_square

FIRST = TEXTS["README.md"]
PICTURE = ROOT / "results" / "portability.svg"
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|[*…{<]")
TOPS = sorted(path.name for path in ROOT.iterdir() if not path.name.startswith(".") or path.name in (".ci", ".github"))
NAMED_FILE = re.compile(rf"(?:{'|'.join(map(re.escape, TOPS))})(?:/[\w.*-]+)*/?")
MADE = {"build/site/index.html"}
"""Files that a command makes."""


# -- the README


def test_the_readme_can_be_read_in_five_minutes():
    assert len(FIRST.splitlines()) <= 110


def test_it_begins_with_the_question_the_picture_and_two_commands():
    places = [
        FIRST.index(text)
        for text in (
            "**Which releases of IREE",
            "](results/portability.svg)",
            "python3 -m pip install nox && nox -s matrix",
            "nox -s tests",
            "](results/portability.md)",
            "**What to conclude.**",
            "## How to read the square",
            "<!-- what `nox -s matrix` prints -->",
            "## Five commands more",
            "docs/",
        )
    ]
    assert places == sorted(places) and places[4] < 1800


def test_the_picture_is_drawn_from_the_results(tmp_path):
    """`nox -s results`, or `python -m matrix picture results/portability.json -o results/portability.svg`."""
    assert PICTURE.read_text(encoding="utf-8") == first_square([ROOT / "results" / "portability.json"])
    drawn = tmp_path / "square.svg"
    assert main(["picture", str(ROOT / "results" / "portability.json"), "-o", str(drawn)]) == 0
    assert drawn.read_bytes() == PICTURE.read_bytes()


def test_it_leads_to_every_page_of_docs():
    linked = set(re.findall(r"\]\(docs/(\w[\w-]*\.md)", FIRST))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}


# -- commands


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_is_run_by_a_test(command):
    found = [where for form, where in BY_FORM.items() if re.fullmatch(form, command)]
    found += [BY_NAME[command]] if command in BY_NAME else []
    found += [("tests/real/test_portability_real.py", "documents.RUN")] if command in RUN else []
    assert found, f"no test runs {command!r}: write one, and name it in tests/helpers/documents.py"
    path, words = found[0]
    assert words in (ROOT / path).read_text(encoding="utf-8"), path


def test_no_test_is_named_for_a_command_that_is_gone():
    assert BY_NAME.keys() <= set(ALL_COMMANDS)


def shortened() -> list[str]:
    """Commands without their `python -m matrix`: those that begin with a verb and have an option."""
    prose = TEXTS.keys() - {"CHANGELOG.md", "docs/reference.md"}
    found = {text for name in prose for text in inline(TEXTS[name])}
    return sorted(text for text in found if text.split(" ")[0] in VERBS and " -" in text and "[" not in text)


@pytest.mark.parametrize("command", [each for each in ALL_COMMANDS if each.startswith("python -m matrix ")])
def test_the_command_line_reads_it(command):
    try:
        make_parser().parse_args(shlex.split(command)[3:])
    except SystemExit as ended:
        assert ended.code == 0 and command.endswith(" --help")


def test_the_command_line_reads_shortened_ones():
    options = {"advise": ["--model", "linear"], "badge": ["--model", "linear", "-o", "x.svg"]}
    assert len(shortened()) >= 3
    for command in shortened():
        words = shlex.split(command.partition(" >")[0])
        make_parser().parse_args([*words, *options.get(words[0], [])])


def test_nox_lists_every_session_that_they_name():
    listed = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = {session for text in TEXTS.values() for session in re.findall(r"nox -s (\w+)", text)}
    assert len(named) > 8 and all(f"\ndef {session}(session" in listed for session in named)


# -- files, links, variables


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings(name):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[name]):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


@pytest.mark.parametrize("name", sorted(TEXTS.keys() - {"CHANGELOG.md"}))
def test_files_that_are_named_exist(name):
    named = [text for text in inline(TEXTS[name]) if NAMED_FILE.fullmatch(text) and not PLACEHOLDER.search(text)]
    assert [text for text in named if text not in MADE and not (ROOT / text).exists()] == []


def test_names_that_stand_in_a_named_file_are_there():
    """`NAME` in or of `path`."""
    found = [pair for text in TEXTS.values() for pair in re.findall(r"`(\w+)` (?:in|of) `([\w/.-]+\.\w+)`", text)]
    assert len(found) > 8
    assert [(word, path) for word, path in found if word not in (ROOT / path).read_text(encoding="utf-8")] == []


def test_every_variable_of_the_environment_is_documented():
    code = [path for room in ("matrix", "scripts", "tests") for path in (ROOT / room).rglob("*.py")]
    read = {name for path in code for name in re.findall(r"\bIREE_MATRIX_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    told = {name for text in TEXTS.values() for name in re.findall(r"\bIREE_MATRIX_[A-Z_]+\b", text)}
    assert read == told


# -- pages that follow from the code


def test_the_reference_is_made_from_the_code():
    place = ROOT / "docs" / "make_reference.py"
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("make_reference", place))
    usual = {name: value for name, value in os.environ.items() if name != "IREE_MATRIX_ENGINE"}
    with patch.dict(os.environ, usual, clear=True):
        spec.loader.exec_module(module)
        made = module.page()
    assert made == TEXTS["docs/reference.md"], "docs/reference.md is stale: run `nox -s docs`"


def test_the_reference_has_every_exit_status():
    assert all(f"| {status} | {meaning} |" in TEXTS["docs/reference.md"] for status, meaning in STATUSES.items())


def test_the_map_of_rooms_is_the_import_contract():
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rooms = contract["layers"]
    assert (
        re.findall(r"^\| `(\w+)` \|", TEXTS["docs/architecture.md"].partition("## The map")[2], re.MULTILINE) == rooms
    )
    block = TEXTS["CONTRIBUTING.md"].partition("## The map")[2].split("```")[1]
    assert block.split() == rooms
    assert {path.parent.name for path in (ROOT / "matrix").glob("*/__init__.py")} == set(rooms)


def test_the_glossary_is_in_order_and_has_a_word_once():
    words = re.findall(r"^\| ([a-z ]+) \| (?!meaning)", TEXTS["docs/glossary.md"], re.MULTILINE)
    assert len(words) > 40 and words == sorted(set(words))
