"""The slices with which replicas keep dying, while it is found out which of their rows kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eibench_ray.driver.poison_search import DEATHS_BEFORE_CONTROL, PoisonSearch
from eibench_ray.driver.run_context import RunContext
from eibench_ray.plan.slices import Slice
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.task import TaskReport


@dataclass(slots=True)
class _Case:
    """A suspected slice.

    Attributes:
        report: the last one of a probe that committed anything; it speaks for all of the slice's rows so far.
    """

    search: PoisonSearch  # what is known of its rows
    probe: PoisonProbe
    report: TaskReport | None = None


@dataclass(frozen=True, slots=True)
class _Death:
    """A replica on these nodes died of a probe, if none of them has left."""

    slice_: Slice
    reason: str
    nodes: tuple[str, ...]
    has_answered: bool


class PoisonedSlices:
    """The searches of a run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._cases: dict[Slice, _Case] = {}
        self._deaths: list[_Death] = []

    def next_probe(self, slice_: Slice, *, has_answered: bool) -> PoisonProbe:
        """Next probe of a candidate; `has_answered`: whether the replica that is asked has answered anything yet."""
        engine = self._engine(slice_)
        if slice_ not in self._cases:
            is_free = self._context.plan.engines[engine].price is None
            self._cases[slice_] = _Case(PoisonSearch(slice_.rows, has_control=is_free), PoisonProbe())
        case = self._cases[slice_]
        num_deaths = self._context.failure_policy.num_deaths(engine)
        case.probe = case.search.next(has_answered=has_answered, num_deaths=num_deaths)
        return case.probe

    def note_end(self, report: TaskReport) -> None:
        """A probe has ended, and its replica lives."""
        case = self._cases[report.slice]
        if case.probe.is_control and not report.num_answered:
            case.search.has_no_control()
        case.search.survived(report.missing)
        if not case.probe.is_control:
            case.report = report
        if report.is_whole:
            del self._cases[report.slice]

    def note_answer(self, engine: str) -> None:
        """An engine has answered something."""
        for slice_, case in self._cases.items():
            if self._engine(slice_) == engine:
                case.search.may_have_control()

    def note_death(self, slice_: Slice, reason: str, nodes: tuple[str, ...], *, has_answered: bool) -> None:
        """A replica died of a probe; what that means is settled when it is known which nodes have left."""
        self._deaths.append(_Death(slice_, reason, nodes, has_answered))

    def note_break(self, slice_: Slice) -> None:
        """A replica was lost under a probe that is not to blame."""
        self._cases[slice_].search.broke_off()

    def settle(self) -> Iterator[tuple[str, str]]:
        """Draws the conclusions from the last deaths; the engines that die even of what they have answered, and why."""
        deaths, self._deaths = self._deaths, []
        for death in deaths:
            case, engine = self._cases[death.slice_], self._engine(death.slice_)
            if any(node not in self._context.watch.nodes for node in death.nodes):
                case.search.broke_off()
                continue
            case.search.died(death.reason, has_answered=death.has_answered)
            if case.probe.is_control and self._context.failure_policy.num_deaths(engine) > DEATHS_BEFORE_CONTROL:
                yield engine, f"it dies even of a row that it has answered before; {death.reason}"

    def count_rest(self) -> None:
        """Counts what was answered in slices that did not come to their end."""
        for case in self._cases.values():
            if case.report is not None:
                self._context.counts.add(case.report)

    def _engine(self, slice_: Slice) -> str:
        return self._context.plan.steps[slice_.step].engine
