"""Options of verbs that look after a machine."""

from __future__ import annotations

import argparse


def add_examined(command: argparse.ArgumentParser) -> None:
    command.add_argument("spec", nargs="?", help="a spec with boards over SSH ([targets.NAME] ssh): looks at each, too")
