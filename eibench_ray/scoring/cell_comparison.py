"""The comparisons of a run: models and settings pairwise on the same samples, judges, and length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

from eibench_ray.plan.graph import Source, join_sources
from eibench_ray.scoring.calibration import Calibration, LabelCounts, calibrate
from eibench_ray.scoring.judge_agreement import JudgePair, JudgePanel, compare_judges, panels_of
from eibench_ray.scoring.paired_tests import PairedDifference, adjust_holm, compare_paired
from eibench_ray.scoring.rank_correlation import RankCorrelation, correlate_ranks
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric
from eibench_ray.scoring.self_preference import Preference, find_preferences
from eibench_ray.scoring.tournament import Tournament, find_tournaments

Side = Literal["model", "setting"]
SIDES: tuple[Side, ...] = ("model", "setting")
Family = Literal["table", "all"]  # tests that are adjusted together: those of one side, dataset and judge, or all


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """Two cells that differ in the model or in the setting only.

    Attributes:
        first_self_judged, second_self_judged: the judge is the model under test.
    """

    side: Side
    dataset: str
    judge: str
    metric: Metric  # whose values are compared
    within: str  # what they share: the setting, where models are compared, or the model
    first: str
    second: str
    first_self_judged: bool
    second_self_judged: bool
    paired: PairedDifference
    p_holm: float | None = None  # adjusted over its family (`adjust_pairs`); None where there is no p-value

    @property
    def table(self) -> tuple[str, ...]:
        """Key of the table that it stands in."""
        return self.side, self.dataset, self.judge


@dataclass(frozen=True, slots=True)
class LengthBias:
    """Whether a cell's longer answers are the better ones."""

    model: str
    setting: str
    dataset: str
    judge: str
    correlation: RankCorrelation  # Spearman's rho of the score and the answer's words


@dataclass(frozen=True, slots=True)
class CellNoise:
    """Difference of a judge from itself on a cell's answers, or of a model from itself on its samples."""

    model: str
    setting: str
    dataset: str
    judge: str
    metric: Metric
    noise: RepeatNoise
    of: Literal["judge", "model"] = "judge"  # whose repeats they are


@dataclass(frozen=True, slots=True)
class CellState:
    """Trust that a cell's figures deserve.

    Attributes:
        answer_source, judge_source: whose words the answers and the judge's replies are.
    """

    is_partial: bool = False  # they rest on a part of the samples
    answer_source: Source = "model"
    judge_source: Source = "model"

    @property
    def is_comparable(self) -> bool:
        """Whether they may stand out."""
        return not self.is_partial and "made_up" not in (self.answer_source, self.judge_source)


_TRUSTED = CellState()


@dataclass(frozen=True, slots=True)
class NamedRun:
    """One of several runs that are compared, and the letter of what only it means by a name."""

    letter: str
    id: str
    sweep: str
    folder: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All comparisons; each part may be empty.

    Attributes:
        states: of the cells that differ from others in this, by model, setting, dataset and judge.
    """

    pairs: tuple[ComparedPair, ...]
    judges: tuple[JudgePair, ...]
    panels: tuple[JudgePanel, ...]
    lengths: tuple[LengthBias, ...]
    confidence: float  # of every interval here
    family: Family = "table"
    preferences: tuple[Preference, ...] = ()
    noises: tuple[CellNoise, ...] = ()
    states: Mapping[tuple[str, str, str, str], CellState] = field(default_factory=dict)
    calibrations: tuple[Calibration, ...] = ()
    labels: LabelCounts | None = None  # of the labels behind them; None: there were none
    tournaments: tuple[Tournament, ...] = ()
    runs: tuple[NamedRun, ...] = ()  # those that were compared, where they are several

    def state(self, model: str, setting: str, dataset: str, judge: str) -> CellState:
        """Trust that a cell's figures deserve."""
        return self.states.get((model, setting, dataset, judge), _TRUSTED)

    def states_of(self, pair: ComparedPair) -> tuple[CellState, CellState]:
        """The states of the two cells of a pair."""
        cells = (
            ((pair.first, pair.within), (pair.second, pair.within))
            if pair.side == "model"
            else ((pair.within, pair.first), (pair.within, pair.second))
        )
        first, second = (self.state(*cell, pair.dataset, pair.judge) for cell in cells)
        return first, second

    def judge_source(self, dataset: str, judge: str) -> Source:
        """Source of a judge's replies on a dataset."""
        return join_sources(state.judge_source for cell, state in self.states.items() if cell[2:] == (dataset, judge))


