"""Environments on boards: the tools of the target's wheels, or what a build brings, and the board that runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from matrix.core.errors import EngineMissing, NotRunnable
from matrix.core.keys import digest, sha256
from matrix.core.records import Board, Environment, EnvironmentRequest, Job, Limits
from matrix.engines.contract import tool_line
from matrix.engines.ssh.board import SshBoard
from matrix.engines.ssh.facts import BoardFacts
from matrix.engines.ssh.orders import BoardFile, BoardOrder
from matrix.engines.venv.kind import VENV
from matrix.engines.worker import WorkerEvent
from matrix.environments.folders import realise_with
from matrix.environments.user_tools import PROBE_OPTIONS
from matrix.plan.backends.iree.source_builds import RUNNER

BOARD_FORMAT = 1
_PROBE_SECONDS = 60.0

Install = Callable[[EnvironmentRequest, Path], tuple[dict[str, str], dict[str, str]]]
"""Puts the tools of a request's wheels into a folder: (tool -> path relative to it, digests)."""


@dataclass(slots=True, kw_only=True)
class BoardEnvironments:
    """The boards of a run. `offline`: for lookups, which connect to none."""

    install: Install
    script: Path
    store: Path
    on_event: Callable[[WorkerEvent], None]
    offline: bool = False
    _boards: dict[Board, SshBoard] = field(default_factory=dict)
    _by_job: dict[str, SshBoard] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def recipe(self, request: EnvironmentRequest) -> str:
        """Raises EngineMissing where there is no such board, or it cannot run the target's programs."""
        return digest({"format": BOARD_FORMAT, "lock": request.lock.digest, "board": self._facts(request).identity})

    def realise(self, request: EnvironmentRequest, folder: Path) -> Environment:
        """Raises NotRunnable if the board does not run the tools, EngineMissing, and the errors of fetching."""
        return realise_with(request, folder, lambda root: self._build(request, root))

    def on_board(self, request: EnvironmentRequest, environment: Environment) -> Environment:
        """The environment, with the board that runs it now."""
        facts = self._facts(request)
        return replace(
            environment,
            board=_board_of(request),
            machine=facts.machine_class,
            evidence=(*environment.evidence, ("board", facts.evidence)),
        )

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path], folder: Path) -> None:
        """Passes a job to its board. `folder` gets its outputs."""
        assert environment.board is not None
        board = self._by_job[job.key] = self._board(environment.board)
        digests = dict(job.inputs)
        files = [
            BoardFile(name=name, digest=digests[name], path=path, program=name in job.programs)
            for name, path in inputs.items()
        ]
        argv, sent = self._with_tool(tool_line(job.argv, environment), files)
        order = BoardOrder(job_id=job.key, argv=argv, files=sent, folder=folder, limits=job.limits, outputs=job.outputs)
        board.submit(order)

    def cancel(self, key: str) -> bool:
        """Whether a board has the job."""
        board = self._by_job.get(key)
        if board:
            board.cancel(key)
        return board is not None

    def close(self) -> None:
        for board in self._boards.values():
            board.close()

    def terminate(self) -> None:
        for board in self._boards.values():
            board.terminate()

    def _with_tool(
        self, argv: tuple[str, ...], files: Sequence[BoardFile]
    ) -> tuple[tuple[str, ...], tuple[BoardFile, ...]]:
        """A tool of the environment goes to the board as a file beside the others."""
        program = Path(argv[0])
        if not program.is_absolute():
            return argv, tuple(files)
        if program not in self._digests:
            self._digests[program] = sha256(program)
        tool = BoardFile(name=program.name, digest=self._digests[program], path=program, program=True)
        return (f"./{program.name}", *argv[1:]), (*files, tool)

    def _board(self, board: Board) -> SshBoard:
        with self._guard:
            if board not in self._boards:
                self._boards[board] = SshBoard(
                    board, script=self.script, keep=self.store / "boards", on_event=self.on_event
                )
            return self._boards[board]

    def _facts(self, request: EnvironmentRequest) -> BoardFacts:
        assert request.platform is not None
        board = self._board(_board_of(request))
        facts = board.known_facts() if self.offline else board.facts()
        why, tip = facts.fault(request.platform.machine)
        if why:
            raise EngineMissing(f"the board of target {board.board.target}: {why}", tip=tip)
        return facts

    def _build(self, request: EnvironmentRequest, root: Path) -> Environment:
        facts = self._facts(request)
        tools, held = ({}, {}) if request.built else self.install(request, root)
        environment = Environment(
            request_label=request.label,
            engine=VENV.name,
            digest=digest({"tools": held, "built": request.built, "board": facts.identity}),
            root=root,
            python_version=request.python,
            c_library=facts.c_library or "not told",
            tools=tools,
            distributions=() if request.toolchain or request.built else request.lock.pins,
        )
        if not request.built:
            self._try(request, environment)
        return environment

    def _try(self, request: EnvironmentRequest, environment: Environment) -> None:
        """Starts a tool once on the board, so that what it lacks is said once and not for every job."""
        board = self._board(_board_of(request))
        with TemporaryDirectory() as folder:
            argv, files = self._with_tool(tool_line((RUNNER, PROBE_OPTIONS[RUNNER]), environment), ())
            limits = Limits(seconds=_PROBE_SECONDS)
            end = board.run(BoardOrder(job_id="probe", argv=argv, files=files, folder=Path(folder), limits=limits))
        if (end.end, end.exit_code) != ("exited", 0):
            said = end.error or (end.log.strip().splitlines() or [end.status])[-1]
            raise NotRunnable(f"the board of target {board.board.target} does not run {RUNNER}: {said}")


def _board_of(request: EnvironmentRequest) -> Board:
    assert request.platform is not None and request.platform.board is not None
    return request.platform.board
