"""One command answers the question, on real releases: the square, its evidence, and what the other verbs do with it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy
import pytest
from command_line import (
    DATA,
    RELEASES,
    ROOT,
    good,
    link_or_copy,
    matrix,
    new_store,
    standing,
    started,
    table,
    write_spec,
)
from pace import allowed

pytestmark = pytest.mark.real

PUBLISHED = ROOT / "results" / "portability.json"
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def square_of(text: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    """(compiler, runtime) -> (outcome, stage, signature) of a table as CSV."""
    rows = csv.DictReader(io.StringIO(text))
    return {(row["compiler"], row["runtime"]): (row["outcome"], row["stage"], row["signature"]) for row in rows}


def published() -> dict[tuple[str, str], tuple[str, str, str]]:
    """The same releases in the table that this repository publishes."""
    cells = json.loads(PUBLISHED.read_text())["cells"]
    found = {}
    for cell in cells:
        axes = cell["axes"]
        if {axes["compiler"], axes["runtime"]} <= set(RELEASES):
            place = (axes["compiler"], axes["runtime"])
            found[place] = (cell["outcome"], cell["stage"] or "", cell["signature"] or "")
    assert len(found) == 9
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared):
    """A finished run: (spec, store, what it printed as CSV, the start log)."""
    folder = tmp_path_factory.mktemp("done")
    store, log = new_store(folder / "store", shared), folder / "starts"
    spec = write_spec(folder)
    ran = good("run", spec, "--store", store, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
    assert ran.jobs_run == 3 + 9
    return spec, store, ran.out, log


def test_the_square_is_the_published_one(done):
    spec, store, printed, log = done
    assert square_of(printed) == published()
    assert len(started(log)) == len(set(started(log))) == 12
    assert table(spec, store) == printed


def test_a_second_call_runs_nothing_and_takes_no_second(done):
    spec, store, printed, log = done
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        ran = good("run", spec, "--store", store, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
        seconds.append(time.monotonic() - begun)
        assert ran.jobs_run == 0
        assert ran.out == printed
    assert len(started(log)) == 12
    print(f"\na warm run: {min(seconds):.2f} s")
    assert min(seconds) < allowed(1.0)


def test_every_cell_has_evidence(done):
    spec, store, _, _ = done
    report = json.loads(good("show", spec, "--store", store, "--format", "json").out)
    assert report["format"] == 3
    assert len(report["cells"]) == 9
    for cell in report["cells"]:
        assert list(cell["axes"]) == ["model", "python", "torch", "turbine", "compiler", "runtime", "target", "flags"]
        jobs = [report["jobs"][key] for key in cell["evidence"]["jobs"]]
        assert [job["stage"] for job in jobs] == ["compile", "run"]
        assert cell["evidence"]["reproduce"].startswith("python -m matrix run ")
        for job in jobs:
            assert SHA256.match(job["lock_sha256"])
            assert SHA256.match(job["environment"])
            assert all(SHA256.match(digest) for digest in job["inputs"].values())
            assert report["environments"][job["environment"]]["distributions"]
            assert job["finished_at"]
            assert job["machine"]
        assert all(SHA256.match(artifact["sha256"]) for artifact in jobs[0]["artifacts"].values())
        if cell["outcome"] == "passed":
            assert cell["evidence"]["comparison"]["error"] <= 1e-6
            assert jobs[1]["artifacts"]
        else:
            assert "INVALID_ARGUMENT" in cell["evidence"]["message"]
            assert cell["evidence"]["values"]


def test_every_format_holds_every_cell(done, tmp_path):
    spec, store, _, _ = done
    shown = {
        name: good("show", spec, "--store", store, "--format", name).out
        for name in ("table", "markdown", "html", "csv", "json", "junit")
    }
    for name in ("table", "markdown", "html"):
        text = re.sub(r"<[^>]+>", " ", shown[name])
        for word in ("3.8", "3.10", "3.13", "vm-bytecode-version", "9 cells: 3 passed, 6 failed"):
            assert word in text, (name, word)
        assert "modules of compiler 3.8 run on runtime 3.8" in text
    assert max(len(line) for line in shown["table"].splitlines()) <= 120
    assert len(list(csv.reader(io.StringIO(shown["csv"])))) == 10
    suite = ElementTree.fromstring(shown["junit"])
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("9", "6", "0")
    assert len(suite.findall("testcase/failure")) == 6
    good("show", spec, "--store", store, "--format", "json", "--output", tmp_path / "new" / "table.json")
    assert (tmp_path / "new" / "table.json").read_text() == shown["json"]


def test_the_pasted_command_says_the_same(done, tmp_path):
    """The one line that `why` prints, run by a shell in another folder, ends in the message that it prints."""
    spec, store, _, _ = done
    words = ["--preset", spec, "--store", store]
    ran = good("why", *words, "compiler=3.8.0", "runtime=3.10.0")
    assert "failed at run: vm-bytecode-version" in ran.out
    message = re.search(r"^message +(.*)$", ran.out, re.MULTILINE)
    assert message and "runtime supports 16.0, module has 15.0" in message[1]
    for word in ("lock         compiler/3.8.0 sha256", "lock         runtime/3.10.0 sha256", "environment  ", "job   "):
        assert word in ran.out
    pasted = pasted_line(ran.out)
    again = subprocess.run(["sh", "-c", pasted], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode != 0
    assert message[1] in again.stdout + again.stderr
    passed = good("why", *words, "compiler=3.13.0", "runtime=3.13.0")
    assert "equal" in passed.out
    once_more = subprocess.run(["sh", "-c", pasted_line(passed.out)], capture_output=True, check=False, timeout=60)
    assert once_more.returncode == 0


def test_the_store_answers_as_results_do(done):
    """`why`, `advise`, `candidates` and `diff` of a run of one's own."""
    spec, store, _, _ = done
    own = ["--preset", spec, "--store", store]
    why = good("why", *own, "compiler=3.8.0", "runtime=3.10.0").out
    assert "gate       VM bytecode version" in why
    assert "runtime 3.10.0 -> 3.8.0 (1 down)" in why
    model = re.search(r"model=(\S+)", why)[1]
    advice = good("advise", "--model", model, "--runtime", "3.8", *own).out
    assert re.search(r"pin +runtime 3\.8\.0, compiler 3\.8\.0", advice)
    assert re.search(r"^3\.8\.0 +\d+ +1 of 1 +1 of 3", good("candidates", *own).out, re.MULTILINE)
    worse = matrix("diff", "compiler", "3.8.0", "3.10.0", *own)
    assert (worse.status, "worse: 1 cell: passed -> failed at run: vm-bytecode-version" in worse.out) == (1, True)


