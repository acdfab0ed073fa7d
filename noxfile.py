"""The sessions of the project. `nox -l` is the manual; each calls the command line, never the package's inside."""

from __future__ import annotations

import itertools

import nox

NOT_ALL_MEASURED = 4
"""The exit status of a run whose table has cells that this machine cannot measure."""

nox.needs_version = ">=2024.4.15"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["matrix"]


@nox.session
def matrix(session: nox.Session) -> None:
    """Run a preset (default: portability) or a .toml and print the table: nox -s matrix -- quick --format markdown."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "matrix", "run", *session.posargs, interrupt_timeout=None)  # Ctrl-C: it stops in order


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, real IREE releases among them: nox -s tests -- tests/unit for the fast ones without a network."""
    session.install("-q", "-e", ".[test]")
    session.env["PYTHONDONTWRITEBYTECODE"] = ""  # off: a thousand processes would each compile the package again
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
        return
    session.run("python", "-m", "pytest", "tests/unit", "-n", "2", "-m", "not full", "--timeout", "60")
    session.run("python", "-m", "pytest", "tests/component", "-m", "exclusive", "--timeout", "60")
    parallel = ("-n", "2", "--dist", "loadfile", "-m", "not full and not exclusive", "--timeout", "600")
    again = ("--reruns", "1", "-rR")  # names what passed only then
    session.run("python", "-m", "pytest", "tests/house", "tests/component", *parallel, *again)
    session.run("python", "-m", "pytest", "tests/large", "tests/real", *parallel, *again)  # they share the built site


@nox.session
def tests_full(session: nox.Session) -> None:
    """The second tier: a fresh clone with empty caches, the bench, and what else takes minutes."""
    session.install("-q", "-e", ".[test]", "nox")
    session.run("python", "-m", "pytest", "tests", "-m", "full", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """The rules of the house: ruff, mypy --strict, the import layers, sizes, names (also part of the tests)."""
    session.install("-q", "-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/house", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write images/locks again from the package index: a new IREE release becomes a reviewable diff."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "matrix", "lock", *session.posargs)


@nox.session
def images(session: nox.Session) -> None:
    """Build the images of a preset (default: portability), then assemble them again and compare every digest."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "matrix", "image", "build", *session.posargs)
    session.run("python", "-m", "matrix", "image", "verify", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The 240 compile and run jobs beside a shell loop and xargs -P2, as ratios; what engines cost a job."""
    session.install("-q", "-e", ".")
    session.run("python", "tests/bench/bench.py", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Faults done to real runs, and what holds after each: nox -s faults -- --only signals --count 20 for a part."""
    session.install("-q", "-e", ".[test]")
    session.run("python", "tests/faults/bed.py", *session.posargs, interrupt_timeout=None)


@nox.session
def results(session: nox.Session) -> None:
    """Run presets (default: portability), write results/NAME.json, .md and the picture: nox -s results -- models."""
    session.install("-q", "-e", ".")
    presets = list(itertools.takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(presets) :]
    for preset in presets or ["portability"]:
        for verb, style, file in (("run", "json", f"{preset}.json"), ("show", "markdown", f"{preset}.md")):
            written = ("--format", style, "--output", f"results/{file}")
            session.run("python", "-m", "matrix", verb, preset, *written, *options, success_codes=[0, NOT_ALL_MEASURED])
        session.run("python", "-m", "matrix", "keep", f"results/{preset}.json")
    picture = ("results/portability.json", "-o", "results/portability.svg")
    session.run("python", "-m", "matrix", "picture", *picture)


@nox.session
def armv6_smoke(session: nox.Session) -> None:
    """From a C compiler to a model on the Raspberry Pi Zero's CPU, under qemu; then how to link for it."""
    session.install("-q", "-e", ".")
    models = ("--model", "conv2d", "--model", "mobilenet_v2")
    session.run("python", "-m", "matrix", "armv6-smoke", *models, *session.posargs, interrupt_timeout=None)


@nox.session
def mcu_smoke(session: nox.Session) -> None:
    """From a C compiler to models on a microcontroller (Cortex-M4) without an operating system, under qemu."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "matrix", "mcu-smoke", *session.posargs, interrupt_timeout=None)


@nox.session
def docs(session: nox.Session) -> None:
    """Write docs/reference.md again from the code: verbs, options, exit statuses."""
    session.install("-q", "-e", ".")
    session.run("python", "docs/make_reference.py")


@nox.session
def site(session: nox.Session) -> None:
    """Build the published site from results/*.json into build/site: open build/site/index.html."""
    session.install("-q", "-e", ".[charts]")
    session.run("python", "-m", "matrix", "site", "-o", "build/site", *session.posargs)


@nox.session
def doctor(session: nox.Session) -> None:
    """What this machine can do, and what to install for the rest."""
    session.install("-q", "-e", ".")
    session.run("python", "-m", "matrix", "doctor", *session.posargs)
