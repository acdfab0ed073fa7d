"""The options of the verbs, and a parser whose errors name the nearest spelling."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from matrix.cli.arguments.results import add_results
from matrix.core.errors import UsageError
from matrix.core.records import DEFAULT_ENGINE
from matrix.core.text import (
    absolute_folder,
    days,
    gigabytes,
    gigabytes_from_none,
    gpus_said,
    in_our_words,
    whole_number,
)
from matrix.core.versions import did_you_mean
from matrix.engines.choice import engine_names, image_engines
from matrix.plan.backends.iree.boards import boards
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.stages import axes, environments, front_end
from matrix.results.formats import FORMATS

PRESET_HELP = "a shipped preset or the path of a spec; default: portability (of bisect: models), for .vmfb files: field"
IMAGE_VERBS = {
    "plan": "environments, image IDs, sizes; touches nothing",
    "build": "fetch, assemble and load what the daemon lacks",
    "list": "the project's images on the daemon",
    "verify": "assemble again from the files and compare every digest",
    "save": "one image as an OCI layout and a `docker load` archive",
    "push": "send images to a registry",
    "sbom": "a CycloneDX bill of materials, from the locks",
    "remove": "remove the project's images by age, never others'",
}
ENGINE_VARIABLE = "IREE_MATRIX_ENGINE"


class Parser(argparse.ArgumentParser):
    """Reports through the error boundary, with the nearest spelling."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {in_our_words(message)}", tip=f"`{self.prog} --help` lists what there is")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """As argparse does it, but the parser of the verb itself reports a word that it does not know."""
        args = self._with_literal(sys.argv[1:] if args is None else args)
        found, strange = super().parse_known_args(args, namespace)
        if strange:
            close = did_you_mean(strange[0], self._option_string_actions)
            self.error(f"read {strange[0]!r}, expected no such word{close}")
        return found, strange

    def _with_literal(self, words: Sequence[str]) -> list[str]:
        """`--flags --name=value` as `--flags=--name=value`: argparse would take the second word for an option."""
        literal = {f"--{name}" for name, axis in axes().items() if axis.literal} & self._option_string_actions.keys()
        joined: list[str] = []
        for word in words:
            name, _, value = word.partition("=")
            option = name in self._option_string_actions
            if option and value == "--":  # argparse would make it a list
                self.error(f"argument {name}: expected one argument")
            if joined and joined[-1] in literal and word.startswith("-") and not option and word != "--":
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise UsageError(
                f"{self.prog}: {name}: read {value!r}, expected one of {', '.join(known)}"
                f"{did_you_mean(str(value), known)}",
                tip=f"`{self.prog} --help` lists what there is",
            )


