"""The static API of a built site: every document fits the published schema, leads only to files that are there, and
says what the committed results say."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from site_checks import API_RUNS as RUNS

from matrix.core.keys import sha256
from matrix.results.files import read_run
from matrix.results.published.index import API_FOLDER, INDEX_PATH

LEADING = ("path", "page", "run", "schema", "pair", "pairs", "evidence")
"""Keys whose texts are paths below the root of the site."""


@pytest.fixture(scope="module")
def documents(site) -> dict[str, dict[str, Any]]:
    """Path below the site -> document, without the schema."""
    found = sorted((site / API_FOLDER).rglob("*.json"))
    read = {path.relative_to(site).as_posix(): json.loads(path.read_text(encoding="utf-8")) for path in found}
    return {path: document for path, document in read.items() if not path.endswith("/schema.json")}


def closed(schema: Any) -> Any:
    """The schema as it is on the day of a test: no record has a key that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if "properties" in schema else {}
        return {name: closed(each) for name, each in schema.items()} | more
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def schema_of(site: Path) -> dict[str, Any]:
    return json.loads((site / API_FOLDER / "schema.json").read_text(encoding="utf-8"))


def test_every_document_fits_the_schema_which_names_every_key(site, documents):
    schema = schema_of(site)
    Draft202012Validator.check_schema(schema)
    kinds = {document["kind"] for document in documents.values()}
    assert kinds == {"index", "pair", "release", "signature", "recommendation"} and len(documents) > 30
    strict = closed(schema)
    for path, document in documents.items():
        of_kind = {**strict, "oneOf": [{"$ref": f"#/$defs/{document['kind']}"}]}
        faults = [
            f"{path} {each.json_path}: {each.message:.200}"
            for each in Draft202012Validator(of_kind).iter_errors(document)
        ]
        assert faults == []
    whole = Draft202012Validator(schema)
    assert all(whole.is_valid(documents[path]) for path in [INDEX_PATH, *list(documents)[::40]])


def test_the_schema_refuses_what_is_none_of_its_documents(site, documents):
    whole = Draft202012Validator(schema_of(site))
    changes = {"api": 2, "kind": "square", "runs": [], "pairs": {}}
    assert not whole.is_valid({}) and not whole.is_valid([])
    for key, value in changes.items():
        changed = {**documents[INDEX_PATH], key: value}
        assert whole.is_valid(changed) is (key == "runs"), key
    outside = copy.deepcopy(documents[INDEX_PATH])
    outside["runs"][0]["path"] = "../results.json"
    assert not whole.is_valid(outside)


def test_every_path_leads_to_a_file(site, documents):
    named = {path for document in documents.values() for path in paths_in(document)}
    assert len(named) > 100
    assert sorted(path for path in named if not (site / path).is_file()) == []
    page = (site / "data.html").read_text(encoding="utf-8")
    assert f'href="{INDEX_PATH}"' in page and f'href="{API_FOLDER}/schema.json"' in page


def paths_in(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from paths_in(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from paths_in(each, key)
    elif isinstance(value, str) and key in LEADING:
        yield value.partition("#")[0]


def test_the_index_names_every_document(documents):
    index = documents[INDEX_PATH]
    named = {each["path"] for name in ("pairs", "releases", "signatures", "recommendations") for each in index[name]}
    assert named == documents.keys() - {INDEX_PATH}
    published = {run["path"]: (run["name"], run["sha256"], run["bytes"]) for run in index["runs"]}
    files = {f"data/{path.name}": (path.name, sha256(path), path.stat().st_size) for path in RUNS}
    assert published == files and not any(run["other_machine"] for run in index["runs"])


def test_the_pairs_have_every_cell_of_the_runs(documents):
    """A square that another one repeats has no document of its own."""
    told = {cell for pair in documents.values() if pair["kind"] == "pair" for cell in cells_in(pair)}
    runs = [read_run(path) for path in RUNS]
    cells = {(frozenset(cell.axes.items()), str(cell.outcome), cell.signature) for run in runs for cell in run.cells}
    assert cells == told and len(cells) > 300


def cells_in(pair: dict[str, Any]) -> Iterator[tuple[frozenset[tuple[str, str]], str, str]]:
    """Labels, outcome and signature of each cell."""
    for row, places in zip(pair["rows"]["values"], pair["cells"], strict=True):
        for column, place in zip(pair["columns"]["values"], places, strict=True):
            if place is not None:
                axes = {**pair["others"], pair["rows"]["axis"]: row, pair["columns"]["axis"]: column}
                axes |= {axis: axes[other] for axis, other in pair["ties"].items()}
                ended = pair["outcomes"][place]
                yield frozenset(axes.items()), ended["outcome"], ended["signature"]


def test_a_release_an_error_and_a_recommendation_say_what_was_measured(documents):
    release = documents[f"{API_FOLDER}/releases/iree-3.12.0.json"]
    llama = [each for each in release["costs"]["changes"] if each["axes"].get("model") == "llama_2l"]
    latency = next(each for each in llama if each["measure"] == "latency")
    assert latency["verdict"] == "faster" and latency["before"] > 20 * latency["after"] > 0
    error = documents[f"{API_FOLDER}/signatures/vm-features.json"]
    assert error["cells"] == sum(each["cells"] for each in error["messages"]) > 10
    pinned = documents[f"{API_FOLDER}/recommendations/linear-x86_64-3.11.json"]
    assert pinned["passes"] and re.fullmatch(r"3\.\d+\.\d", pinned["pins"]["compiler"]) and pinned["requirements"]
