"""An engine is one record: the command line offers and uses one that no code knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from answering import AnsweringEngine
from samples import result

from matrix.cli.main import main
from matrix.core import processes
from matrix.core.data import data_root
from matrix.core.disk import store_places
from matrix.core.errors import EngineMissing, StoreUnusable
from matrix.core.processes import Completed
from matrix.core.records import DEFAULT_ENGINE, Environment, EnvironmentRequest, Lock, Platform, Toolchain
from matrix.engines import choice
from matrix.engines.kind import EngineKind, Feature, Finding, ManualRepeat, features_of

RUNTIME = Lock(name="runtime/3.8.0", path=Path("x"), digest="d", pins=())
EMULATED = Platform(machine="aarch64", emulator=("qemu",))
SPEC = """
format = 1
name = "mine"
question = "Does it work?"
[axes]
model = "given"
compiler = "3.8.0"
runtime = "3.8.0"
[models.given]
mlir = "linear.mlir"
inputs = ["linear_input.npy"]
expected = ["linear_expected.npy"]
"""


@pytest.fixture
def fourth(monkeypatch, tmp_path):
    """The record of an engine that answers jobs itself, and the engines that were made of it."""
    made: list[AnsweringEngine] = []

    def make(setting):
        made.append(AnsweringEngine(tmp_path / f"work-{len(made)}", setting.on_event))
        return made[-1]

    kind = EngineKind(
        name="answering",
        title="Answering",
        make=make,
        shell_line=lambda job: f"answer {' '.join(job.job.command[:1])} in {job.environment.digest}",
        takes=frozenset({Feature.EMULATION}),
        preferred=lambda: True,
        examine=lambda: Finding(name="Answering", state="ok", found="it answers"),
        clean=lambda cleaning: {"answers": 7_000_000},
        image_verbs=frozenset({"plan"}),
        image=lambda verb, work: print(verb, [row.request.label for row in work.choose(["runtime/3.8.0"])]) or 0,
    )
    monkeypatch.setattr(choice, "ENGINE_KINDS", (kind, *choice.ENGINE_KINDS))
    monkeypatch.setattr("matrix.cli.upkeep.ENGINE_KINDS", (kind,))
    return made


@pytest.fixture
def words(tmp_path):
    data = Path(__file__).parents[2] / "data"
    for name in ("linear.mlir", "linear_input.npy", "linear_expected.npy"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    (tmp_path / "mine.toml").write_text(SPEC)
    return (str(tmp_path / "mine.toml"), "--engine", "answering", "--store", str(tmp_path / "store"))


def test_the_command_line_offers_and_uses_it(fourth, words, tmp_path, capsys):
    assert main(["plan", *words]) == 0
    assert main(["run", *words, "--format", "csv"]) == 0
    out = capsys.readouterr()
    assert "2 jobs run, 0 reused" in out.err
    assert [job.stage for engine in fourth for job, _ in engine.started] == ["compile", "run", "run"], (
        "the run's output is no array: that is seen twice before it counts"
    )
    assert main(["run", *words, "--format", "csv"]) == 0
    assert "0 jobs run, 2 reused" in capsys.readouterr().err
    cell = ["--preset", words[0], *words[1:]]
    assert main(["why", *cell]) == 0
    said = capsys.readouterr().out
    assert "engine answering" in said
    assert main(["show", *words, "--format", "json"]) == 0
    assert '"engine": "answering"' in capsys.readouterr().out


def test_it_is_named_where_engines_are_named(fourth, capsys, tmp_path):
    assert choice.engine_names() == ("answering", DEFAULT_ENGINE, "docker", "nix", "auto")
    assert choice.engine_kind("auto").name == "answering"
    assert main(["run", "--engine", "nothing"]) == 2
    assert "expected one of answering, " in capsys.readouterr().err
    assert main(["image", "plan", "portability", "--engine", "answering", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("plan ['runtime/3.8.0 on Python")


def test_doctor_and_clean_ask_it(fourth, monkeypatch, capsys, tmp_path, words):
    main(["run", *words])
    monkeypatch.setattr(
        processes, "run", lambda argv, **_: Completed(argv=("x",), exit_code=127, stdout="", stderr="", seconds=0.0)
    )
    assert main(["doctor"]) == 0
    assert main(["clean", *words[3:]]) == 0
    out = capsys.readouterr().out
    assert "it answers" in out
    assert "answers    7.0 MB" in out


def request_of(**what) -> EnvironmentRequest:
    return EnvironmentRequest(kind="runtime", python="3.11", **{"lock": RUNTIME, **what})


@pytest.mark.parametrize(
    ("request_", "feature"),
    [
        (request_of(platform=EMULATED), Feature.EMULATION),
        (request_of(built=True), Feature.BUILDS),
        (request_of(linked=True), Feature.BUILDS),
        (request_of(driver="lavapipe"), Feature.DRIVERS),
        (request_of(toolchain=Toolchain(name="mine", path=Path("x"), digest="d")), Feature.FOLDERS),
        (request_of(toolchain=Toolchain(name="mine", path=Path("x"), digest="d", in_image=True)), Feature.IMAGES),
        (request_of(lock=Lock(name="own", path=Path("x"), digest="", pins=(), extends=RUNTIME)), Feature.PACKAGES),
    ],
)
def test_what_an_engine_does_not_take_names_those_that_do(request_, feature):
    assert features_of(request_) == (feature,)
    for kind in choice.ENGINE_KINDS:
        if feature in kind.takes:
            choice.refuse(request_, kind.name)
            continue
        with pytest.raises(EngineMissing, match=f"the engine {kind.name} takes no {feature}") as refused:
            choice.refuse(request_, kind.name)
        for other in choice.ENGINE_KINDS:
            assert (f"--engine {other.name} " in refused.value.tip) == (feature in other.takes)


def made_by_hand(stage: str, command: tuple[str, ...], *, root: str, script: str = "", **evidence: str) -> ManualRepeat:
    environment = Environment(
        request_label="x",
        engine="",
        digest="d" * 64,
        root=Path(root),
        python_version="3.11",
        c_library="glibc",
        tools={"iree-compile": "bin/iree-compile"},
        distributions=(),
        evidence=tuple(evidence.items()),
    )
    return ManualRepeat(
        job=replace(result(stage), command=command),
        request=request_of(),
        environment=environment,
        files={} if script else {"module.mlir": Path("/s/m1")},
        script=script,
        model="/me/my model.py" if script else "",
    )


COMPILE = ("compile", ("iree-compile", "module.mlir"))
EXPORT = ("export", ("export.py", "model_digest=d1", "strict=true"))
FOLDER = 'cd "$(mktemp -d)" && '
SCRIPTS = str(data_root() / "scripts")


@pytest.mark.parametrize(
    ("engine", "root", "compiled", "exported"),
    [
        (
            "venv",
            "/e",
            f"{FOLDER}ln -s /s/m1 module.mlir && /e/bin/iree-compile module.mlir",
            f"{FOLDER}/e/bin/python {SCRIPTS}/export.py '/me/my model.py' strict=true",
        ),
        (
            "nix",
            "/opt/env",
            f"{FOLDER}ln -s /s/m1 module.mlir && /nix/p/bin/iree-compile module.mlir",
            f"{FOLDER}/nix/p/bin/python {SCRIPTS}/export.py '/me/my model.py' strict=true",
        ),
        (
            "docker",
            "/opt/env",
            "d=$(mktemp -d) && cp /s/m1 $d/module.mlir && docker run --rm --init --network none -v $d:/out -w /out "
            f"sha256:{'d' * 64} /opt/env/bin/iree-compile module.mlir",
            "d=$(mktemp -d) && cp '/me/my model.py' $d/'my model.py' && docker run --rm "
            f"-v {SCRIPTS}:/scripts:ro --init --network none -v $d:/out -w /out sha256:{'d' * 64} "
            "/opt/env/bin/python /scripts/export.py 'my model.py' strict=true",
        ),
    ],
)
def test_a_job_is_shown_as_a_line_that_repeats_it(engine, root, compiled, exported):
    show = choice.engine_kind(engine).shell_line
    assert show(made_by_hand(*COMPILE, root=root, nix_programs="/nix/p" if engine == "nix" else "")) == compiled
    made = made_by_hand(*EXPORT, root=root, script="export.py", nix_programs="/nix/p" if engine == "nix" else "")
    assert show(made) == exported


@pytest.mark.parametrize("name", ["a store", "store$HOME", "it's", "a;b", "(1)"])
def test_a_store_whose_path_a_shell_would_change_is_refused_before_a_compile_fails(tmp_path, name):
    """iree-compile starts its linker through a shell, unquoted: each compile would be red."""
    make = choice.engine_maker(DEFAULT_ENGINE, store_places(tmp_path / name), cores=1)
    with pytest.raises(StoreUnusable) as caught:
        make(lambda _: None)
    assert "iree-compile hands paths to a shell unquoted" in str(caught.value)
    assert "--store" in caught.value.tip and "--engine docker" in caught.value.tip
    choice.lookup_engine(DEFAULT_ENGINE, store_places(tmp_path / name)).close()


def test_letters_of_any_language_are_no_trouble(tmp_path):
    choice.engine_maker(DEFAULT_ENGINE, store_places(tmp_path / "Überprüfung-測試_1.0"), cores=1)(
        lambda _: None
    ).close()
