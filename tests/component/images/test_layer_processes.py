"""The bytes of layers, made by processes in other surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wheelsamples import make_wheel

ROOT = Path(__file__).parents[3]

ALONE = """
import sys
from pathlib import Path
from matrix.images.layer import skeleton_tree, write_tree
from matrix.images.wheel_layer import wheel_tree
wheel, scratch = Path(sys.argv[1]), Path(sys.argv[2])
with wheel_tree(wheel, python="3.11", scratch=scratch) as tree:
    print(write_tree(tree, None))
with skeleton_tree(python="3.11", scratch=scratch) as tree:
    print(write_tree(tree, None))
"""


def test_the_same_layers_whatever_the_surroundings(tmp_path):
    wheel = make_wheel(tmp_path)
    said = set()
    for seed, zone, umask, folder in (("0", "UTC", 0o022, "a"), ("1", "Asia/Tokyo", 0o077, "b/c"), ("9", "", 0, "d e")):
        scratch = tmp_path / folder
        scratch.mkdir(parents=True)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", ALONE, str(wheel), str(scratch)],
            env=environment,
            umask=umask,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1
