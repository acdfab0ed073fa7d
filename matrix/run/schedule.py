"""The state of a run, node by node: what is ready, waiting or over, which cells that settles, and which jobs need
another attempt. Pure."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from matrix.core.keys import now
from matrix.core.records import EnvironmentRequest, Job, JobResult, Outcome
from matrix.plan.backends.shared import ABSENT
from matrix.plan.graph import NodeState, Plan
from matrix.plan.rounds import round_of
from matrix.plan.stages import Node, complete, kinds, rank_of
from matrix.results.judge import outcome_of
from matrix.results.signatures import NO_OUTPUT, UNRECOGNISED, recognise, signature_of
from matrix.run.executor import Disk, Origins, WorkFinished

TRIES = 3
"""How often a job is tried in one run while the fault is ours. The last time it runs alone: a neighbour that takes its
worker along is then not its neighbour any more."""
CONFIRMED = (Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY)
"""A neighbour, a full machine or another process can also cause these: a second attempt tells."""
NEED_ALONE = (Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY)
"""The second attempt has the machine to itself."""


def node_rank(node: Node) -> tuple[bool, int, int, int]:
    """The order of nodes: the critical path first (a stage before those that need it), then repeats, then times, when
    nothing else is left.

    Rounds are interleaved: round 1 of all releases of all backends, then round 2 in the opposite order, so that neither
    drift of the machine nor the job before favours a release. Stages that are measured in turns likewise.
    """
    if node.kind.rounds:
        number = round_of(node)
        return (True, len(kinds()), number, node.index if number % 2 else -node.index)
    if node.kind.turns:
        return (True, rank_of(node.stage), node.repeat, -node.index if node.repeat % 2 else node.index)
    return (bool(node.repeat), rank_of(node.stage), 0, node.index)


@dataclass(slots=True, kw_only=True)
class RunSummary:
    """The result of a run. `states` has an entry for each node of the plan."""

    states: list[NodeState]
    disk: Disk
    jobs_run: int = 0
    jobs_reused: int = 0
    interrupted: bool = False
    late: bool = False
    """It was interrupted by its deadline, and by nobody."""
    seconds: float = 0.0
    tool_cpu_seconds: float = 0.0
    missing: set[str] = field(default_factory=set)
    """What this machine lacks for some of the cells."""
    faults: dict[int, str] = field(default_factory=dict)
    """Why a node was not measured although this machine can: a fault that is not a release's. By its index."""
    faulted_cells: int = 0