def pasted_line(text: str) -> str:
    return text.partition("\nreproduce\n")[2].splitlines()[0].strip()


def test_a_choice_of_cells_answers_for_them_alone(done):
    spec, store, printed, _ = done
    only = ["--only", "compiler=3.8.0", "--only", "runtime=3.8.0", "--only", "runtime=3.10.0"]
    chosen = square_of(good("show", spec, "--store", store, "--format", "csv", *only).out)
    places = [("3.8.0", "3.8.0"), ("3.8.0", "3.10.0")]
    assert chosen == {place: square_of(printed)[place] for place in places}


def test_a_wrong_output_names_its_worst_element(tmp_path, store):
    one = RELEASES[-1:]
    spec = write_spec(tmp_path, compilers=one, runtimes=one)
    good("run", spec, "--store", store)
    expected = numpy.load(DATA / "linear_expected.npy")
    spoilt = expected.copy()
    spoilt[2, 1] += 0.5
    numpy.save(tmp_path / "expected1.npy", spoilt)
    ran = good("run", spec, "--store", store, "--format", "csv")
    assert ran.jobs_run == 0  # judging stands outside of the job
    (cell,) = csv.DictReader(io.StringIO(ran.out))
    assert cell["outcome"] == "wrong_output"
    why = good("why", "--preset", spec, "--store", store).out
    assert f"output 0: worst at [2, 1]: {expected[2, 1]}, expected {spoilt[2, 1]}" in why


def test_another_input_of_a_compiled_model_is_run_and_not_found_missing(tmp_path, store):
    """The compile is known, so only the run job brings the new input into the store."""
    one = RELEASES[-1:]
    spec = write_spec(tmp_path, compilers=one, runtimes=one)
    good("run", spec, "--store", store)
    numpy.save(tmp_path / "input.npy", numpy.load(DATA / "linear_input.npy") * 0)
    numpy.save(tmp_path / "expected1.npy", numpy.ones((4, 4), dtype="float32"))
    ran = good("run", spec, "--store", store, "--format", "csv")
    assert ran.jobs_run == 1
    assert [cell[0] for cell in square_of(ran.out).values()] == ["passed"]


