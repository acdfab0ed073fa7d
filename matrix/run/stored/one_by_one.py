"""The cells of a plan judged one by one, from the results in the store: for tables so large that only the plan fits in
memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from matrix.core.records import EnvironmentRequest, JobResult, Outcome
from matrix.engines.contract import Engine
from matrix.plan.graph import NodeState, Plan
from matrix.plan.stages import Node
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.evidence import found_result, judge_of, known_digests
from matrix.run.store import Store

LARGE = 200_000
"""Cells from which on they are judged so. What is said of all of them together is left out then."""

MOST_REMEMBERED = 10_000
"""Comparisons of outputs that are kept for the cells that follow."""


def is_large(plan: Plan) -> bool:
    """Whether a table is judged so: times, repeats and drivers' warnings need all cells at once."""
    requests = (node.request for node in plan.nodes)
    plain = not (plan.spec.timed or any(cell.repeats for cell in plan.cells))
    return len(plan.cells) >= LARGE and plain and not any(request.driver for request in requests if request)


class FoundStates(Sequence[NodeState]):
    """The state of each node, looked up when it is asked for. Those that other nodes need are kept."""

    def __init__(self, plan: Plan, store: Store, engine: Engine) -> None:
        self._plan, self._store = plan, store
        self.shared = frozenset(index for node in plan.nodes for index in node.above)
        self._kept: dict[int, tuple[NodeState, dict[str, str]]] = {}
        self._refused: dict[EnvironmentRequest, tuple[Outcome, str]] = {}
        digests = known_digests(plan, store, engine, self._refuse)
        requests = {id(node.request): node.request for node in plan.nodes}  # hashing one is slow, and nodes share them
        self._digests = {place: digests.get(request, ()) for place, request in requests.items()}

    def _refuse(self, request: EnvironmentRequest, outcome: Outcome, reason: str) -> None:
        self._refused[request] = (outcome, reason)

    def __len__(self) -> int:
        return len(self._plan.nodes)

    @overload
    def __getitem__(self, index: int) -> NodeState: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NodeState]: ...

    def __getitem__(self, index: int | slice) -> NodeState | Sequence[NodeState]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._known(index)[0]

    def _known(self, index: int) -> tuple[NodeState, dict[str, str]]:
        """The state of a node, and the artifacts above it and of it: name -> sha256."""
        if index in self._kept:
            return self._kept[index]
        node = self._plan.nodes[index]
        artifacts = {name: digest for name, _, digest in node.given}
        above: list[JobResult] = []
        for state, made in map(self._known, node.above):
            if state.result is None or state.result.outcome is not Outcome.PASSED:
                outcome = state.result.outcome if state.result else (state.obstacle or (Outcome.UNTESTED, ""))[0]
                blocked = (Outcome.BLOCKED, f"an earlier stage ended in {outcome}")
                return NodeState(obstacle=blocked if outcome is not Outcome.UNTESTED else None), {}
            artifacts |= made
            above.append(state.result)
        state = self._state(node, artifacts, above)
        if state.result:
            artifacts |= {each.name: each.digest for each in state.result.outputs}
        if index in self.shared:
            self._kept[index] = (state, artifacts)
        return state, artifacts

    def _state(self, node: Node, artifacts: dict[str, str], above: list[JobResult]) -> NodeState:
        if node.obstacle or node.request is None:
            return NodeState(obstacle=node.obstacle)
        if digests := self._digests[id(node.request)]:
            return NodeState(result=found_result(node, artifacts, above, self._store, digests))
        return NodeState(obstacle=self._refused.get(node.request))


class OneByOne:
    """The cells of a plan, each with its jobs, in the order of the plan."""

    def __init__(self, plan: Plan, store: Store, engine: Engine) -> None:
        self._plan, self._store = plan, store
        self._states = FoundStates(plan, store, engine)
        self._judge = judge_of(plan, self._states, store)
        self._environments: dict[str, FinishedJob] = {}

    def __iter__(self) -> Iterator[tuple[Cell, tuple[FinishedJob, ...]]]:
        for cell in self._plan.cells:
            judged = self._judge.subject(cell).cell
            jobs = tuple(self._judge.jobs[node] for node in cell.nodes if node in self._judge.jobs)
            for node in cell.nodes:
                if node not in self._states.shared:
                    self._judge.jobs.pop(node, None)
            if len(self._judge.compared) > MOST_REMEMBERED:
                self._judge.compared.clear()
            self._environments |= {job.environment: job for job in jobs}
            yield judged, jobs

    def head(self) -> Run:
        """The run without its cells, with what was found so far."""
        return self._judge.head(self._environments.values())
