"""The look inside an image, on this machine's own Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"


# -- the look inside, by this machine's Python


def look(question, **env):
    code = (SCRIPTS / "look.py").read_text(encoding="utf-8")
    argv = [sys.executable, "-I", "-c", code, json.dumps(question)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout)


def test_the_look_finds_tools_on_the_path_and_asks_them(tmp_path):
    for name, text in (("good", "echo version 3.9; exit 0"), ("bad", "echo broken >&2; exit 3"), ("none", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n" if text else "no program")
        (tmp_path / name).chmod(0o755)
    found = look(
        {
            "modules": ["json", "no_such_module"],
            "tools": ["good", "bad", "none", "absent"],
            "ask": {"good": "--version", "bad": "--help", "none": "--help", "absent": "--help"},
        },
        PATH=str(tmp_path),
    )
    assert found["tools"] == {name: str(tmp_path / name) for name in ("good", "bad", "none")}
    assert found["answers"]["good"] == [0, "version 3.9\n"]
    assert found["answers"]["bad"] == [3, "broken\n"]
    assert found["answers"]["none"][0] == 126
    assert found["lacks"] == ["no_such_module"]
    assert found["version"] == ".".join(map(str, sys.version_info[:3]))
