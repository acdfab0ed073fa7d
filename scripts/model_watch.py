"""What a model's own code may read, and the fault that is the model's and no tool's."""

from __future__ import annotations

import os
import sys
from typing import Any


class ModelFault(Exception):
    """The model file, and not an exporter, is at fault; the text says where and what was expected."""


class Watch:
    """An audit hook: what a model reads of this machine must be in the job's key. Only while `on`: torch and turbine
    read what they like."""

    SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/nix/store")

    def __init__(self) -> None:
        self.on = False
        self.places: set[str] = set()
        for path in (*self.SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(__file__), *sys.path):
            self.allow(path)

    def allow(self, path: str) -> None:
        if path:
            self.places |= {os.path.join(os.path.abspath(path), ""), os.path.join(os.path.realpath(path), "")}

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self.on or isinstance(arguments[0], int):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        inside = path.startswith(tuple(self.places)) or os.path.realpath(path).startswith(tuple(self.places))
        if not inside and os.path.isfile(path):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR):
                raise ModelFault(f"the model writes outside of its folder: write below the current one; it is {path}")
            way = f'put it beside the model, and write FILES = ("{os.path.basename(path)}",)'
            raise ModelFault(f"the model reads a file that it does not declare: {way}; it is {path}")


WATCH = Watch()
