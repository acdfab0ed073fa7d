"""Inspects a user's own image: its Python, where the tools are on its PATH, and whether they run.

The image's Python gets this text (`python3 -I -c`) and a question as JSON: `modules` that the worker needs, `tools` to
find, and `ask`: tool -> an option that it answers. Any Python may run it, so it uses only what an old one understands.
"""

import importlib.util
import json
import platform
import shutil
import subprocess
import sys

TAIL = 2000
"""How many characters of a tool's output are kept."""


def look(question: dict) -> dict:
    places = {tool: shutil.which(tool) for tool in question["tools"]}
    return {
        "python": sys.executable,
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "c_library": " ".join(platform.libc_ver()).strip(),
        "lacks": [name for name in question["modules"] if importlib.util.find_spec(name) is None],
        "tools": {tool: place for tool, place in places.items() if place},
        "answers": {tool: ask(places[tool], option) for tool, option in question["ask"].items() if places.get(tool)},
    }


def ask(place: str, option: str) -> list:
    """The exit status of a tool and the end of its output."""
    try:
        done = subprocess.run(
            [place, option], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        return [126, str(error)]
    return [done.returncode, done.stdout.decode(errors="replace")[-TAIL:]]


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
