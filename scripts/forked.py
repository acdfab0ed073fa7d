"""A fork of the worker: from a copy of it to a process that runs one Python function."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import children
from jobs import Job


def fork(job: Job, output: int, *, inherited: Sequence[int], warm_error: str) -> int:
    """The pid of a copy of this process that runs the job. Raises OSError where its script or folder is missing."""
    for path in (job.script, job.cwd):
        os.stat(path)
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        become(job, worker=worker, output=output, inherited=inherited, warm_error=warm_error)
    return pid


def become(job: Job, *, worker: int, output: int, inherited: Sequence[int], warm_error: str) -> None:
    """Runs the job and exits: 0, or 1 with a traceback. Never returns, whatever happens.

    `worker` is the parent's pid; `output` becomes stdout and stderr; the worker's open files (`inherited`) are closed.
    """
    code = 1
    try:
        os.setsid()
        children.die_with(worker)
        forget_the_worker(output, inherited)
        children.restore_access()
        os.environ.update(job.env)
        os.chdir(job.cwd)
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


def forget_the_worker(output: int, inherited: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in inherited:
        os.close(fd)
    sys.stdout.reconfigure(line_buffering=True)  # keeps the order of stdout and stderr


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
