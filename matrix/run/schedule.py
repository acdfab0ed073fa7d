"""The state of a run, node by node: what is ready, waiting or over, and which cells that settles. Pure."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping

from matrix.core.records import EnvironmentRequest, JobResult, Outcome
from matrix.plan.graph import NodeState, Plan
from matrix.plan.rounds import round_of
from matrix.plan.stages import Node, rank_of


def node_rank(node: Node) -> tuple[bool, int, int, int]:
    """The order of nodes: the critical path first (a stage before those that need it), then repeats, then times, when
    nothing else is left.

    Rounds are interleaved: round 1 of all releases, then round 2 in the opposite order, so that neither drift of the
    machine nor the job before favours a release.
    """
    if node.kind.rounds:
        number = round_of(node)
        return (True, rank_of(node.stage), number, node.index if number % 2 else -node.index)
    return (bool(node.repeat), rank_of(node.stage), 0, node.index)


class Schedule:
    """Chooses the next node. A node is ready when its upstream has passed, and parked while its environment is made."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
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
        return self.plan.nodes[heapq.heappop(self._ready)[1]] if self._ready else None

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
        if node.index in self._blocked or not all(above in self._artifacts for above in node.above):
            return
        if node.obstacle is None:
            self.put_back(node)
        else:
            self._settle(node.index, node.obstacle[0])

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.repeats_done += bool(self.plan.nodes[index].repeat)
        if outcome is Outcome.PASSED:
            self._count(index, last=True)
            for child in self._children[index]:
                self._offer(self.plan.nodes[child])
            return
        self._count(index, red=outcome.red)
        below = list(self._children[index])
        while below:
            child = below.pop()
            if child in self._blocked:  # by the other node above it
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
