"""A user's tools are started to be known."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from matrix.core.errors import ToolchainFault
from matrix.environments.user_tools import find_toolchain, install_toolchain, why_unusable

# -- toolchains


def make_tool(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "below", ["", "tools", "bin", "iree/_runtime_libs", "lib/python3.11/site-packages/iree/_runtime_libs"]
)
def test_tools_are_found_where_builds_and_wheels_keep_them(tmp_path, below):
    make_tool(tmp_path / below / "iree-run-module", "exit 0")
    found = find_toolchain("mine", tmp_path, "runtime")
    assert dict(found.tools) == {"iree-run-module": str(Path(below) / "iree-run-module")}
    with pytest.raises(ToolchainFault, match="iree-compile"):
        find_toolchain("mine", tmp_path, "compiler")


def test_a_rebuilt_tool_is_another_toolchain_and_its_place_is_none(tmp_path):
    make_tool(tmp_path / "a" / "iree-run-module", "exit 0")
    make_tool(tmp_path / "b" / "bin" / "iree-run-module", "exit 0")
    first = find_toolchain("mine", tmp_path / "a", "runtime")
    assert find_toolchain("yours", tmp_path / "b", "runtime").digest == first.digest
    make_tool(tmp_path / "a" / "iree-run-module", "exit 1")
    assert find_toolchain("mine", tmp_path / "a", "runtime").digest != first.digest


def test_a_virtual_environment_is_known_by_its_binaries_and_not_by_their_wrappers(tmp_path):
    (tmp_path / "pyvenv.cfg").touch()
    make_tool(tmp_path / "bin" / "iree-run-module", "exec wrapper")
    make_tool(tmp_path / "lib/python3.11/site-packages/iree/_runtime_libs/iree-run-module", "exit 0")
    found = find_toolchain("mine", tmp_path / "bin", "runtime")
    assert "site-packages" in dict(found.tools)["iree-run-module"]


def test_a_library_beside_a_tool_is_part_of_its_content(tmp_path):
    """Real programs: one that loads its library from its own folder, by $ORIGIN."""
    import shutil
    import subprocess

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT TESTED: no C compiler on this machine")
    (tmp_path / "lib.c").write_text("int answer(void) { return NUMBER; }\n")
    (tmp_path / "main.c").write_text("int answer(void);\nint main(void) { return answer(); }\n")

    def build(number: int) -> None:
        library = ["-shared", "-fPIC", f"-DNUMBER={number}", "lib.c", "-o", "tools/libanswer.so"]
        subprocess.run([compiler, *library], cwd=tmp_path, check=True)

    (tmp_path / "tools").mkdir()
    build(0)
    linked = ["main.c", "-Ltools", "-lanswer", "-Wl,-rpath,$ORIGIN", "-o", "tools/iree-run-module"]
    subprocess.run([compiler, *linked], cwd=tmp_path, check=True)
    first = find_toolchain("mine", tmp_path, "runtime")
    build(1)
    assert find_toolchain("mine", tmp_path, "runtime").digest != first.digest


def wheel(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("iree/_runtime_libs/iree-run-module")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, f"#!/bin/sh\n{text}\n")
    return path


def test_a_wheel_is_unpacked_and_a_folder_is_linked(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    of_wheel = find_toolchain("mine", wheel(tmp_path / "x.whl", "exit 0"), "runtime")
    tools = install_toolchain(of_wheel, tmp_path / "one")
    assert why_unusable(tmp_path / "one", tools) == ""
    make_tool(tmp_path / "build" / "iree-run-module", "echo it is broken >&2; exit 3")
    of_folder = find_toolchain("mine", tmp_path / "build", "runtime")
    tools = install_toolchain(of_folder, tmp_path / "two")
    assert (tmp_path / "two" / "tree").is_symlink()
    assert "does not run here: it is broken" in why_unusable(tmp_path / "two", tools)
