"""Puts the objects of a build into one archive, in the order of their paths, without dates and owners.

    python archive.py AR ARCHIVE FOLDER

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main(archiver: str, archive: str, folder: str) -> int:
    found = [
        os.path.join(place, name)
        for place, folders, names in os.walk(folder)
        for name in names
        if name.endswith(".obj") and "CompilerId" not in place
    ]
    listed = archive + ".files"
    with open(listed, "w", encoding="utf-8") as file:
        file.write("\n".join(sorted(found)))
    return subprocess.call([archiver, "qcsD", archive, "@" + listed])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
