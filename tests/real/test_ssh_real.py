"""A target that is a board over SSH: a real server of an ordinary user on loopback, and real IREE releases."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from command_line import good, matrix, new_store, write_spec
from sshd_here import free_port, ssh_server

pytestmark = pytest.mark.real

TARGETS = """
[targets.desk]
ssh = "zero"
ssh_config = "{config}"
machine = "x86_64"
cpu = "x86-64-v3"

[targets.other]
ssh = "zero"
ssh_config = "{config}"
triple = "aarch64-linux-gnu"
cpu = "generic"

[targets.gone]
ssh = "zero"
ssh_config = "{nobody}"
machine = "x86_64"
cpu = "x86-64-v3"
"""


def test_a_cell_on_a_board(shared: Path, tmp_path: Path) -> None:
    """It passes with the outputs that came back. What the board says of itself stands beside it, and no host name. A
    board of another machine and one that is not there leave cells untested, each with its reason."""
    store = new_store(tmp_path / "store", shared)
    spec = write_spec(tmp_path / "spec", name="boards", compilers=["3.13.0"], runtimes=["3.13.0"])
    with ssh_server() as server:
        nobody = tmp_path / "nobody"
        nobody.write_text(server.config.read_text().replace(f"Port {server.port}", f"Port {free_port()}"))
        more = TARGETS.format(config=server.config, nobody=nobody)
        axis = '[axes]\ntarget = ["desk", "other", "gone"]'
        spec.write_text(spec.read_text().replace("[axes]", axis) + more)
        ran = matrix("run", spec, "--store", store, "--format", "json")
        assert not server.left
        again = matrix("run", spec, "--store", store, "--format", "json")
        why = good("why", "--preset", spec, "target=desk", "--store", store).out
        line = next(each.strip() for each in why.splitlines() if each.strip().startswith("cd ") and " ssh " in each)
        by_hand = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert by_hand.returncode == 0 and "EXEC @main" in by_hand.stdout + by_hand.stderr, by_hand
        assert not server.left
    document = json.loads(ran.out)
    cells = {cell["axes"]["target"]: cell for cell in document["cells"]}
    assert [cells[name]["outcome"] for name in ("desk", "other", "gone")] == ["passed", "untested", "untested"], ran.err
    assert cells["desk"]["evidence"]["comparison"]["error"] == 0
    assert "the board of target other: it is x86_64, and the target's programs are for aarch64" in ran.out
    assert "the board of target gone: nothing listens for SSH there" in ran.out
    job = document["jobs"][cells["desk"]["evidence"]["jobs"][-1]]
    board = document["environments"][job["environment"]]["board"]
    assert ", Linux " in job["machine"] and board["class"] == job["machine"] and board["kernel"]
    assert '"zero"' not in ran.out and "127.0.0.1" not in ran.out
    assert (ran.status, again.status) == (4, 4)
    assert again.jobs_run == 0
    shown = good("show", spec, "--store", store, "--only", "target=desk", "--format", "json").out  # the server is gone
    assert json.loads(shown)["cells"][0]["outcome"] == "passed"


def test_a_board_named_on_the_command_line(shared: Path, tmp_path: Path) -> None:
    """It runs what the spec asks of this machine, under the target's name of its own; the line that repeats a cell has
    no name of a host. One that is not there is told."""
    store = new_store(tmp_path / "store", shared)
    spec = write_spec(tmp_path / "spec", name="named", compilers=["3.13.0"], runtimes=["3.13.0"])
    with ssh_server() as server:
        (nobody := tmp_path / "nobody").write_text(server.client(free_port()).read_text())
        words = ("--board", "zero", "--ssh-config", server.config)
        ran = good("run", spec, *words, "--store", store, "--format", "json")
        assert not server.left
        shown = good("show", spec, *words, "--store", store, "--format", "json")
    document = json.loads(ran.out)
    (cell,) = document["cells"]
    assert (cell["outcome"], cell["axes"]["target"]) == ("passed", f"{os.uname().machine}-board")
    assert json.loads(shown.out)["cells"] == [cell]
    assert "--board BOARD" in cell["evidence"]["reproduce"]
    assert '"zero"' not in ran.out and "127.0.0.1" not in ran.out
    runs = [job for job in document["jobs"].values() if job["stage"] == "run"]
    assert all(document["environments"][job["environment"]]["board"]["kernel"] for job in runs)
    gone = matrix("run", spec, "--board", "zero", "--ssh-config", nobody, "--store", store)
    assert "nothing listens for SSH there" in gone.out + gone.err