def compare_cells(cells: Sequence[ScoredCell], sides: Sequence[Side], confidence: float) -> Comparison:
    """Compares the cells of one dataset; p-values are not adjusted yet (`adjust_pairs`)."""
    judges = list(dict.fromkeys(cell.judge for cell in cells))
    return Comparison(
        pairs=tuple(
            pair
            for side in sides
            for judge in judges
            for pair in _compare_pairs([cell for cell in cells if cell.judge == judge], side, confidence)
        ),
        judges=tuple(compare_judges(cells, confidence)),
        panels=tuple(panels_of(cells)),
        lengths=tuple(_relate_length(cell, confidence) for cell in cells),
        confidence=confidence,
        preferences=tuple(find_preferences(cells, confidence)),
        calibrations=tuple(calibrate(cells, confidence)),
        tournaments=tuple(find_tournaments(cells, confidence)),
        noises=tuple(
            CellNoise(cell.model, cell.setting, cell.dataset, cell.judge, cell.metric, noise, of)
            for of, noises in _noises_of(cells).items()
            for cell, noise in zip(cells, noises, strict=True)
            if noise is not None
        ),
    )


def _noises_of(cells: Sequence[ScoredCell]) -> dict[Literal["judge", "model"], list[RepeatNoise | None]]:
    return {"judge": [cell.noise for cell in cells], "model": [cell.model_noise for cell in cells]}


def _compare_pairs(cells: Sequence[ScoredCell], side: Side, confidence: float) -> Iterator[ComparedPair]:
    """All pairs of one judge."""
    for first, second in combinations(cells, 2):
        if first.setting == second.setting if side == "model" else first.model == second.model:
            yield _compare(first, second, side, confidence)


def _compare(first: ScoredCell, second: ScoredCell, side: Side, confidence: float) -> ComparedPair:
    is_model = side == "model"
    return ComparedPair(
        side=side,
        dataset=first.dataset,
        judge=first.judge,
        metric=first.metric,
        within=first.setting if is_model else first.model,
        first=first.model if is_model else first.setting,
        second=second.model if is_model else second.setting,
        first_self_judged=first.self_judged,
        second_self_judged=second.self_judged,
        paired=compare_paired(first.values, second.values, first.clusters, confidence, first.metric.span),
    )


def adjust_pairs(pairs: Iterable[ComparedPair], family: Family) -> tuple[ComparedPair, ...]:
    """The pairs in their order, with the adjusted p-values of their families."""
    families: dict[tuple[str, ...], list[ComparedPair]] = {}
    pairs = list(pairs)
    for pair in pairs:
        families.setdefault(pair.table if family == "table" else (), []).append(pair)
    adjusted = {key: iter(adjust_holm([pair.paired.p_value for pair in tested])) for key, tested in families.items()}
    return tuple(replace(pair, p_holm=next(adjusted[pair.table if family == "table" else ()])) for pair in pairs)


def _relate_length(cell: ScoredCell, confidence: float) -> LengthBias:
    """Words, not tokens: what the judge reads, in the same unit for every model, recorded answers included."""
    correlation = correlate_ranks(cell.values, cell.words, cell.clusters, confidence)
    return LengthBias(cell.model, cell.setting, cell.dataset, cell.judge, correlation)
