"""The files of a job, as every engine puts them down."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from matrix.engines.contract import link_inputs


@pytest.fixture
def closed_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_inputs_that_cannot_be_linked_are_copied_and_readable_for_the_user_of_the_job(tmp_path, closed_umask):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        blob = Path(elsewhere) / "blob"
        blob.write_bytes(b"given")
        if blob.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("NOT TESTED: /dev/shm is no other disk")
        link_inputs({"name": blob}, tmp_path)
    assert (tmp_path / "name").read_bytes() == b"given"
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o444
