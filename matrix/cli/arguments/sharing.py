"""The options of verbs for runs on several machines."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from matrix.core.text import gigabytes, whole_number
from matrix.run.elsewhere.choice import LOCALLY, TAKES
from matrix.run.shards.dealing import WAVES
from matrix.run.shards.scripts import SCRIPTS


def add_shard(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("shards", "one part of the run on this machine, in place of all of it")
    group.add_argument("--shard", type=shard_number, metavar="I/N", help="the I-th of N parts of a wave")
    waves = tuple(range(1, WAVES + 1))
    text = "1: exports, and what else needs no other job; 2: the rest, with the bundles of wave 1 merged into the store"
    group.add_argument("--wave", type=int, choices=waves, help=text)
    group.add_argument("--bundle", type=Path, metavar="FILE", help="write there what the shard measured, for `merge`")


def add_executor(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("executors", "who carries the jobs out, if not this process")
    text = "command: processes of `work`; dask: workers of Dask; default: %(default)s"
    group.add_argument("--executor", choices=tuple(TAKES), default=LOCALLY, help=text)
    text = "a command that carries orders out, such as `ssh HOST iree-matrix work`; repeatable"
    group.add_argument("--worker", action="append", default=[], metavar="COMMAND", help=text)
    text = "processes on this machine, where no other is named; default: 2"
    group.add_argument("--workers", type=whole_number, metavar="N", help=text)
    text = (
        "Dask's scheduler, such as tls://HOST:8786; without it, --workers on this machine that nothing else can reach"
    )
    group.add_argument("--scheduler", default="", metavar="ADDRESS", help=text)
    text = "take a scheduler without TLS that other machines reach: who reaches it runs code on its workers"
    group.add_argument("--open-scheduler", action="store_true", help=text)


def add_work(command: argparse.ArgumentParser) -> None:
    text = "the order is the first line; a line `stop` lets running jobs finish, and the end of stdin ends all at once"
    command.add_argument("--attended", action="store_true", help=text)


def add_remote(command: argparse.ArgumentParser) -> None:
    places = "a folder, http://HOST/PATH, s3://BUCKET/PATH or sftp://HOST/PATH"
    text = f"a store that machines share: look results up there, and put them there; {places}"
    command.add_argument("--remote", default="", metavar="URL", help=text)


def add_remote_check(command: argparse.ArgumentParser) -> None:
    text = "measure so many of the results found there again, and name those that end otherwise; default: 0"
    command.add_argument("--remote-check", type=percent, default=0, metavar="PERCENT", help=text)


def percent(text: str) -> int:
    """`5`: a whole number up to 100."""
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > 100:
        raise argparse.ArgumentTypeError(f"read {text!r}, expected a whole number from 0 to 100")
    return int(text)


def shard_number(text: str) -> tuple[int, int]:
    """`3/16`: the number of a shard, and of how many."""
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(
            f"read {text!r}, expected one of several shards, such as 3/16: from 1/16 to 16/16"
        )
    return int(found[1]), int(found[2])


def add_merge(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="a file of `run --bundle`")


def add_shards(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shards", type=whole_number, default=4, metavar="N", help="of each wave; default: 4")
    command.add_argument("--disk-budget", type=gigabytes, metavar="GB", help="for environments, on each machine")
    text = "github: a workflow of GitHub Actions; slurm: a script; default: %(default)s"
    command.add_argument("--format", choices=("text", *SCRIPTS), default="text", help=text)
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