class Schedule:
    """Chooses the next node. A node is ready when its upstream has passed, and parked while its environment is made."""

    def __init__(self, plan: Plan, is_wrong: Callable[[Mapping[str, str]], bool] = lambda _: False) -> None:
        """`is_wrong` tells of the artifacts of a cell that ran whether its outputs are, for the number of red cells."""
        self.plan, self._is_wrong = plan, is_wrong
        self.states = [NodeState(obstacle=node.obstacle) for node in plan.nodes]
        self.cells_done = sum(1 for cell in plan.cells if cell.excluded)
        self.cells_red = 0
        self.repeats = sum(1 for node in plan.nodes if node.repeat)
        self.repeats_done = 0
        self._ready: list[tuple[tuple[bool, int, int, int], int]] = []
        self._refused: dict[EnvironmentRequest, tuple[Outcome, str]] = {}
        self._parked: dict[EnvironmentRequest, list[int]] = defaultdict(list)
        self._children: dict[int, list[int]] = defaultdict(list)
        self._through: list[list[int]] = [[] for _ in plan.nodes]
        self._over = bytearray(len(plan.cells))
        self._blocked: set[int] = set()
        self._offered: set[int] = set()
        self._artifacts: dict[int, dict[str, str]] = {}
        for place, cell in enumerate(plan.cells):
            for index in cell.nodes:
                self._through[index].append(place)
        self._left = Counter(node.request for node in plan.nodes if node.request and not node.obstacle)
        self.left = Counter(node.stage for node in plan.nodes if not node.obstacle)
        """The nodes that are not over, by stage."""
        for node in plan.nodes:
            for above in node.above:
                self._children[above].append(node.index)
        for node in plan.nodes:
            if not node.above:
                self._offer(node)

    def needs(self, request: EnvironmentRequest) -> bool:
        """Whether some node of this environment is not over."""
        return self._left[request] > 0

    @property
    def waiting(self) -> bool:
        """Whether something is ready or parked."""
        return bool(self._ready or self._parked)

    @property
    def parked(self) -> bool:
        """Whether something waits for an environment."""
        return bool(self._parked)

    def put_back(self, node: Node) -> None:
        """Puts back a node that was taken and cannot start yet."""
        heapq.heappush(self._ready, (node_rank(node), node.index))

    def take(self) -> Node | None:
        """The ready node with the highest priority, or None."""
        while self._ready:
            node = self.plan.nodes[heapq.heappop(self._ready)[1]]
            if self._has_all(node):
                return node
            self._offered.discard(node.index)  # what it takes is made again
        return None

    def _has_all(self, node: Node) -> bool:
        return all(above in self._artifacts for above in node.above)

    def park(self, node: Node) -> None:
        """Parks a node until its environment exists. If it cannot be made, the node is over."""
        assert node.request is not None  # only a node with an environment is ever taken
        self._parked[node.request].append(node.index)
        if node.request in self._refused:
            self.obstruct(node.request, *self._refused[node.request])

    def unpark(self, request: EnvironmentRequest) -> None:
        """The environment exists: its parked nodes are ready."""
        for index in self._parked.pop(request, []):
            self.put_back(self.plan.nodes[index])

    def obstruct(self, request: EnvironmentRequest, outcome: Outcome, reason: str) -> None:
        """The environment cannot be made: its nodes are over, now and later."""
        self._refused[request] = (outcome, reason)
        for index in self._parked.pop(request, []):
            self._block(index, outcome, reason)
            self._settle(index, outcome)

    def artifacts(self, node: Node) -> Mapping[str, str]:
        """All artifacts upstream of a node: name -> sha256."""
        found = {name: digest for name, _, digest in node.given}
        for above in node.above:
            found |= self._artifacts[above]
        return found

    def compared(self, nodes: Iterable[Node]) -> list[Mapping[str, str] | None]:
        """The artifacts above each of these nodes whose outputs are compared; None, if these are made again."""
        found = (node for node in nodes if node.kind.compared)
        return [self.artifacts(node) if self._has_all(node) else None for node in found]

    def current(self, node: Node, inputs: Iterable[tuple[str, str]]) -> bool:
        """Whether these inputs (name, sha256) of a node's job are still what stands above it: a job may end while what
        it took is made again."""
        if not self._has_all(node):
            return False
        artifacts = self.artifacts(node)
        return all(artifacts.get(name, digest) == digest for name, digest in inputs)

    def redo(self, node: Node, lost: Collection[str]) -> None:
        """What other jobs left for a node is lost, by its digests: these jobs are done again, and what is between; then
        the node is ready again."""
        self._offered.discard(node.index)
        made_by = {index for index in self._upstream(node) if self._brings(index, lost)}
        again = {index for index in self._upstream(node) if made_by & {index, *self._upstream(self.plan.nodes[index])}}
        for index in again:
            self._undo(self.plan.nodes[index])
        for index in sorted(again):
            self._offer(self.plan.nodes[index])
        self._offer(node)

    def origins(self, nodes: Iterable[Node]) -> Origins:
        """The environments of all jobs before nodes, each with the digests of what it left there."""
        found: dict[EnvironmentRequest, list[str]] = {}
        for index in sorted({each for node in nodes for each in self._upstream(node)}):
            request, result = self.plan.nodes[index].request, self.states[index].result
            if request and result:
                found.setdefault(request, []).extend(made.digest for made in result.outputs)
        return tuple((request, tuple(digests)) for request, digests in found.items())

    def _brings(self, index: int, lost: Collection[str]) -> bool:
        """Whether a node left one of these artifacts, or is done again already."""
        result = self.states[index].result
        own = {digest for _, _, digest in self.plan.nodes[index].given}
        return result is None or any(digest in lost for digest in own | {made.digest for made in result.outputs})

    def _upstream(self, node: Node) -> set[int]:
        found = set(node.above)
        for above in node.above:
            found |= self._upstream(self.plan.nodes[above])
        return found

    def _undo(self, node: Node) -> None:
        if self.states[node.index].result is None:
            return
        self.states[node.index].result = None
        self._artifacts.pop(node.index, None)
        self._offered.discard(node.index)
        self.left[node.stage] += 1
        self.repeats_done -= bool(node.repeat)
        if node.request:
            self._left[node.request] += 1

    def finish(self, index: int, result: JobResult) -> None:
        """Records the result of a node. The nodes that wait for it become ready, or are blocked."""
        node = self.plan.nodes[index]
        self.states[index].result = result
        self.left[node.stage] -= 1
        if node.request:
            self._left[node.request] -= 1
        if result.outcome is Outcome.PASSED:
            own = {artifact.name: artifact.digest for artifact in result.outputs}
            self._artifacts[index] = {**self.artifacts(node), **own}
        self._settle(index, result.outcome)

    def _offer(self, node: Node) -> None:
        """A node is ready when all nodes above it have passed."""
        if node.index in self._blocked or node.index in self._offered or not self._has_all(node):
            return
        self._offered.add(node.index)
        if node.obstacle is None:
            self.put_back(node)
        else:
            self._settle(node.index, node.obstacle[0])

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.repeats_done += bool(self.plan.nodes[index].repeat)
        if outcome is Outcome.PASSED:
            node = self.plan.nodes[index]
            compared = node.kind.compared and not node.repeat and bool(self._through[index])
            self._count(index, last=True, red=compared and self._is_wrong(self._artifacts[index]))
            for child in self._children[index]:
                self._offer(self.plan.nodes[child])
            return
        absent = ABSENT in dict(self.plan.nodes[index].parameters)  # most of these are no finding
        self._count(index, red=outcome.red and not absent)
        below = list(self._children[index])
        while below:
            child = below.pop()
            if child in self._blocked or self.states[child].result:  # by the other node above it, or over before
                continue
            self._blocked.add(child)
            self.repeats_done += bool(self.plan.nodes[child].repeat)
            self._block(child, Outcome.BLOCKED, f"an earlier stage ended in {outcome}")
            below += self._children[child]

    def _count(self, index: int, *, last: bool = False, red: bool = False) -> None:
        """The cells through a node are over (`last`: those that end with it), each once."""
        for place in self._through[index]:
            if self._over[place] or (last and self.plan.cells[place].nodes[-1] != index):
                continue
            self._over[place] = 1
            self.cells_done += 1
            self.cells_red += red

    def _block(self, index: int, outcome: Outcome, reason: str) -> None:
        node = self.plan.nodes[index]
        self.left[node.stage] -= not node.obstacle
        if node.request and not node.obstacle:
            self._left[node.request] -= 1
        self.states[index].obstacle = (outcome, reason)


