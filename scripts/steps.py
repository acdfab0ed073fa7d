"""Runs command lines one after another, in the folder of a job, and ends at the first that fails.

    python steps.py NAME=VALUE… -- COMMAND… --then COMMAND…

`{name}` in a word is the folder `trees/name` of this Python's environment, `{here}` the job's own. What the commands
print has the names again in the place of the folders: a log says nothing of the machine. Standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

PLACE = re.compile(r"\{([a-z-]+)\}")
THEN = "--then"


def main(words: "list[str]") -> int:
    split = words.index("--")
    places = folders()
    variables = {name: placed(value, places) for name, _, value in (word.partition("=") for word in words[:split])}
    environment = {**os.environ, **variables}
    for command in commands(words[split + 1 :]):
        print("$ " + " ".join(command), flush=True)
        status = run([placed(word, places) for word in command], environment, places)
        if status:
            print(f"exit status {status} of {command[0]}", flush=True)
            return status
    return 0


def folders() -> "dict[str, str]":
    """Name -> path. Links are followed: what a compiler writes down is where a file truly lies."""
    trees = os.path.join(sys.prefix, "trees")
    named = {entry.name: os.path.realpath(entry.path) for entry in os.scandir(trees)}
    return {**named, "here": os.getcwd()}


def placed(word: str, places: "dict[str, str]") -> str:
    return PLACE.sub(lambda match: places.get(match[1], match[0]), word)


def commands(words: "list[str]") -> "list[list[str]]":
    found: "list[list[str]]" = [[]]
    for word in words:
        if word == THEN:
            found.append([])
        else:
            found[-1].append(word)
    return found


def run(command: "list[str]", environment: "dict[str, str]", places: "dict[str, str]") -> int:
    """Its exit status; 128 + N for signal N, as a shell says it."""
    try:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", flush=True)
        return 127
    assert process.stdout is not None
    longest = sorted(places.items(), key=lambda pair: -len(pair[1]))
    for line in process.stdout:
        said = line
        for name, path in longest:
            said = said.replace(path, f"{{{name}}}")
        sys.stdout.write(said)
    status = process.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