def add_format(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=tuple(FORMATS), default="table", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")


def add_means(command: argparse.ArgumentParser) -> None:
    """The resources of this machine for a run."""
    command.add_argument(
        "--disk-budget", type=gigabytes, metavar="GB", help="for environments; default: 3/4 of what is free"
    )
    command.add_argument("--gpus", type=gpus_said, metavar="WHICH", help="of --engine docker: all, a number, device=ID")
    command.add_argument("--jobs", type=whole_number, metavar="N", help="jobs at a time; default: the cores")


def add_again(command: argparse.ArgumentParser) -> None:
    text = "measure again what has a result: all of it, or what ended so, such as crashed or flaky; repeatable"
    command.add_argument("--again", nargs="?", const="", action="append", default=[], metavar="OUTCOME", help=text)


def add_cell(command: argparse.ArgumentParser) -> None:
    command.add_argument("cell", nargs="*", metavar="AXIS=VALUE", help="enough of them to name one cell")
    command.add_argument("--log", action="store_true", help="the whole log of its last job, not only an excerpt")
    add_results(command, "default: the store, and the committed results where it has no such cell")


def add_locking(command: argparse.ArgumentParser) -> None:
    part = command.add_mutually_exclusive_group()
    part.add_argument("--wheels-only", action="store_true", help="leave the base images and digests of layers alone")
    part.add_argument(
        "--nix-only", action="store_true", help="only the store paths of Nix, from the layers as they are committed"
    )
    command.add_argument("--upgrade", action="store_true", help="also move the packages beside IREE and torch")


def add_engine(command: argparse.ArgumentParser, what: str = "") -> None:
    command.add_argument(
        "--engine", choices=engine_names(), default=_usual_engine(), help=f"{what}default: %(default)s"
    )


def _usual_engine() -> str:
    """The default, or IREE_MATRIX_ENGINE: the flake's app has Nix and no other Python."""
    read, names = os.environ.get(ENGINE_VARIABLE, "") or DEFAULT_ENGINE, engine_names()
    if read not in names:
        raise UsageError(
            f"{ENGINE_VARIABLE}: read {read!r}, expected one of {', '.join(names)}{did_you_mean(read, names)}",
            tip=f"unset it for the engine {DEFAULT_ENGINE}",
        )
    return read


def add_question(command: argparse.ArgumentParser) -> None:
    command.add_argument("preset", nargs="?", help=PRESET_HELP)
    add_engine(command)
    add_choice(command)


def add_question_of_preset(command: argparse.ArgumentParser) -> None:
    """The same, for verbs whose positional arguments have another meaning."""
    command.add_argument("--preset", help=PRESET_HELP)
    add_engine(command)
    add_choice(command)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("preset", nargs="?", help=PRESET_HELP)
    add_choice(command)


def add_choice(command: argparse.ArgumentParser, *, model: bool = True) -> None:
    """The axes. `model`: and models of one's own, by an option."""
    command.add_argument(
        "--torch-build", choices=("cuda", "cpu"), default="cuda", help="which build of torch to lock onto"
    )
    _add_own(command.add_argument_group("models of your own"), model=model)
    group = command.add_argument_group("axes", "each replaces the axis of the spec; may be repeated")
    for name, axis in axes().items():
        if axis is not MODEL_AXIS:
            path = ", a toolchain's path or image:NAME" if axis.tool else ""
            group.add_argument(f"--{name}", action="append", default=[], metavar="VALUE", help=axis.help + path)
    group.add_argument(
        "--device", action="append", default=[], metavar="NAME", help="of --target cuda, rocm, vulkan; as it is listed"
    )
    for name, metavar, what in (
        ("board", "SSH", "a board that runs the programs of the one target: USER@HOST, as you would give it to `ssh`"),
        ("ssh-config", "FILE", "OpenSSH's configuration for --board; default: yours"),
    ):
        group.add_argument(f"--{name}", default="", metavar=metavar, help=what)
    for name, metavar, what in (
        ("find-links", "PLACE", "a folder, or a page with links, that has wheels of IREE releases without a lock here"),
        ("index", "ADDRESS", "an index of such: nightly builds, release candidates"),
    ):
        group.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=f"{what}; may be repeated")
    command.add_argument(
        "--only", action="append", default=[], metavar="AXIS=SELECTOR", help="cut an axis down; may be repeated"
    )


def _add_own(group: argparse._ArgumentGroup, *, model: bool) -> None:
    forms = "a shipped model, or a .py, .mlir, .onnx, .tflite or .vmfb (a stranger's: with --engine docker); may be "
    forms += "repeated"
    if model:
        group.add_argument("--model", action="append", default=[], help=forms)
    for name, what in (("inputs", "an input"), ("expected", "an expected output")):
        group.add_argument(
            f"--{name}", action="append", default=[], metavar="FILE.npy", help=f"{what}, in order; may be repeated"
        )
    for name, known, what in (
        ("parameters", ("inline", "external"), "where an exported .py keeps its weights; default: inline"),
        ("strict", ("true", "false"), "torch.export's strict mode; default: the exporter's"),
    ):
        group.add_argument(f"--{name}", choices=known, default="", help=what)
    group.add_argument("--function", default="", metavar="NAME", help="the entry point; default: the usual one")
    group.add_argument(
        "--opset-version", type=whole_number, metavar="N", help="raise the opset of an .onnx while importing"
    )


