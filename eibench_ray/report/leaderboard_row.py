"""A row of the leaderboard: a cell's scores and what a reader must know to compare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eibench_ray.plan.graph import Source
from eibench_ray.plan.step_names import mark_of, with_mark
from eibench_ray.scoring.cell_columns import MIN_COVERAGE, MISSING
from eibench_ray.scoring.cell_score import CellScore
from eibench_ray.scoring.judged.jury import JuryAgreement

TEXT_ONLY = "(text only)"
SELF_JUDGED = "(self-judged)"
BASELINE_JUDGES = "(judge is the baseline)"
SAME_FAMILY = "(same family)"
BLOCKED = "(blocked)"
FAILED = "(failed)"
PARTIAL = "(partial)"


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """The scores of one cell, and what a reader must know to compare them.

    Attributes:
        answer_source, judge_source: whose words the answers and the judge's replies are.
    """

    model: str
    setting: str
    dataset: str
    judge: str
    sees_image: bool  # False marks a text-only model
    self_judged: bool  # the judge is the model under test
    score: CellScore
    errors: int  # rows of this cell that ended as an error
    refused: int = 0  # answers that the endpoint refused or filtered
    cost_usd: float | None = None  # of all rows that the cell rests on; None where none has a price
    same_family: bool = False  # the judge is another model of its family
    blocked: str | None = None  # why the rest of the cell could not be asked; None where nothing was in its way
    truncated: int = 0  # answers that a limit of tokens cut off
    empty: int = 0  # answers without a word
    cut_while_thinking: int = 0  # of those, answers whose limit of tokens was used up before the thinking ended
    calls_truncated: int = 0  # answers to earlier calls of the setting that were cut off
    judge_truncated: int = 0  # replies of the judge that were cut off, over all repeats
    judge_fallbacks: int = 0  # replies that its rule puts in the place of its own, none of which was acceptable
    failed: str | None = None  # why it has no figure, or will have none; None where it has, or is not asked yet
    mean_logprob: float | None = None  # the mean over its answers, of those whose tokens' is known; None: of none
    scorer_error: str | None = None  # what its scorer failed on, and why; None where it read every answer
    answer_source: Source = "model"
    judge_source: Source = "model"
    agreement: JuryAgreement | None = None  # of the members of a jury; None where one judge scores
    mean_words: float | None = None  # of its answers that are texts; None where none is
    endings: Mapping[str, int] = field(default_factory=dict)  # answers by their endings (`Completion.ending`)
    reply_endings: Mapping[str, int] = field(default_factory=dict)  # likewise the judge's replies, over all repeats
    has_pictures: bool = True  # whether any of its samples has one
    baseline_judges: bool = False  # the judge is the model whose answers the cell's are held against

    @property
    def is_text_only(self) -> bool:
        """Whether there were pictures that the model was not shown."""
        return self.has_pictures and not self.sees_image

    @property
    def is_partial(self) -> bool:
        """Whether its figure rests on a part of the samples only: it is no match for one that rests on all."""
        has_figure = self.score.overall.num_scored > 0
        return MISSING in self.score.statuses or (has_figure and self.score.overall.coverage < MIN_COVERAGE)

    @property
    def is_comparable(self) -> bool:
        """Whether its figure may stand out: it has one, which rests on all samples, and on words that somebody said."""
        has_figure = self.score.overall.num_scored > 0
        return has_figure and not self.is_partial and "made_up" not in (self.answer_source, self.judge_source)

    @property
    def marks(self) -> list[str]:
        """Marks beside the model's name."""
        marks = {
            TEXT_ONLY: self.is_text_only,
            mark_of(self.answer_source): self.answer_source != "model",
            BLOCKED: self.blocked is not None,
            FAILED: self.failed is not None,
            PARTIAL: self.is_partial and self.blocked is None,
        }
        return [mark for mark, is_there in marks.items() if mark and is_there]

    @property
    def judge_and_mark(self) -> str:
        """The judge's name, and beside it what took its place."""
        return with_mark(self.judge, self.judge_source)

    @property
    def kinship(self) -> str:
        """Kinship of the judge and one of those whose answers it judges, in words; empty where there is none."""
        kinds = {SELF_JUDGED: self.self_judged, BASELINE_JUDGES: self.baseline_judges, SAME_FAMILY: self.same_family}
        return next((mark for mark, is_there in kinds.items() if is_there), "")

    @property
    def cell(self) -> str:
        """The cell's name: model/setting/dataset/judge."""
        return f"{self.model}/{self.setting}/{self.dataset}/{self.judge}"

    @property
    def is_empty(self) -> bool:
        """Whether it was blocked before it had any score: it has a reason, but no figure."""
        return self.blocked is not None and self.score.overall.num_scored == 0


def sort_rows(rows: Iterable[LeaderboardRow]) -> list[LeaderboardRow]:
    """By dataset and judge, the best first; after them partial rows and those without a figure, by name."""

    def key(row: LeaderboardRow) -> tuple[str, str, bool, float, str, str]:
        value = row.score.overall.value
        has_rank = value is not None and not row.is_partial
        order = value if value is not None and has_rank else 0.0
        order = -order if row.score.metric.direction == "higher" else order
        return row.dataset, row.judge, not has_rank, order, row.model, row.setting

    return sorted(rows, key=key)
