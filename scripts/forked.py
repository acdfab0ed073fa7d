"""A job that is a Python function, in a fork of the worker: its warm imports are there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import traceback
from typing import Any

from jobs import Job


def run(job: Job, *, warm_error: str) -> None:
    """Runs the job in this process and exits: 0, or 1 with a traceback. Never returns, whatever happens."""
    code = 1
    try:
        sys.stdout.reconfigure(line_buffering=True)  # keeps the order of stdout and stderr
        os.environ.clear()
        os.environ.update(job.env)
        if "tempfile" in sys.modules:  # a warm import may have asked it for the worker's folder
            sys.modules["tempfile"].tempdir = None
        if warm_error:
            sys.stderr.write(warm_error)
        else:
            run_script(job.script, job.arguments)
            code = 0
    except BaseException:  # noqa: BLE001 - any error of a script belongs in its log
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run_script(path: str, arguments: dict[str, Any]) -> None:
    """Imports the file again, so that a change of it needs no new worker, and calls its `run`."""
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location("job_script", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.run(arguments)
