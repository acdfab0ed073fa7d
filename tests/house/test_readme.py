"""The README: it begins with the question, its picture is drawn from the results, and every command in it is run by a
test that is named here or found by its form."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.cli.options import make_parser
from matrix.site.build import first_square

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = ROOT / "results" / "portability.svg"
FENCED = [
    command.strip()
    for block in re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    for command in line.partition("#")[0].split("&&")
]
COMMAND = re.compile(r"(?:python3? -m \w+|nox|uvx) .+")
COMMANDS = sorted({*filter(COMMAND.fullmatch, (*FENCED, *re.findall(r"`([^`\n]+)`", README)))})
BY_FORM = {
    r"python -m matrix (?!.*armv6)(?!site).+": ("tests/real/test_portability_real.py", "README_COMMANDS"),
    r"nox -s matrix -- --model .+image:.+": ("tests/real/test_own_image_real.py", "by the README's command line"),
    r"nox -s matrix -- --model .+": ("tests/helpers/own_models.py", "OWN_LINES"),
}
"""Commands of a form -> the test that reads them out of the README and runs them."""
BY_NAME = {
    "nox -l": ("tests/house/test_readme.py", '["nox", "-l"]'),
    "nox -s armv6_smoke": ("tests/real/test_armv6_smoke_full.py", "test_the_smoke_test_finds_what_is_committed"),
    "nox -s bench": ("tests/real/test_full.py", "tests/bench/bench.py"),
    "nox -s lock": ("tests/real/test_locks_real.py", "test_a_lock_is_the_same_twice"),
    "nox -s matrix": ("tests/real/test_full.py", '"nox", "-s", "matrix"'),
    "nox -s matrix -- --engine docker": ("tests/real/test_engine_docker.py", "test_both_engines_give_the_same_table"),
    "nox -s matrix -- --engine nix": (
        "tests/real/test_engine_nix.py",
        "test_venv_and_nix_give_the_same_table_and_artifacts",
    ),
    "nox -s matrix -- NAME": ("tests/real/test_portability_real.py", "matrix run portability"),
    "nox -s matrix -- armv6": ("tests/real/test_presets_built_full.py", '"armv6"'),
    "nox -s matrix -- path/to/spec.toml": ("tests/real/test_portability_real.py", "matrix run {spec}"),
    "nox -s matrix -- sources": ("tests/real/test_presets_built_full.py", '"sources"'),
    "nox -s site": ("tests/real/test_site_real.py", '"nox", "-s", "site"'),
    "nox -s tests": (".ci/run", "nox -s tests"),
    "python -m matrix armv6-lld FOLDER": ("tests/real/test_armv6_real.py", "linker"),
    "python -m matrix bundle armv6 mobilenet_v2 -o FOLDER": ("tests/real/test_armv6_smoke_full.py", '"bundle"'),
    "python -m matrix site -o FOLDER run.json": ("tests/real/test_site_real.py", '"site", "-o"'),
    "python3 -m pip install -e .": ("noxfile.py", '"-e", "."'),
    "python3 -m pip install nox": ("tests/real/test_full.py", '"nox"'),
    "uvx nox -s matrix": ("tests/real/test_full.py", '"nox", "-s", "matrix"'),
}
"""Commands that stand for themselves -> a test that does what they do, and words in it."""


def test_it_begins_with_the_question_the_picture_and_two_commands():
    places = [
        README.index(text)
        for text in (
            "**Which releases of IREE",
            "](results/portability.svg)",
            "python3 -m pip install nox && nox -s matrix",
            "nox -s tests",
            "](results/portability.md)",
            "**What to conclude.**",
            "<!-- what `nox -s matrix` prints -->",
        )
    ]
    assert places == sorted(places) and places[4] < 1800


def test_the_picture_is_drawn_from_the_results(tmp_path):
    """`nox -s results`, or `python -m matrix picture results/portability.json -o results/portability.svg`."""
    assert PICTURE.read_text(encoding="utf-8") == first_square([ROOT / "results" / "portability.json"])
    drawn = tmp_path / "square.svg"
    assert main(["picture", str(ROOT / "results" / "portability.json"), "-o", str(drawn)]) == 0
    assert drawn.read_bytes() == PICTURE.read_bytes()


def test_its_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 5 and not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_by_a_test(command):
    found = [where for form, where in BY_FORM.items() if re.fullmatch(form, command)]
    found += [BY_NAME[command]] if command in BY_NAME else []
    assert found, f"no test runs {command!r}: write one, and name it here"
    path, words = found[0]
    assert words in (ROOT / path).read_text(encoding="utf-8"), path


def test_no_test_is_named_for_a_command_that_is_gone():
    assert BY_NAME.keys() <= set(COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("python -m matrix ")])
def test_the_command_line_reads_it(command):
    make_parser().parse_args(shlex.split(command)[3:])


def test_nox_lists_every_session_that_it_names():
    listed = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert all(f"\ndef {session}(session" in listed for session in re.findall(r"nox -s (\w+)", README))