class Attempts:
    """Counts the attempts of the jobs of one run, and keeps the first end of those that are not confirmed yet."""

    def __init__(self) -> None:
        self._faults: Counter[str] = Counter()
        self._first: dict[str, JobResult] = {}

    def judged(self, result: JobResult) -> JobResult | None:
        """The result to record after one more attempt; None if the job must be tried again.

        Two attempts with different outcomes are `flaky`, also if the second one passed.
        """
        first = self._first.get(result.key)
        told = replace(result, attempts=(first.end,) if first else ())
        if result.outcome is Outcome.INFRASTRUCTURE:
            self._faults[result.key] += 1
            return told if self._faults[result.key] >= TRIES else None
        if first is None and unsure(result):
            self._first[result.key] = result
            return None
        return told if first is None or first.outcome is result.outcome else replace(told, outcome=Outcome.FLAKY)

    def alone(self, key: str) -> bool:
        """Whether the next attempt of a job must have the machine to itself."""
        first = self._first.get(key)
        return self._faults[key] == TRIES - 1 or (first is not None and first.outcome in NEED_ALONE)


def unsure(result: JobResult) -> bool:
    """Whether one attempt is not enough for a verdict.

    An error that no signature knows is of that kind: a compiler whose linker was killed says something of its own.
    """
    if result.outcome is Outcome.FAILED:
        return signature_of(result).name in (UNRECOGNISED, NO_OUTPUT)
    return result.outcome in CONFIRMED


def job_result(job: Job, event: WorkFinished) -> JobResult:
    """The result of one attempt."""
    good = event.end.end == "exited" and event.end.exit_code == 0
    known = None if good else recognise(event.end.log).outcome
    has_outputs = complete(job, [artifact.name for artifact in event.outputs])
    words = (f"{name}={value}" for name, value in job.arguments if not name.endswith("_file"))
    return JobResult(
        key=job.key,
        stage=job.stage,
        outcome=outcome_of(event.end, has_outputs=has_outputs, recognised=known),
        label=job.label,
        environment=event.environment,
        end=event.end,
        outputs=event.outputs,
        command=job.argv or (job.script, *words),
        inputs=job.inputs,
        finished_at=now(),
        machine=event.machine,
        engine=event.engine,
    )
