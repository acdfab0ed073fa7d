"""Bundles put together: the same store in any order, every digest checked, no cell lost."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from answering import left_by
from sharded import SQUARE, ElsewhereEngine, Shards, changed, content_of_store, merge_all, with_manifest

from matrix.core.errors import ShardFault
from matrix.core.records import Job, Outcome
from matrix.run.evidence import judged_cells
from matrix.run.shards.bundles import Bundle
from matrix.run.shards.merging import content_of
from matrix.run.store import Store


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path)


def test_shards_put_together_have_every_cell_and_ran_each_job_once(shards, tmp_path):
    bundles = shards.whole(3)
    assert sorted(job.stage for job in shards.jobs) == ["compile"] * 3 + ["export"] + ["run"] * 9
    with Store(tmp_path / "merged") as store:
        merged = merge_all(store, bundles)
        assert (merged.results, merged.new, merged.findings, merged.damaged, merged.missing) == (13, 13, [], [], [])
        states = shards.replayed(store).states
        assert all(state.result and state.result.outcome is Outcome.PASSED for state in states)
        assert len(judged_cells(shards.plan, states, store).cells) == 9
        assert merge_all(store, bundles).new == 0


def test_in_any_order_the_same_store_comes_of_it(shards, tmp_path):
    bundles = shards.whole(2)
    stores = set()
    for number, order in enumerate(itertools.permutations(bundles)):
        folder = tmp_path / f"merged{number}"
        with Store(folder) as store:
            for bundle in order:
                merge_all(store, [bundle])
        stores.add(content_of_store(folder))
    with Store(tmp_path / "at once") as store:
        merge_all(store, bundles)
    assert stores == {content_of_store(tmp_path / "at once")}


def nondeterministic(machine: str):
    """A compiler that leaves other bytes on every machine."""

    def leaves(job: Job) -> dict[str, bytes]:
        left = left_by(job)
        return {name: content + machine.encode() for name, content in left.items()} if job.stage == "compile" else left

    return leaves


def two_chains(shards: Shards, tmp_path: Path) -> list[Path]:
    """Two machines compile the same, to other bytes, and each runs other cells: seven and two of nine."""
    first = shards.carried("exports", 1, 1, 1)

    def mine(*runtimes: str):
        return lambda label: "runtime=" not in label or any(f"runtime={each}" in label for each in runtimes)

    many = shards.carried("many", 2, 1, 1, before=[first], leaves=nondeterministic("many"), only=mine("2.9.0", "3.0.0"))
    few = shards.carried("few", 2, 1, 1, before=[first], leaves=nondeterministic("few"), only=mine("3.7.0"))
    return [first, many, few]


def test_one_key_with_two_contents_loses_no_cell_and_is_a_finding(shards, tmp_path):
    bundles = two_chains(shards, tmp_path)
    stores = set()
    for number, order in enumerate(itertools.permutations(bundles)):
        with Store(tmp_path / f"merged{number}") as store:
            for bundle in order:
                merged = merge_all(store, [bundle])
            states = shards.replayed(store).states
            assert all(state.result for state in states)
            cells = judged_cells(shards.plan, states, store).cells
            assert not {cell.outcome for cell in cells} & {Outcome.UNTESTED, Outcome.BLOCKED} and len(cells) == 9
        stores.add(content_of_store(tmp_path / f"merged{number}"))
    assert len(stores) == 1
    with Store(tmp_path / "at once") as store:
        merged = merge_all(store, bundles)
        assert content_of_store(tmp_path / "at once") in stores
        assert len(merged.findings) == 3
        assert "2 contents of one key, all kept: passed with module.vmfb" in merged.findings[0].line
        assert [number for _, number in merged.findings[0].contents] == [2, 1]


def test_the_chain_with_most_results_is_the_first(shards, tmp_path):
    bundles = two_chains(shards, tmp_path)
    with Store(tmp_path / "merged") as store, Store(tmp_path / "many", read_only=True) as many:
        merge_all(store, bundles)
        for state in shards.replayed(many, "many").states:
            if state.result and state.result.stage == "compile":
                assert store.result(state.result.key) == state.result
                (other,) = store.alternatives(state.result.key)
                assert other.outputs != state.result.outputs


def test_a_fault_of_a_machine_says_nothing_beside_a_result(shards, tmp_path):
    whole = shards.carried("a", 1, 1, 1)

    def lost(files: dict[str, bytes]) -> None:
        (row,) = map(json.loads, files["results.jsonl"].splitlines())
        row |= {"outcome": "infrastructure", "outputs": [], "finished_at": "2020-01-01T00:00:00Z"}
        rehash(files, "results.jsonl", json.dumps(row, sort_keys=True).encode() + b"\n")

    broken = changed(whole, tmp_path / "lost.zip", lost)
    stores = []
    for number, order in enumerate(([whole, broken], [broken, whole])):
        with Store(tmp_path / f"merged{number}") as store:
            for bundle in order:
                assert merge_all(store, [bundle]).findings == []
            assert shards.replayed(store).states[0].result.outcome is Outcome.PASSED
        stores.append(content_of_store(tmp_path / f"merged{number}"))
    assert stores[0] == stores[1]


def rehash(files: dict[str, bytes], name: str, content: bytes) -> None:
    """Other bytes of a file, with a manifest that fits."""
    import hashlib

    files[name] = content
    head = json.loads(files["manifest.json"])
    head["files"][name] = hashlib.sha256(content).hexdigest()
    files["manifest.json"] = json.dumps(head).encode()


def test_environments_of_other_machines_are_known_by_their_request(shards, tmp_path):
    """`recipe` has the Python's patch release and the C library: on another machine it is another one."""
    bundles = shards.whole(2)
    with Store(tmp_path / "merged") as store:
        assert not any(state.result for state in shards.replayed(store).states)
        merge_all(store, bundles)
        for request in shards.plan.environments():
            assert store.environment(ElsewhereEngine("z").recipe(request)) is None
            assert store.environments_known(request, "z", "another engine") == []
            (known,) = store.environments_known(request, "z", "answering")
            assert known.digest == request.label


