"""The verbs of the command line: their help, their options, and the modules that carry them out."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping

from matrix import __version__
from matrix.cli import options
from matrix.cli.arguments import answers, bisect, blame, boards, cover, kept, phases, profile, sharing, tune, upkeep
from matrix.core.data import default_store
from matrix.core.text import absolute_folder

VERBS = {
    "plan": "what would run: cells, jobs, environments, download, time; touches nothing",
    "run": "run what is missing and print the table",
    "merge": "put the bundles of shards into the store, in any order: every digest checked, no cell lost",
    "shards": "how a run is dealt to several machines: jobs, environments, disk and time of each shard",
    "work": "carry out a work order: JSON on stdin, a row of JSON on stdout for each thing that happened",
    "show": "print the table of what is in the store, or of a results file",
    "why": "the evidence of one cell, which gate refused since when, the nearest pass, a command that reproduces it",
    "advise": "the newest tested combination that passes, as a requirements file with hashes; it never guesses",
    "whatis": "what a .vmfb or .mlir file is, what it gives away, and which runtimes load it; runs nothing of it",
    "bisect": "since which release a model works or fails, by halving: few jobs, the turn and its evidence",
    "blame": "which dispatch of a cell is wrong: each alone on the inputs of a reference; with a reproducer",
    "profile": "what each dispatch executes, by operation of the model; of two releases: what executes more or fewer",
    "phases": "the CPU time of a compile by phase, and by pass; of two releases: which phase takes longer",
    "tune": "the compile flags that make a model cheaper: sets halved by instructions, the best confirmed by times",
    "candidates": "compiler releases ranked for a team by what was measured, with weights of your choice",
    "compatibility": "which share of pairs of releases passes, and since when every later one does: IREE and others",
    "diff": "what got worse or better, and why: two runs or releases; status 1 only if worse. Or two modules",
    "compare": "two runs as JSON that should be equal: any difference, digests too; exit status 1 if there is one",
    "keep": "keep published runs by date and machine, small: `diff` then compares any two dates",
    "check": "whether pinned releases work together, as measured, and what mends them; exit status 1 if they fail",
    "badge": "an SVG for a README, from the results: which releases pass with a model",
    "report": "one self-contained page for a presentation: squares, islands, charts, tables, sources",
    "picture": "one square as SVG, from the results, for a README or a slide; default: the committed results",
    "site": "static pages from the JSON of runs: squares, releases, errors, evidence; default: the committed results",
    "export": "write one model as MLIR, made in a locked environment; done before, it is only copied",
    "doctor": "what this machine can do, and the boards of a spec, and what to install for the rest",
    "lock": "write the locks again from the index: a new release is a reviewable diff",
    "clean": "free space in the store, never what a shown table needs",
    "armv6-smoke": "from a C compiler to a model on the Raspberry Pi Zero's CPU under qemu; exit status 1 if worse",
    "mcu-smoke": "from a C compiler to models on a microcontroller under qemu; exit status 1 if worse",
    "bundle": "a folder for a real board: runtime, model, and a script that says pass or fail",
    "armv6-lld": "a folder with IREE's linker repaired for 32-bit Arm, for iree-compile",
    "image": "environments as container images or paths of the Nix store: plan, build, list, verify, save, push, …",
}
VERB_MODULES = {
    "answer": ("advise", "badge", "candidates", "check", "compatibility"),
    "bisect": ("bisect",),
    "compiling.phases": ("phases",),
    "export": ("export",),
    "publish": ("keep", "picture", "report", "site", "whatis"),
    "boards.bundle": ("bundle",),
    "boards.firmware": ("mcu-smoke",),
    "boards.smoke": ("armv6-lld", "armv6-smoke"),
    "images": ("image",),
    "profiling.profile": ("profile",),
    "run": ("compare", "plan", "run", "show"),
    "searches.blame": ("blame",),
    "searches.tune": ("tune",),
    "sharing.shards": ("merge", "shards"),
    "triaging.diff": ("diff",),
    "sharing.work": ("work",),
    "upkeep": ("clean", "doctor", "lock"),
    "why": ("why",),
}
"""Module of `matrix.cli` -> its verbs, each a function `do_VERB`. A module is imported when one of its verbs is called,
so a verb imports nothing that it does not use."""


OPTIONS: Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], ...]] = {
    "plan": (options.add_question, cover.add_cover, options.add_means),
    "run": (
        options.add_question,
        cover.add_cover,
        options.add_format,
        options.add_means,
        options.add_again,
        sharing.add_remote,
        sharing.add_remote_check,
        sharing.add_shard,
        sharing.add_executor,
    ),
    "merge": (sharing.add_merge,),
    "shards": (options.add_question, sharing.add_shards),
    "work": (sharing.add_work, sharing.add_remote, options.add_means),
    "show": (options.add_question, cover.add_cover, options.add_format),
    "why": (options.add_question_of_preset, cover.add_cover, options.add_cell),
    "advise": (options.add_advise, options.add_own_run),
    "whatis": (options.add_whatis,),
    "bisect": (options.add_question_of_preset, options.add_means, bisect.add_bisect),
    "blame": (blame.add_blame, options.add_means),
    "profile": (profile.add_profile, options.add_means),
    "phases": (phases.add_phases, options.add_means),
    "tune": (tune.add_tune, options.add_means),
    "candidates": (answers.add_weights, options.add_own_run),
    "compatibility": (answers.add_compatibility, options.add_own_run),
    "diff": (options.add_own_run, answers.add_difference, options.add_means, kept.add_archive),
    "compare": (answers.add_two_runs,),
    "keep": (kept.add_keep,),
    "check": (answers.add_check, options.add_own_run),
    "badge": (options.add_badge, options.add_own_run),
    "report": (options.add_pages("FILE.html"),),
    "picture": (options.add_pages("FILE.svg"),),
    "site": (options.add_pages("FOLDER", "made, or replaced"), kept.add_dates),
    "export": (options.add_means, options.add_export),
    "doctor": (upkeep.add_examined,),
    "lock": (options.add_locking,),
    "clean": (options.add_cleaning,),
    "armv6-smoke": (options.add_means, options.add_sources, boards.add_smoke, options.add_compiler),
    "mcu-smoke": (options.add_means, boards.add_accept, options.add_compiler),
    "bundle": (options.add_means, options.add_sources, options.add_bundle, options.add_compiler),
    "armv6-lld": (boards.add_linker, options.add_compiler),
    "image": (options.add_images,),
}
"""The functions that add the options of each verb, in the order of its help."""


def function_of(verb: str) -> Callable[[argparse.Namespace], int]:
    """The function that carries out a verb; its module is imported when it is called."""
    module = next(module for module, verbs in VERB_MODULES.items() if verb in verbs)

    def call(asked: argparse.Namespace) -> int:
        status: int = getattr(importlib.import_module(f"matrix.cli.{module}"), "do_" + verb.replace("-", "_"))(asked)
        return status

    return call


def make_parser() -> options.Parser:
    parser = options.Parser(prog="python -m matrix", description="Which IREE releases work together, with evidence.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=options.Parser)
    for verb, text in VERBS.items():
        command = verbs.add_parser(verb, help=text, description=text)
        command.set_defaults(command=function_of(verb))
        for add in OPTIONS[verb]:
            add(command)
        command.add_argument(
            "--store",
            type=absolute_folder,
            default=default_store(),
            metavar="FOLDER",
            help="where results are kept",
        )
    return parser
