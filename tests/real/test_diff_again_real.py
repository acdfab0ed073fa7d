"""`diff --issue --again --reduce` on real releases: both ends measured again, and the module made small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy
import pytest
from command_line import DATA, good, matrix

from matrix.core.keys import sha256

pytestmark = pytest.mark.real

ENDS = ("compiler", "3.10.0", "3.8.0")


@pytest.fixture
def desk(tmp_path) -> Path:
    """A model with an upsampling by factors, which iree-compile 3.8.0 cannot lower and 3.10.0 can."""
    text = (DATA / "upsample.mlir").read_text(encoding="utf-8")
    (tmp_path / "net.mlir").write_text(text, encoding="utf-8")
    numpy.save(tmp_path / "x.npy", numpy.linspace(-1, 1, 32, dtype="float32").reshape(1, 2, 4, 4))
    return tmp_path


def measured(desk: Path, store: Path) -> Path:
    model = ("--model", "net.mlir", "--inputs", "x.npy", "--inputs", "x.npy")
    releases = ("--compiler", "3.8.0", "--compiler", "3.10.0", "--runtime", "3.10.0")
    good("run", *model, *releases, "--format", "json", "--output", "run.json", "--store", store, cwd=desk)
    return desk / "run.json"


def test_the_issue_has_the_operation_that_fails(desk, store):
    run = measured(desk, store)
    words = ("diff", *ENDS, "--results", run, "--issue", "--reduce", "small.mlir", "--budget", "12", "--store", store)
    ran = matrix(*words, cwd=desk)
    assert ran.status == 1, ran.err
    assert "failed to legalize operation 'torch.constant.float'" in ran.out
    assert "Confirmed: measured again, in one run with the one that passes" in ran.out
    small = (desk / "small.mlir").read_text(encoding="utf-8")
    operations = re.findall(r"= (torch[.\w]+)", small)
    assert operations.count("torch.aten.upsample_nearest2d.vec") == 1 and len(operations) == 4
    assert small.strip() in ran.out
    assert int(re.findall(r"bytes: (\d+) parts were compiled", ran.out)[0]) <= 12


@pytest.mark.full
def test_what_no_longer_fails_is_not_accused(desk, store):
    """The results say that 3.8.0 refuses the model, but the file has become one that both compile."""
    run = measured(desk, store)
    before = sha256(desk / "net.mlir")
    text = (desk / "net.mlir").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not re.match(r"\s+%[6-9] =", line)]
    changed = "\n".join(kept).replace("%9", "%5").replace("[1,2,8,8]", "[1,2,4,4]")
    (desk / "net.mlir").write_text(changed, encoding="utf-8")
    assert sha256(desk / "net.mlir") != before
    ran = matrix("diff", *ENDS, "--results", run, "--issue", "--again", "--store", store, cwd=desk)
    said = "nothing to report: measured again in one run, it ends now: failed at run: vm-bytecode-version"
    assert said in ran.out, ran.err  # the runtime is that of the other release
