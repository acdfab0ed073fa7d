"""Files that carry out a run in shards elsewhere: a workflow of GitHub Actions, a script for Slurm. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

from matrix.core.data import DATA
from matrix.core.errors import ShardFault
from matrix.plan.graph import Plan
from matrix.run.shards.dealing import busy_shards, deal

SCRIPTS: Mapping[str, str] = {"github": "github.yml", "slurm": "slurm.sh"}
"""The kinds of files that can be made, and their templates in `matrix/data/sharing`."""
MOST_JOBS = {"github": 256}
"""How many jobs a wave may have: https://docs.github.com/en/actions/reference/limits"""


def script_text(kind: str, plan: Plan, shards: int, words: Sequence[str], *, budget: int | None = None) -> str:
    """The file for a plan that is dealt to so many shards. `words` name the question again; `budget` is the disk of a
    machine for environments, in bytes. Raises ShardFault."""
    waves = deal(plan, shards)
    for wave in waves:
        if (count := len(busy_shards(wave))) > MOST_JOBS.get(kind, shards):
            raise ShardFault(
                f"--shards {shards}: read {count} shards of one wave, expected at most {MOST_JOBS[kind]} for {kind}",
                tip=f"give --shards {MOST_JOBS[kind]} or fewer",
            )
    for word in words:
        if "\n" in word or "${{" in word:
            raise ShardFault(
                f"shards --format {kind}: read the word {word!r}, expected words of one line without a ${{{{",
                tip="put what it says into a spec, and name that",
            )
    numbers = [busy_shards(wave) or [1] for wave in waves]  # the bundle of a wave without jobs is there, too
    listed = [json.dumps(each) if kind == "github" else ",".join(map(str, each)) for each in numbers]
    values = {
        "@WORDS@": shlex.join(words),
        "@NAME@": re.sub(r"[^\w.-]", "-", plan.spec.name),
        "@SHARDS@": str(shards),
        "@WAVE_1@": listed[0],
        "@WAVE_2@": listed[1],
        "@MEANS@": f" --disk-budget {budget / 1e9:g}" if budget else "",
    }
    text = (DATA / "sharing" / SCRIPTS[kind]).read_text(encoding="utf-8")
    return re.sub("|".join(values), lambda found: values[found[0]], text)
