"""Every error for users, in one tree in one file. Each class has one of eleven exit statuses.

Outcomes of jobs are not errors: a compiler that crashes is a finding and stays in the table. An error ends the command.
It says what happened (`str(error)`) and what to do next (`error.tip`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EXIT_OK = 0
EXIT_NO = 1
EXIT_BAD_INPUT = 2
EXIT_MISSING = 3
EXIT_UNMEASURED = 4
EXIT_UNREACHABLE = 5
EXIT_ENVIRONMENT = 6
EXIT_STORE = 7
EXIT_FAULTED = 8
EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130

STATUSES: Mapping[int, str] = MappingProxyType(
    {
        EXIT_OK: "The command did what it was asked. A red cell is a finding, so it is no error of the run.",
        EXIT_NO: "The command did its work, and the answer is no. `diff`: something is worse, or a module's byte "
        "differs; `compare`: something differs; `check`: the set would fail; `armv6-smoke`: an outcome is not the "
        "committed one.",
        EXIT_BAD_INPUT: "The command cannot use what it was given: its words, a spec, a model, a lock or another file.",
        EXIT_MISSING: "This machine lacks what the command needs. Nothing was measured.",
        EXIT_UNMEASURED: "The run is over and the table is printed, but not all that was planned was measured. "
        "`check`: nothing shows that the set would fail, but it was not measured as it is.",
        EXIT_UNREACHABLE: "A server does not answer: the package index, a mirror, published results, or a container "
        "daemon in mid-run.",
        EXIT_ENVIRONMENT: "An environment cannot be made, does not start, or is not what its lock says.",
        EXIT_STORE: "The store or its disk cannot be used.",
        EXIT_FAULTED: "The run is over and the table is printed, but a fault of this machine, the network or this "
        "project kept something from being measured. The same command tries it again.",
        EXIT_DEFECT: "This project has a defect. The message names a file to report.",
        EXIT_INTERRUPTED: "The command was interrupted. The same command continues from there.",
    }
)
"""The exit statuses for scripts; the message has the details. `docs/reference.md` is made from this table."""


class MatrixError(Exception):
    """The root. `exit_code` is the exit status of the process, a key of STATUSES; `meaning` is one line for people."""

    exit_code = EXIT_DEFECT
    meaning = "a defect of this project"

    def __init__(self, message: str, *, tip: str = "") -> None:
        super().__init__(message)
        self.tip = tip


class UsageError(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "the command line: an unknown verb, option, format or engine"


class SpecError(MatrixError):
    """All faults of one spec file, reported together, one per line: place, what was read, what was expected."""

    exit_code = EXIT_BAD_INPUT
    meaning = "a spec: an unknown axis, key or version, or a wrong type"

    def __init__(self, source: str, faults: list[str], *, tip: str = "") -> None:
        self.faults = tuple(faults)
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {fault}" for fault in faults), tip=tip)


class EngineMissing(MatrixError):
    exit_code = EXIT_MISSING
    meaning = "an engine, a Python or another program that environments need"


class IndexUnreachable(MatrixError):
    exit_code = EXIT_UNREACHABLE
    meaning = "the package index or a mirror does not answer, or lacks what every index has"


class PackageUnknown(IndexUnreachable):
    exit_code = EXIT_UNREACHABLE
    meaning = "the package index has no package of a name"

    def __init__(self, message: str, *, tip: str = "", package: str = "") -> None:
        self.package = package
        super().__init__(message, tip=tip)


class WheelLacking(IndexUnreachable):
    exit_code = EXIT_UNREACHABLE
    meaning = "the package index does not offer all wheels that a lock names"


class PublishedUnreachable(MatrixError):
    exit_code = EXIT_UNREACHABLE
    meaning = "`--results`: the server of an address does not answer, or has no such file, and the store has no copy"

    def __init__(self, message: str, *, tip: str = "", answered: bool = False) -> None:
        """`answered`: the server said that there is no such file."""
        self.answered = answered
        super().__init__(message, tip=tip)


class HashMismatch(MatrixError):
    exit_code = EXIT_ENVIRONMENT
    meaning = "a file has another sha256 than its lock names"


class DiskFull(MatrixError):
    exit_code = EXIT_STORE
    meaning = "no space is left on the disk, or in the budget"


class StoreTooNew(MatrixError):
    exit_code = EXIT_STORE
    meaning = "a newer version of this project wrote the store"


class StoreUnusable(MatrixError):
    exit_code = EXIT_STORE
    meaning = "the store does not exist, cannot be written or is damaged"


class BlobDamaged(MatrixError):
    exit_code = EXIT_STORE
    meaning = "an artifact of the store is missing, or its bytes changed on this disk"


class PresetUnknown(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "no preset has that name, and no file is at that path"


class ModelMissing(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "no shipped model has that name, or a model's file does not exist"


class SpecSyntax(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a spec is not TOML; the message names the line"


class MatrixEmpty(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "an axis has no value, or the rules leave no cell to run"


class CellUnknown(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "`why` or `--only` names no cell of the matrix, or more than one"

    def __init__(self, message: str, *, tip: str = "", several: bool = False) -> None:
        """`several`: more than one cell fits."""
        self.several = several
        super().__init__(message, tip=tip)


class LockFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a lock, or a file beside it, is missing or cannot be read"


class ResolutionRefused(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "the resolver finds no set of packages for what is wanted"


class WorkerLost(MatrixError):
    exit_code = EXIT_ENVIRONMENT
    meaning = "a worker process cannot be started or speaks another version of the protocol"


class ImageFault(MatrixError):
    exit_code = EXIT_ENVIRONMENT
    meaning = "packages cannot be made an image or an environment of Nix, or make another than the committed one"


class PackageGone(MatrixError):
    exit_code = EXIT_UNREACHABLE
    meaning = "no mirror has a package that a lock names"


class NoImage(EngineMissing):
    exit_code = EXIT_MISSING
    meaning = "nothing is committed from which an environment's image could be made"


class DaemonGone(MatrixError):
    exit_code = EXIT_UNREACHABLE
    meaning = "the container daemon stopped answering in mid-run"


class ToolchainFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a toolchain of your own is not there, or lacks what its axis needs"


class WheelFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a folder or an index of your own has no wheel that fits, or one that is damaged"


class ModelUnusable(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a model of your own has no known kind, several entry points, or packages or weights that mean nothing"


class ExportFailed(MatrixError):
    exit_code = EXIT_NO
    meaning = "`export`: the model does not export; the message says at what"


class FileFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a file to look into is not there, too big, damaged, or neither a `.vmfb` nor MLIR"


class ResultsFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "a results file cannot be read, is damaged, or comes from a newer version of this project"


class ExtraMissing(MatrixError):
    exit_code = EXIT_MISSING
    meaning = "a part that is installed only on request: `iree-matrix[charts]`, `[dask]`, `[remote]`"


class NoAnswer(MatrixError):
    exit_code = EXIT_NO
    meaning = "`advise`, `badge`, `bisect`, `blame`: nothing tested answers the question; the message names the nearest"


class BundleRefused(MatrixError):
    exit_code = EXIT_NO
    meaning = "`bundle`: the model would not pass on the board, or the bundle reveals this machine"


class ShardFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "shards: a number that is none, a spec that cannot be dealt, a bundle that is damaged or of another spec"


class OrderFault(MatrixError):
    exit_code = EXIT_BAD_INPUT
    meaning = "`work`: no work order, or one for another version of this project"


class PoolGone(MatrixError):
    exit_code = EXIT_UNREACHABLE
    meaning = "`run --executor`: all workers stopped answering in mid-run"


class NotAllMeasured(MatrixError):
    """Raised after the table is printed."""

    exit_code = EXIT_UNMEASURED
    meaning = "some cells stay untested: this machine lacks an engine, a Python, an emulator or a compiler"


class ProgramKilled(MatrixError):
    exit_code = EXIT_FAULTED
    meaning = "a program that makes environments was killed by a signal, and again when it was started once more"


class RunFaulted(MatrixError):
    """Raised after the table is printed."""

    exit_code = EXIT_FAULTED
    meaning = "jobs of some cells were lost or not started, and not by a release: the message says how many and why"


class NotInstallable(Exception):
    """The index has no wheels of a lock for this Python or platform: a finding about the releases, not a fault.

    `reason` is one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotRunnable(Exception):
    """This machine cannot run the tools of an environment: its emulator refuses. No finding about the releases."""