# -- bad input


def test_a_poisoned_artifact_is_named_and_all_else_is_merged(shards, tmp_path):
    bundles = shards.whole(1)

    def poison(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.startswith("blobs/"))
        files[name] = bytes(len(files[name]))

    bad = changed(bundles[1], tmp_path / "bad.zip", poison)
    with Store(tmp_path / "merged") as store:
        merged = merge_all(store, [bundles[0], bad])
        (line,) = merged.damaged
        assert line.startswith(f"{bad}: the artifact ") and "expected that sha256: not taken" in line
        found = [state.result for state in shards.replayed(store).states]
        assert 0 < len([each for each in found if each]) < 13
        assert merge_all(store, bundles).damaged == []
        assert all(state.result for state in shards.replayed(store).states)


def test_a_poisoned_artifact_is_taken_from_another_bundle(shards, tmp_path):
    (bundle, _) = shards.whole(1)

    def poison(files: dict[str, bytes]) -> None:
        for name in [name for name in files if name.startswith("blobs/")]:
            files[name] += b"more"

    bad = changed(bundle, tmp_path / "bad.zip", poison)
    with Store(tmp_path / "merged") as store:
        merged = merge_all(store, [bad, bundle])
        assert merged.damaged and all("another bundle has it" in line for line in merged.damaged)
        assert shards.replayed(store).states[0].result


def torn(path: Path, target: Path, size: int) -> Path:
    target.write_bytes(path.read_bytes()[:size])
    return target


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_bundle_is_refused_and_nothing_is_merged(shards, tmp_path, part):
    first, second = shards.whole(1)
    cut = torn(second, tmp_path / "torn.zip", int(second.stat().st_size * part))
    with Store(tmp_path / "merged") as store:
        with pytest.raises(ShardFault, match=r"torn.zip: read a torn file.*expected a bundle") as caught:
            merge_all(store, [first, cut])
        assert "nothing was merged" in str(caught.value) and "copy it again" in caught.value.tip
        assert not list(store.all_records())


def test_shards_of_other_specs_are_refused(shards, tmp_path):
    first, _ = shards.whole(1)
    (tmp_path / "other").mkdir()
    other = Shards(tmp_path / "other", SQUARE.replace('"3.7.0"', '"3.10.0"')).whole(1)[0]
    with (
        Store(tmp_path / "merged") as store,
        pytest.raises(ShardFault, match=r"a shard of small with other models.*expected one of small") as caught,
    ):
        merge_all(store, [first, other])
    assert "one plan at a time" in caught.value.tip


