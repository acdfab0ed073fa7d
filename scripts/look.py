"""Says what an image of a user's own holds: its Python, and where the tools are on its PATH and whether they run.

Its text is handed to the image's Python (`python3 -I -c`), with the question as JSON: `modules` that the worker needs,
`tools` to find, `ask`: tool -> the option to which it answers. It is read by whatever Python there is, so it keeps to
what an old one understands.
"""

import importlib.util
import json
import platform
import shutil
import subprocess
import sys

TAIL = 2000
"""Characters of a tool's answer that are kept."""


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
    """The exit status of a tool and the end of what it says."""
    try:
        done = subprocess.run(
            [place, option], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        return [126, str(error)]
    return [done.returncode, done.stdout.decode(errors="replace")[-TAIL:]]


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
