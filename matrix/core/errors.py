"""Every error that a person can meet, one tree in one file, an exit code per class.

Outcomes of jobs are not errors: a compiler that crashes is a finding and stays in the table.
An error ends the command; it says what happened (`str(error)`) and what to do next (`error.tip`).
"""

from __future__ import annotations

EXIT_OK = 0

EXIT_WORSE_THAN_BASELINE = 1

EXIT_INTERRUPTED = 130


class MatrixError(Exception):
    """The root. `exit_code` is the process's exit status, all different (a test holds that)."""

    exit_code = 70
    meaning = "a defect of this project; the report file named in the message says where"

    def __init__(self, message: str, *, tip: str = "") -> None:
        super().__init__(message)
        self.tip = tip


class UsageError(MatrixError):
    exit_code = 2
    meaning = "the command line: an unknown verb, option, format or engine"


class SpecError(MatrixError):
    """All faults of one spec file, reported together; one line each: place, what was read, what was expected."""

    exit_code = 3
    meaning = "the spec file: unknown axis or key, wrong type, unknown version"

    def __init__(self, source: str, faults: list[str], *, tip: str = "") -> None:
        self.faults = tuple(faults)
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {fault}" for fault in faults), tip=tip)


class EngineMissing(MatrixError):
    exit_code = 4
    meaning = "the engine, or a Python that the environments need, is not on this machine"


class IndexUnreachable(MatrixError):
    exit_code = 5
    meaning = "the package index does not answer"


class HashMismatch(MatrixError):
    exit_code = 6
    meaning = "a downloaded wheel is not the one that the lock names"


class DiskFull(MatrixError):
    exit_code = 7
    meaning = "no space left on the disk"


class StoreTooNew(MatrixError):
    exit_code = 8
    meaning = "the store was written by a newer version of this project"


class StoreUnusable(MatrixError):
    exit_code = 9
    meaning = "the store's folder does not exist, cannot be written or is damaged"


class PresetUnknown(MatrixError):
    exit_code = 10
    meaning = "no preset of that name and no file at that path"


class ModelMissing(MatrixError):
    exit_code = 11
    meaning = "a model is not shipped under that name, or its file does not exist"


class SpecSyntax(MatrixError):
    exit_code = 12
    meaning = "the spec file is not TOML; the message names the line"


class MatrixEmpty(MatrixError):
    exit_code = 13
    meaning = "an axis without a value, or rules that leave no cell to run"


class CellUnknown(MatrixError):
    exit_code = 14
    meaning = "`why` or `--only` names no cell of the matrix, or more than one"

    def __init__(self, message: str, *, tip: str = "", several: bool = False) -> None:
        """`several`: more than one cell fits."""
        self.several = several
        super().__init__(message, tip=tip)


class LockFault(MatrixError):
    exit_code = 15
    meaning = "a lock file is missing or cannot be read"


class ResolutionRefused(MatrixError):
    exit_code = 16
    meaning = "the resolver finds no set of wheels for a new lock"


class WorkerLost(MatrixError):
    exit_code = 17
    meaning = "a worker process cannot be started or speaks another protocol version"


class ImageFault(MatrixError):
    exit_code = 18
    meaning = "a wheel or package cannot be unpacked into an image or by Nix, or they made what their lock does not say"


class PackageGone(MatrixError):
    exit_code = 19
    meaning = "no mirror has a Debian package that the lock of a base names"


class NoImage(EngineMissing):
    exit_code = 20
    meaning = "nothing is committed from which an environment's image could be made"


class DaemonGone(MatrixError):
    exit_code = 21
    meaning = "the container daemon stopped answering in mid-run"


class ToolchainFault(MatrixError):
    exit_code = 22
    meaning = "a toolchain of one's own is not there, or lacks what its axis needs"


class ModelUnusable(MatrixError):
    exit_code = 23
    meaning = (
        "a model of one's own: a file of no known kind, with several entry points, or with packages or weights that "
        "mean nothing"
    )


class ExportFailed(MatrixError):
    exit_code = 24
    meaning = "`export` has no MLIR to write: the export failed, and the message says at what"


class FileFault(MatrixError):
    exit_code = 26
    meaning = "a file to look into is not there, too big, damaged, or neither a `.vmfb` nor MLIR"


class ResultsFault(MatrixError):
    exit_code = 28
    meaning = "a results file cannot be read, is damaged, or was written by a newer version of this project"


class ExtraMissing(MatrixError):
    exit_code = 31
    meaning = "a part that is installed only on request (`iree-matrix[charts]`) is not there"


class NoAnswer(MatrixError):
    exit_code = 29
    meaning = "no tested combination answers the question; the message names the nearest, or what was tested"


class BundleRefused(MatrixError):
    exit_code = 30
    meaning = (
        "a bundle would not pass on the emulated board, tells of this machine, or its folder holds something already"
    )


class NotInstallable(Exception):
    """The index has no wheels of a lock for this Python or platform: a finding about the releases, not a fault.

    `reason` is one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotRunnable(Exception):
    """This machine does not run what an environment holds: its emulator refuses. No finding about the releases."""
