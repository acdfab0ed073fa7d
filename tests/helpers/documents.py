"""What the documents say: their commands, and the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "images").rglob("README.md")),
    *sorted((ROOT / "results").rglob("README.md")),
]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
COMMAND = re.compile(r"(?:python3? -m (?:pip|pytest|matrix)|nox|uvx|nix (?:build|run|shell)) .+")


def fenced(text: str) -> list[str]:
    """The lines of blocks without a language, comments left out."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0] for language, block in blocks if not language for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&")]


def inline(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def commands(text: str) -> set[str]:
    return {found for found in (*fenced(text), *inline(text)) if COMMAND.fullmatch(found)}


ALL_COMMANDS = sorted(set().union(*(commands(text) for name, text in TEXTS.items() if name != "CHANGELOG.md")))
"""Every command of the documents. The changelog tells of the past."""

BY_FORM = {
    r"nox -s matrix -- --model .+image:.+": ("tests/real/test_own_image_real.py", "by the documents' command line"),
    r"nox -s matrix -- --model .+": ("tests/helpers/own_models.py", "OWN_LINES"),
}
"""Commands of a form -> the test that reads them out of the documents and runs them."""
BY_NAME = {
    "nix build .#compiler-3_8_0": ("tests/real/test_flake_real.py", "test_a_build_of_it_runs_a_module"),
    "nix run . -- run portability": ("tests/real/test_flake_real.py", "test_the_matrix_and_a_shell_are_its_apps"),
    "nix run .#shell": ("tests/real/test_flake_real.py", "test_the_matrix_and_a_shell_are_its_apps"),
    "nix shell .#compiler-3_8_0 .#runtime-3_13_0": ("tests/real/test_flake_real.py", '"build", f"path:{flake}'),
    "nox -l": ("tests/real/test_full.py", '"nox", "-l"'),
    "nox -s armv6_smoke": ("tests/real/test_armv6_smoke_full.py", "test_the_smoke_test_finds_what_is_committed"),
    "nox -s armv6_smoke -- --accept": ("tests/unit/builds/test_board_expected.py", '"--accept"'),
    "nox -s bench": ("tests/real/test_full.py", "tests/bench/bench.py"),
    "nox -s docs": ("tests/house/test_documents.py", "make_reference.py"),
    "nox -s faults": ("tests/real/test_faults_real.py", '"nox", "-s", "faults"'),
    "nox -s faults -- --only signals --count 20": ("tests/real/test_faults_real.py", '"--only"'),
    "nox -s faults -- --short": ("tests/real/test_faults_real.py", '"--short"'),
    "nox -s mcu_smoke": ("tests/real/test_firmware_full.py", "test_the_smoke_test_of_the_microcontroller"),
    "nox -s matrix -- cortex-m": ("tests/real/test_firmware_full.py", "test_the_preset_gives_what_is_published"),
    "python -m matrix bundle cortex-m ds_cnn -o FOLDER": ("tests/real/test_firmware_full.py", '"bundle", "cortex-m"'),
    "nox -s images": ("tests/real/test_images_real.py", '"image", "verify"'),
    "nox -s lint": ("noxfile.py", '"tests/house"'),
    "nox -s lock": ("tests/real/test_locks_real.py", "test_a_lock_is_the_same_twice"),
    "nox -s matrix": ("tests/real/test_full.py", '"nox", "-s", "matrix"'),
    "nox -s matrix -- --engine docker": ("tests/real/test_engine_docker.py", "test_both_engines_give_the_same_table"),
    "nox -s matrix -- --engine nix": (
        "tests/real/test_engine_nix.py",
        "test_venv_and_nix_give_the_same_table_and_artifacts",
    ),
    "nox -s matrix -- NAME": ("tests/real/test_portability_real.py", "matrix run portability"),
    "nox -s matrix -- armv6": ("tests/real/test_presets_built_full.py", '"armv6"'),
    "nox -s matrix -- boards": ("tests/real/test_presets_built_full.py", '"boards"'),
    "nox -s matrix -- path/to/spec.toml": ("tests/real/test_portability_real.py", "matrix run {spec}"),
    "nox -s matrix -- sources": ("tests/real/test_presets_built_full.py", '"sources"'),
    "nox -s results -- portability": (".github/workflows/pages.yml", "nox -s results -- portability"),
    "nox -s site": ("tests/real/test_site_real.py", '"nox", "-s", "site"'),
    "nox -s tests": (".ci/run", "nox -s tests"),
    "nox -s tests_full": ("noxfile.py", '"-m", "full"'),
    "python -m matrix armv6-lld FOLDER": ("tests/real/test_armv6_real.py", "linker"),
    "python -m matrix bundle armv6 mobilenet_v2 -o FOLDER": ("tests/real/test_armv6_smoke_full.py", '"bundle"'),
    "python -m matrix bundle armv7 mobilenet_v2 -o FOLDER": ("tests/real/test_presets_built_full.py", '"bundle"'),
    "python -m matrix bundle riscv64 mobilenet_v2 -o FOLDER": ("tests/real/test_presets_built_full.py", '"bundle"'),
    "python -m matrix check requirements.txt": ("tests/unit/answers/test_check.py", '"check"'),
    "python -m matrix diff compiler 3.9.0 3.8.0 --issue --reduce small.mlir": (
        "tests/real/test_diff_again_real.py",
        '"--reduce"',
    ),
    "python -m matrix image build --engine nix": ("tests/real/test_flake_real.py", '"build", "--engine", "nix"'),
    "python -m matrix image verify --engine nix": ("tests/real/test_engine_nix.py", '"verify"'),
    "python -m matrix lock --nix-only": ("tests/real/test_engine_nix.py", "make_table("),
    "python -m matrix blame model=linear compiler=3.13.0": (
        "tests/real/test_blame_real.py",
        '"model=linear", "compiler=',
    ),
    "python -m matrix phases linear --compiler 2.9.0 --compiler 3.13.0 --passes": (
        "tests/real/test_phases_real.py",
        "test_two_releases_are_compared_by_phase_and_by_pass",
    ),
    "python -m matrix phases linear --compiler 3.13.0": (
        "tests/real/test_phases_real.py",
        '"phases", model, *words',
    ),
    "nox -s matrix -- --find-links ./wheels --compiler 3.14.0rc20261120 --runtime 3.13.0 --runtime 3.14.0rc20261120": (
        "tests/real/test_nightlies_real.py",
        '"--find-links", wheels',
    ),
    'nox -s matrix -- --flags default --flags "--iree-opt-level=O3 --iree-llvmcpu-target-cpu=host" --compiler 3.13.0': (
        "tests/unit/cli/test_literal_flags.py",
        '"--iree-opt-level=O2 --iree-llvmcpu-target-cpu=host"',
    ),
    "python -m matrix profile linear --compiler 3.13.0": (
        "tests/real/test_profile_real.py",
        '"profile", "linear", "--compiler", "3.13.0"',
    ),
    "python -m matrix profile linear --compiler 3.8.0 --compiler 3.13.0": (
        "tests/real/test_profile_real.py",
        "test_releases_are_compared_by_operation_on_each_machine",
    ),
    "python -m matrix profile mobilenet_v2 --peers": (
        "tests/real/test_profile_peers_real.py",
        '"profile", "mobilenet_v2", "--peers"',
    ),
    "python -m matrix shards exporters --shards 16 --disk-budget 12 --format github --output shards.yml": (
        "tests/unit/cli/test_sharing.py",
        '"--shards", "16", "--disk-budget", "12"',
    ),
    "python -m matrix shards exporters --shards 16 --format slurm --output shards.sh": (
        "tests/unit/cli/test_sharing.py",
        '["github", "slurm"]',
    ),
    "python -m matrix shards exporters --shards 16": ("tests/unit/cli/test_sharing.py", '"shards", "exporters"'),
    "python -m matrix tune linear --compiler 3.13.0": ("tests/real/test_tune_real.py", '"tune", "linear"'),
    "python -m matrix site -o FOLDER run.json": ("tests/real/test_site_real.py", '"site", "-o"'),
    "python -m pytest tests/component": ("noxfile.py", '"tests/component"'),
    "python -m pytest tests/large": ("noxfile.py", '"tests/large"'),
    'python -m pytest tests/unit -n 2 -m "not full"': ("noxfile.py", '"tests/unit", "-n", "2", "-m", "not full"'),
    "python3 -m pip install -e '.[charts]'": ("noxfile.py", '"-e", ".[charts]"'),
    "python3 -m pip install -e '.[test]'": ("noxfile.py", '"-e", ".[test]"'),
    "python3 -m pip install -e .": ("noxfile.py", '"-e", "."'),
    "python3 -m pip install nox": ("tests/real/test_full.py", '"nox"'),
    "uvx nox -s matrix": ("tests/real/test_full.py", '"nox", "-s", "matrix"'),
    "python -m matrix run portability --target cuda": ("tests/real/test_vulkan_full.py", "is_loaded_and_untested"),
    "python -m matrix run portability --target cuda --engine docker --gpus all": (
        "tests/real/test_docker_gpus_full.py",
        '"all", "all"',
    ),
    "python -m matrix run boards --target armv7 --board pi@two": (
        "tests/unit/run/test_named_board.py",
        '"boards", "--target", "armv7", "--board", "pi@two"',
    ),
    "python -m matrix run vulkan --target vulkan --device GPU-0123": ("tests/real/test_vulkan_full.py", '"--device"'),
    "python -m matrix whatis model.vmfb --check": ("tests/real/test_device_checks_real.py", '"--check"'),
    "python -m matrix run --again crashed --again flaky": ("tests/real/test_signals_real.py", '"--again", "flaky"'),
    "python -m matrix run quick --only compiler=3.13.0 --again": (
        "tests/real/test_signals_real.py",
        '"--only", "compiler=3.10.0", "--again"',
    ),
}
"""Commands that stand for themselves -> a test that does what they do, and words in it."""
RUN = [each for each in ALL_COMMANDS if each.startswith("python -m matrix ") and each not in BY_NAME]
"""Commands that `tests/real/test_portability_real.py` runs as they stand."""
OWN_MODEL = re.findall(r"^```python\n(.*?)^```", TEXTS["docs/models-and-tools.md"], re.MULTILINE | re.DOTALL)[0]
"""The model file that the documents show."""
OWN_LINES = [line for each in ALL_COMMANDS for line in re.findall(r"nox -s matrix -- (--model .+)", each)]
"""Command lines with models of one's own, which the tests of `own_models` run."""
