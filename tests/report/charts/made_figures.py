"""Figures for the pictures' tests: leaderboard rows and comparisons of any size, and names that mean harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.scoring.cell_comparison import ComparedPair, Comparison
from eibench_ray.scoring.cell_score import CellScore, MetricScore
from eibench_ray.scoring.judge_agreement import JudgePair
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.paired_tests import PairedDifference
from eibench_ray.scoring.rank_correlation import RankCorrelation
from eibench_ray.scoring.scorer import Metric
from eibench_ray.scoring.self_preference import Preference

ACCURACY = Metric("accuracy")
ERROR_RATE = Metric("word_errors", unit="words", direction="lower", format=".2f", high=None)
HOSTILE = '</script><img src=x onerror=alert(1)>\x1b[2J\u202e"\n' + "very_long_name_" * 20


def summary(value: float | None, n: int = 200, spread: float = 0.03) -> MetricSummary:
    """A mean with its interval; of no sample where there is none."""
    ends = (None, None) if value is None else (value - spread, value + spread)
    return MetricSummary(n, 0 if value is None else n, n // 2, value, *ends, 0.0, 1.0)


def row(
    model: str,
    setting: str = "plain",
    judge: str = "strict",
    value: float | None = 0.5,
    *,
    dataset: str = "mmmu",
    metric: Metric = ACCURACY,
    groups: Sequence[str] = ("art", "law", "medicine"),
    **facts: Any,
) -> LeaderboardRow:
    """A cell's line, its figure in each group a little apart from that of all."""
    of_group = {
        name: summary(None if value is None else round(value + 0.04 * (place - 1), 4), 60, 0.06)
        for place, name in enumerate(groups)
    }
    statuses = facts.pop("statuses", {"ok": 200})
    score = CellScore((MetricScore(metric, summary(value), {"subject": of_group}),), statuses, 0.95)
    known = {"sees_image": True, "self_judged": False, "errors": 0} | facts
    return LeaderboardRow(model, setting, dataset, judge, score=score, **known)


def sweep(num_models: int, settings: Sequence[str] = ("plain", "captioned")) -> list[LeaderboardRow]:
    """The rows of a sweep of so many models."""
    return [
        row(f"model_{place:02}", setting, value=0.9 - 0.011 * place - 0.05 * number)
        for place in range(num_models)
        for number, setting in enumerate(settings)
    ]


def paired(difference: float, spread: float = 0.02, n: int = 200) -> PairedDifference:
    """A difference with its interval."""
    return PairedDifference(
        n, n // 2, 0.5 + difference, 0.5, difference, difference - spread, difference + spread, 0.001
    )


def pair(model: str, difference: float, p_holm: float = 0.001, **names: str) -> ComparedPair:
    """Two settings of a model."""
    known = {"side": "setting", "dataset": "mmmu", "judge": "strict", "first": "plain", "second": "captioned"} | names
    return ComparedPair(
        **known,  # type: ignore[arg-type]
        metric=ACCURACY,
        within=model,
        first_self_judged=False,
        second_self_judged=False,
        paired=paired(difference),
        p_holm=p_holm,
    )


def judged(first: str, second: str, alpha: float | None, bias: float) -> JudgePair:
    """Two judges of the same answers."""
    rho = RankCorrelation(400, None if alpha is None else alpha + 0.05)
    return JudgePair("mmmu", ACCURACY, first, second, 6, alpha, rho, RankCorrelation(6, 0.9), paired(bias))


def preference(judge: str, against: str, excess: float) -> Preference:
    """A judge's favour for its own family."""
    return Preference(
        "mmmu", ACCURACY, judge, against, "llama", ("llama_8b",), ("qwen",), False, 0.9, paired(excess, 0.03)
    )


def comparison(**parts: Any) -> Comparison:
    """A comparison with these parts."""
    return Comparison(**{"pairs": (), "judges": (), "panels": (), "lengths": (), "confidence": 0.95} | parts)