def test_why_knows_the_passes_of_other_questions_in_the_store(done):
    spec, store, _, _ = done
    for asked in (
        ["--only", "compiler=3.8.0", "--only", "runtime=3.13.0"],
        ["--compiler", "3.8.0", "--runtime", "3.13.0"],
    ):
        out = good("why", "--preset", spec, "--store", store, *asked).out
        assert "outcome    failed at run" in out
        assert "nearest that pass\n  runtime 3.13.0 -> 3.8.0 (" in out


def test_plan_touches_nothing(done, tmp_path):
    spec, store, _, _ = done
    fresh = good("plan", spec, "--store", tmp_path / "none").out
    assert not (tmp_path / "none").exists()
    assert re.search(r"^cells +9, 0 done$", fresh, re.MULTILINE)
    assert re.search(r"^compile jobs +at most 3, 0 done$", fresh, re.MULTILINE)
    assert re.search(r"^environments +6, 0 ready, 6 to be made$", fresh, re.MULTILINE)
    before = times(store)
    warm = good("plan", spec, "--store", store).out
    good("show", spec, "--store", store)
    good("why", "--preset", spec, "--store", store, "compiler=3.8.0", "runtime=3.8.0")
    assert times(store) == before
    assert re.search(r"^cells +9, 9 done$", warm, re.MULTILINE)
    assert re.search(r"^environments +6, 6 ready, 0 to be made$", warm, re.MULTILINE)


def times(folder: Path) -> dict[str, int]:
    """When each file and folder was last changed. SQLite's own two side files come and go with every reader."""
    names = [path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))]
    return {str(path): path.lstat().st_mtime_ns for path in names if path.is_file() or path != folder}


def test_clean_keeps_what_a_table_needs(tmp_path, shared):
    """Environments are a copy here, as `clean` removes them; they come back from the index or uv's cache."""
    one = RELEASES[-1:]
    store, spec = tmp_path / "store", write_spec(tmp_path, compilers=one, runtimes=one)
    for environment in standing(shared):
        if environment.name.split("-")[1] in one:
            target = store / "environments" / environment.name
            shutil.copytree(environment, target, symlinks=True, copy_function=link_or_copy)
    expected = numpy.load(tmp_path / "expected1.npy")
    numpy.save(tmp_path / "expected1.npy", expected * numpy.float32(1 + 1e-6))  # not byte for byte what is computed
    before = good("run", spec, "--store", store, "--format", "csv").out
    (store / "blobs" / "00").mkdir(exist_ok=True)
    (store / "blobs" / "00" / ("0" * 64)).write_bytes(b"of no result" * 100)
    (store / "environments" / "x.partial-1-").mkdir()
    cleaned = good("clean", "--store", store, "--older-than", "0", "--environments").out
    assert re.search(r"^environments +[1-9]", cleaned, re.MULTILINE)
    assert standing(store) == []
    assert not (store / "blobs" / "00" / ("0" * 64)).exists()
    assert not (store / "environments" / "x.partial-1-").exists()
    assert table(spec, store) == before
    again = good("run", spec, "--store", store, "--format", "csv")
    assert (again.jobs_run, again.out) == (0, before)
    assert standing(store) == []  # nothing was missing, so nothing was made
    runs_two = write_spec(tmp_path / "two", name="two", compilers=one, runtimes=one, variants=2)
    assert good("run", runs_two, "--store", store).jobs_run == 2
    assert len(standing(store)) == 2
    assert table(spec, store) == before


def test_torch_to_table(tmp_path, shared):
    """The whole way, from PyTorch: one export, one compile, one run. Installs torch, so it takes a while when cold."""
    store = new_store(tmp_path / "store", shared)
    only = ["--only", "compiler=3.10.0", "--only", "runtime=3.10.0"]
    ran = good("run", "portability", "--store", store, "--format", "json", *only, timeout=900)
    (cell,) = json.loads(ran.out)["cells"]
    assert (cell["outcome"], cell["stage"], cell["axes"]["model"]) == ("passed", "run", "linear")
    assert cell["evidence"]["comparison"]["error"] < 1e-5
    assert len(cell["evidence"]["jobs"]) == 3
    assert ran.jobs_run == 3
    assert good("run", "portability", "--store", store, *only).jobs_run == 0
    why = good("why", "--store", store, *only).out
    assert "lock         exporter/torch-2.9.1+turbine-3.9.0" in why
