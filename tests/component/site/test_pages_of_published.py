"""Pages and pictures of published results: `--results` with a built site, in a folder or at an address."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable

from served_folder import serving
from site_checks import API_RUNS, RESULTS, ROOT

from matrix.core.errors import PublishedUnreachable, ResultsFault
from matrix.results.files import machine_files
from matrix.results.published.index import INDEX_PATH

Say = Callable[..., tuple[int, str, str]]


def test_a_picture_of_a_site_is_that_of_its_runs(site, tmp_path, say: Say):
    pictures = [tmp_path / f"{name}.svg" for name in ("files", "folder", "address", "offline", "run")]
    assert say("picture", "-o", pictures[0], *API_RUNS)[0] == 0
    assert say("picture", "-o", pictures[1], "--results", site)[0] == 0
    with serving(site) as (address, asked):
        assert say("picture", "-o", pictures[2], "--results", address)[0] == 0
        assert set(asked) == {f"/{INDEX_PATH}", *(f"/data/{path.name}" for path in API_RUNS)}
        assert say("picture", "-o", pictures[4], "--results", f"{address}/data/portability.json")[0] == 0
    status, _, told = say("picture", "-o", pictures[3], "--results", address)
    assert status == 0 and "this is the answer of the copy" in told
    assert len({path.read_bytes() for path in pictures}) == 1


def test_a_site_of_a_site_is_the_same_with_its_other_machines(tmp_path, say: Say):
    flags = [path for path in (*RESULTS, *machine_files(ROOT / "results")) if path.name == "flags.json"]
    assert len(flags) == 2
    first, second = tmp_path / "first", tmp_path / "second"
    assert say("site", "-o", first, *flags)[0] == 0
    assert say("site", "-o", second, "--results", first)[0] == 0
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert any(".on-" in name for name in names)
    assert sorted(path.relative_to(second).as_posix() for path in second.rglob("*") if path.is_file()) == names
    same, different, lost = filecmp.cmpfiles(first, second, names, shallow=False)
    assert not lost and set(different) <= {"site.json"} and len(same) > 100  # it names the files


def test_a_folder_of_runs_is_published_with_its_other_machines(tmp_path, say: Say):
    for path in (*RESULTS, *machine_files(ROOT / "results")):
        if path.name == "flags.json":
            to = tmp_path / "runs" / path.relative_to(ROOT / "results")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
    assert say("report", "-o", tmp_path / "report.html", "--results", tmp_path / "runs")[0] == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("AMD EPYC")


def test_what_is_no_site_is_refused_and_nothing_is_written(site, tmp_path, say: Say):
    out = tmp_path / "out.svg"
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "none.json"):
        status, _, told = say("picture", "-o", out, "--results", place)
        assert status == ResultsFault.exit_code and str(place) in told and not out.exists()
    with serving(tmp_path / "empty") as (address, _):
        assert say("picture", "-o", out, "--results", address)[0] == PublishedUnreachable.exit_code
    damaged = tmp_path / "site"
    for name in ("api", "data"):
        shutil.copytree(site / name, damaged / name)
    run = damaged / "data" / "portability.json"
    run.write_bytes(run.read_bytes()[:-1] + b" ")
    status, _, told = say("picture", "-o", out, "--results", damaged)
    assert status == ResultsFault.exit_code and "it was changed or cut" in told and not out.exists()
