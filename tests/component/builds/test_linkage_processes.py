"""What a C compiler says of a static library's header."""

from __future__ import annotations

import subprocess

import pytest

from matrix.plan.backends.iree.source_builds import HEADER_FILE, QUERY

LINES = """
const iree_hal_executable_library_header_t**
main_dispatch_0_library_query(
iree_hal_executable_library_version_t max_version, const iree_hal_executable_environment_v0_t* environment);
"""
"""Of the header that iree-compile 3.13.0 writes beside a static library."""


@pytest.mark.parametrize("name", ["main_dispatch_0_library_query", "main$async_dispatch_0_library_query", ""])
@pytest.mark.parametrize("before", ["\n", "header_t** "])
def test_the_function_that_a_static_library_exports_is_read_from_its_header(name, before, tmp_path):
    text = LINES.replace("\nmain_dispatch_0_library_query", f"{before}{name}" if name else "\nnothing")
    (tmp_path / HEADER_FILE).write_text(text)
    subprocess.run(["sed", "-n", QUERY, HEADER_FILE], cwd=tmp_path, check=True)
    assert (tmp_path / "query.h").read_text() == (f"#define LIBRARY_QUERY {name}\n" if name else "")