@pytest.mark.parametrize(
    ("fields", "message", "tip"),
    [
        ({"format": 2}, "read a bundle of format 2, expected format 1", "update this project"),
        ({"format": 0}, "read a bundle of format 0, expected format 1", "run its shard again"),
        ({"key_version": 0}, "read keys of version 0", "answers no job of today"),
        ({"shard": 5, "shards": 4}, "a manifest whose fields are others", "copy it again"),
        ({"shard": "1"}, "a manifest whose fields are others", "copy it again"),
        ({"blobs": {"../../x": 1}}, "a manifest whose fields are others", "copy it again"),
        ({"busy": ["1"]}, "a manifest whose fields are others", "copy it again"),
        ({"blobs": []}, "a manifest whose fields are others", "copy it again"),
        ({"more": 1}, "a manifest whose fields are others", "copy it again"),
    ],
)
def test_another_manifest_is_refused(shards, tmp_path, fields, message, tip):
    first, _ = shards.whole(1)
    with pytest.raises(ShardFault, match=message) as caught:
        Bundle(changed(first, tmp_path / "other.zip", with_manifest(**fields)))
    assert tip in caught.value.tip


@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl", "environments.jsonl"])
def test_a_bundle_without_one_of_its_files_is_refused(shards, tmp_path, name):
    first, _ = shards.whole(1)
    with pytest.raises(ShardFault, match=f"a zip without its file .*{name}"):
        Bundle(changed(first, tmp_path / "other.zip", lambda files: files.pop(name)))


@pytest.mark.parametrize(
    "line",
    [b"[]", b"nothing", b"{}", b'{"key": 1}', b"[" * 100_000, b'{"outcome": "passed", "key": "../x"}', b"\xff\xfe"],
)
@pytest.mark.parametrize("name", ["results.jsonl", "environments.jsonl"])
def test_rows_that_are_none_are_refused(shards, tmp_path, line, name):
    first, _ = shards.whole(1)
    bad = changed(first, tmp_path / "other.zip", lambda files: rehash(files, name, line + b"\n"))
    with pytest.raises(ShardFault, match=f"in {name}, expected"):
        Bundle(bad)


def test_rows_that_are_not_the_manifests_are_refused(shards, tmp_path):
    first, _ = shards.whole(1)

    def change(files: dict[str, bytes]) -> None:
        files["results.jsonl"] = b""

    with pytest.raises(ShardFault, match=r"results.jsonl with other bytes than the manifest says"):
        Bundle(changed(first, tmp_path / "other.zip", change))


def test_what_is_no_bundle_is_refused(tmp_path):
    (tmp_path / "text").write_text("no zip")
    for path, message in ((tmp_path / "text", "torn file, or none of this kind"), (tmp_path / "none", "No such file")):
        with pytest.raises(ShardFault, match=message):
            Bundle(path)
    with pytest.raises(ShardFault, match="Is a directory"):
        Bundle(tmp_path)


def test_bundles_with_bytes_changed_anywhere_merge_to_nothing_wrong(shards, tmp_path):
    """A byte of a bundle is another one: it is refused, or what was merged is right."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    first, second = shards.whole(1)
    good = first.read_bytes()
    for number in range(60):
        place = chance.randrange(len(good))
        bad = tmp_path / "bad.zip"
        bad.write_bytes(good[:place] + bytes([good[place] ^ (1 << chance.randrange(8))]) + good[place + 1 :])
        with Store(tmp_path / f"merged{number}") as store:
            try:
                merge_all(store, [bad, second])
            except ShardFault:
                assert not list(store.all_records())
                continue
            for state in shards.replayed(store).states:
                if state.result:
                    assert all(store.whole(artifact.digest) for artifact in state.result.outputs)


def test_missing_shards_are_named(shards, tmp_path):
    bundles = shards.whole(3)  # of the first wave only one shard has a job
    with Store(tmp_path / "merged") as store:
        assert merge_all(store, bundles[:1]).missing == []
        assert merge_all(store, [bundles[0], bundles[4]]).missing == [
            "wave 2 shard 1/3",
            "wave 2 shard 3/3",
        ]
        assert merge_all(store, bundles[3:]).missing == ["wave 1"]


def test_the_content_of_a_result_is_its_outcome_and_what_it_left():
    row = {"outcome": "passed", "outputs": [{"name": "a", "digest": "1"}], "finished_at": "1"}
    assert content_of(row) == content_of({**row, "finished_at": "2"})
    assert content_of(row) != content_of({**row, "outcome": "failed"})
    assert content_of(row) != content_of({**row, "outputs": [{"name": "a", "digest": "2"}]})


def test_an_earlier_result_stays_where_machines_agree(shards, tmp_path):
    bundle = shards.carried("a", 1, 1, 1)
    with Store(tmp_path / "a") as store:
        assert len(list(store.all_records())) == 1
    with Store(tmp_path / "merged") as store:
        merge_all(store, [bundle])
        result = shards.replayed(store).states[0].result
        later = replace(result, finished_at="2999-01-01T00:00:00Z")
        store.record(later)
        merge_all(store, [bundle])
        assert store.result(result.key) == result