def add_export(command: argparse.ArgumentParser) -> None:
    _add_exporter(command)
    add_engine(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.mlir", help="the file to write")
    command.add_argument("--parameters", type=Path, metavar="FILE.irpa", help="keep the weights there, not in the MLIR")
    command.add_argument("--arrays", action="store_true", help="also write the inputs and expected outputs, beside it")


def _add_exporter(command: argparse.ArgumentParser, *, more: str = "") -> None:
    """What is exported, and with which releases."""
    command.add_argument(
        "model", metavar="MODEL", help="a shipped model, or the path of a .py file with model(), inputs()" + more
    )
    command.add_argument("--python", default="3.11", metavar="VERSION", help="default: %(default)s")
    for axis in environments()[front_end().environment].axes:
        command.add_argument(f"--{axis}", default="", metavar="VERSION", help="default: the newest that is locked")
    command.add_argument("--torch-build", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")


def add_images(image: argparse.ArgumentParser) -> None:
    verbs = image.add_subparsers(dest="subverb", required=True, metavar="SUBVERB", parser_class=Parser)
    made = {name: verbs.add_parser(name, help=text, description=text) for name, text in IMAGE_VERBS.items()}
    made["save"].add_argument("folder", type=Path, metavar="FOLDER", help="made; the archive is FOLDER.tar beside it")
    made["push"].add_argument("repository", metavar="REGISTRY/NAME", help="the tags are the environments' names")
    for name, command in made.items():
        command.set_defaults(machine=platform.machine())
        command.add_argument(
            "--store", type=absolute_folder, default=argparse.SUPPRESS, metavar="FOLDER", help="where files are"
        )
        if name == "list":
            continue
        command.add_argument(
            "--environment", action="append", default=[], metavar="NAME", help="such as compiler/3.8.0; repeatable"
        )
        if name != "remove":
            _add_plan(command)
        if len(engines := [kind.name for kind in image_engines(name)]) > 1:
            command.add_argument("--engine", choices=engines, default=engines[0], help="default: %(default)s")
        if name in ("plan", "verify", "save", "sbom"):
            command.add_argument("--machine", default=platform.machine(), help="default: %(default)s")
    made["verify"].add_argument("--sample", type=whole_number, metavar="N", help="only so many, chosen at random")
    made["verify"].add_argument("--seed", type=int, metavar="S", help="choose the same sample again")
    made["sbom"].add_argument("--output", type=Path, metavar="FILE", help="write there instead of to stdout")
    made["remove"].add_argument("--older-than", type=days, required=True, metavar="DAYS", help="by when they came")


def add_whatis(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="a .vmfb, .mlir or .mlirbc")
    command.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    command.add_argument(
        "--gates", action="store_true", help="FILE is a folder RELEASE/*.vmfb: print the gates.json that it teaches"
    )
    command.add_argument(
        "--check", action="store_true", help="have locked tools check code for devices (SPIR-V, PTX); fetched once"
    )
    add_results(command, "of the observed outcomes; default: the committed ones")


def add_sources(command: argparse.ArgumentParser) -> None:
    """The options of verbs that build from source."""
    command.set_defaults(engine=DEFAULT_ENGINE)  # which builds from source
    command.add_argument(
        "--source", type=Path, metavar="FOLDER", help="an IREE source tree in place of the pinned crate"
    )


def add_compiler(command: argparse.ArgumentParser) -> None:
    command.add_argument("--compiler", default="", metavar="VERSION", help="default: that of the pinned sources")


def add_bundle(command: argparse.ArgumentParser) -> None:
    shown = ", ".join(f"{target}: {each.name}" for target, each in boards().items())
    command.add_argument("target", choices=tuple(boards()), metavar="TARGET", help=shown)
    _add_exporter(command, more=", or a .mlir file as `export --arrays` leaves it")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="made and filled")
    for option, text in (
        ("--toolchain", "what the runtime is built with, of images/armv6/toolchains.toml; default: zig's, static"),
        ("--route", "how the model reaches the CPU: vmvx, embedded, embedded-repaired, system; default: the board's"),
    ):
        command.add_argument(option, default="", metavar="NAME", help=text)


def add_advise(command: argparse.ArgumentParser) -> None:
    _add_wanted(command, "default: the newest that fits")
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE.txt", help="write requirements there; what clashes goes beside it"
    )


def add_badge(command: argparse.ArgumentParser) -> None:
    _add_wanted(command, "default: all, each compiler with the runtime of its release")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.svg", help="the file to write")
    command.add_argument("--instructions", action="store_true", help="how many a call executes, where they are counted")


def _add_wanted(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--model", required=True, help="one that was measured")
    for axis in (axis for axis in axes() if axis != MODEL_AXIS.name):
        command.add_argument(
            f"--{axis}", metavar="VALUE", help=f"a release, a minor one, a specifier, a name; {default}"
        )
    add_results(command, "default: the committed ones")


def add_own_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--preset", help="what the store has of a preset or spec, in place of the committed runs")
    command.add_argument(
        "--engine", choices=engine_names(), default=_usual_engine(), help="of that run; default: %(default)s"
    )


def add_pages(metavar: str, text: str = "the file to write") -> Callable[[argparse.ArgumentParser], None]:
    """The options of verbs that show runs: the runs, and the output file."""

    def add(command: argparse.ArgumentParser) -> None:
        command.add_argument("-o", "--output", type=Path, required=True, metavar=metavar, help=text)
        command.add_argument(
            "files",
            nargs="*",
            type=Path,
            metavar="RESULTS.json",
            help="of `show --format json`; default: results/*.json",
        )
        add_results(command, "beside the files")

    return add


def add_cleaning(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--older-than", type=days, default=30.0, metavar="DAYS", help="results that no table shows; default: 30"
    )
    command.add_argument(
        "--max-size", type=gigabytes_from_none, metavar="GB", help="remove environments until the store is smaller"
    )
    command.add_argument("--environments", action="store_true", help="remove all environments; a run makes them again")
