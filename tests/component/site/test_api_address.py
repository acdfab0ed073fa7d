"""`--results` with an address, of a real server on the loopback: the answers of the folder behind it, from the store's
copy where the server is gone, and a clear refusal of everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from served_folder import serving

from matrix.core.errors import PublishedUnreachable, ResultsFault, UsageError
from matrix.core.keys import sha256
from matrix.results.published.index import INDEX_PATH

WHY = ("why", "compiler=3.8.0", "runtime=3.11.0")
ADVISE = ("advise", "--model", "llama_2l", "--python", "3.11", "--target", "x86_64")
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def published(site, tmp_path) -> Path:
    """A copy of the built site, to be changed."""
    for name in ("api", "data"):
        shutil.copytree(site / name, tmp_path / "site" / name)
    return tmp_path / "site"


def test_an_address_answers_as_its_folder_and_offline_from_the_copy(published, tmp_path, say):
    pins = tmp_path / "pins.txt"
    pins.write_text("iree-base-compiler==3.9.0\niree-base-runtime==3.11.0\n", encoding="utf-8")
    questions = [WHY, ADVISE, ("check", str(pins), "--target", "x86_64")]
    expected = [say(*question, "--results", published) for question in questions]
    with serving(published) as (address, asked):
        assert [say(*question, "--results", address) for question in questions] == expected
        assert asked.count("/data/portability.json") == 1 and asked.count(f"/{INDEX_PATH}") == 3
        for place in (f"{address}/", f"{address}/index.html", f"{address}/api/v1/", f"{address}/{INDEX_PATH}"):
            assert say(*WHY, "--results", place) == expected[0]
        run = say(*WHY, "--results", f"{address}/data/portability.json")
    assert run == expected[0]
    for question, (status, out, _) in zip(questions, expected, strict=True):
        offline = say(*question, "--results", address)
        assert offline[:2] == (status, out)
        assert offline[2].startswith(f"NOTE {address}/{INDEX_PATH}: the server does not answer (ConnectionError)")
        assert "this is the answer of the copy of 20" in offline[2]
    assert say(*WHY, "--results", f"{address}/data/portability.json")[:2] == expected[0][:2]


def test_an_error_of_the_server_is_answered_from_the_copy_but_not_its_no(published, say):
    with serving(published) as (address, _):
        expected = say(*WHY, "--results", address)
    port = int(address.rpartition(":")[2])
    for status in (500, 503, 429):
        with serving(published, port=port, status=status):
            found = say(*WHY, "--results", address)
        assert (
            found[:2] == expected[:2]
            and f"NOTE {address}/{INDEX_PATH}: the server answers with status {status}" in found[2]
        )
    with serving(published, port=port, cut=True):
        found = say(*WHY, "--results", address)
    assert found[:2] == expected[:2] and "the server does not answer (ChunkedEncodingError)" in found[2]
    with serving(published, port=port, status=404):
        found = say(*WHY, "--results", address)
    assert found[0] == PublishedUnreachable.exit_code and "status 404, expected 200 and a file" in found[2]


def test_a_newer_site_replaces_the_copy_and_damaged_copies_are_not_used(published, tmp_path, say):
    kept = tmp_path / "store" / "published" / "files"
    with serving(published) as (address, asked):
        expected = say(*WHY, "--results", address)
        before = {path.name for path in kept.iterdir()}
        index = json.loads((published / INDEX_PATH).read_text(encoding="utf-8"))
        index["runs"] = [run for run in index["runs"] if run["name"] == "portability.json"]
        (published / INDEX_PATH).write_text(json.dumps(index), encoding="utf-8")
        assert say(*WHY, "--results", address) == expected
        after = {path.name for path in kept.iterdir()}
        assert after == {sha256(published / INDEX_PATH), index["runs"][0]["sha256"]} and len(before) == 4
        (kept.parent / "torn.json").write_text('{"format": 1, ', encoding="utf-8")
        damaged = kept / index["runs"][0]["sha256"]
        damaged.chmod(0o644)
        damaged.write_bytes(b"{}")
        assert say(*WHY, "--results", address) == expected and asked.count("/data/portability.json") == 2
    damaged.write_bytes(b"{}")
    found = say(*WHY, "--results", address)
    assert found[0] == PublishedUnreachable.exit_code and "ERROR" in found[2] and "TIP" in found[2]


@pytest.mark.parametrize(("status", "tip"), [(404, "address of a built site"), (500, "address of a built site")])
def test_what_the_server_refuses_is_said_with_its_status(published, say, status, tip):
    with serving(published, status=status) as (address, _):
        found = say(*ADVISE, "--results", address)
    assert found[:2] == (PublishedUnreachable.exit_code, "")
    assert (
        f"{address}/{INDEX_PATH}: the server answers with status {status}, expected 200" in found[2] and tip in found[2]
    )


def test_an_address_without_a_server_or_a_copy(say):
    with serving(Path()) as (address, _):
        pass
    found = say(*WHY, "--results", address.replace("//", "//me:secret@"))
    assert found[0] == PublishedUnreachable.exit_code and "secret" not in found[2]
    assert f"{address}/{INDEX_PATH}: the server does not answer (ConnectionError)" in found[2] and "TIP" in found[2]


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/site", "http://", "http://[::1", "file:///etc", "http://h:99999/"])
def test_what_is_no_address_is_refused(say, place):
    status, out, err = say(*WHY, "--results", place)
    assert (status, out) == (UsageError.exit_code, "") and "--results: read " in err and "http(s)://HOST" in err


def test_what_is_no_site_is_refused_and_not_kept(published, tmp_path, say):
    index = published / INDEX_PATH
    whole = index.read_text(encoding="utf-8")
    texts = {
        "<!doctype html><title>Sign in": "not an index of results: line 1: read '<!doctype html>",
        whole[:-200]: "not an index of results: line 1: read ",
        whole.replace('"api":1', '"api":2', 1): "read version 2 of the API, expected 1",
        whole.replace('"data/portability.json","sha256":"', '"data/models.json","sha256":"', 1): "models.json: read ",
    }
    with serving(published) as (address, _):
        for text, expected in texts.items():
            index.write_text(text, encoding="utf-8")
            status, out, err = say(*WHY, "--results", address)
            assert (status, out) == (ResultsFault.exit_code, "") and expected in err and address in err and "TIP" in err
    assert not (tmp_path / "store" / "published").exists()


def test_an_address_is_answered_where_nothing_can_be_kept(published, tmp_path, say):
    (tmp_path / "store").write_text("no folder")
    with serving(published) as (address, _):
        status, out, err = say(*WHY, "--results", address)
    assert status == 0 and out.startswith("of portability.json") and f"NOTE {address}: no copy is kept" in err
