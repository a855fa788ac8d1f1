"""The comparisons of a run as plain values, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eibench_ray.scoring.cell_comparison import CellState, ComparedPair, Comparison, JudgeNoise, LengthBias
    from eibench_ray.scoring.judge_agreement import JudgePair
    from eibench_ray.scoring.self_preference import Preference


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparisons as plain JSON values, in their metric's unit; null for what cannot be said."""
    return {
        "confidence": comparison.confidence,
        "runs": [asdict(run) for run in comparison.runs],
        "pairs": [_json_pair(pair, *comparison.states_of(pair)) for pair in comparison.pairs],
        "judges": [_json_judges(pair) for pair in comparison.judges],
        "panels": [
            {
                "dataset": panel.dataset,
                "metric": panel.metric.name,
                "judges": list(panel.judges),
                "n": panel.n,
                "alpha": panel.alpha,
            }
            for panel in comparison.panels
        ],
        "preferences": [_json_preference(one) for one in comparison.preferences],
        "noises": [_json_noise(one) | _json_state(comparison, one) for one in comparison.noises],
        "lengths": [_json_length(one) | _json_state(comparison, one) for one in comparison.lengths],
    }


def _json_state(comparison: Comparison, one: JudgeNoise | LengthBias) -> dict[str, Any]:
    """Whether a cell's figures can be trusted, as JSON values."""
    state = comparison.state(one.model, one.setting, one.dataset, one.judge)
    return {
        "partial": state.is_partial,
        "answer_source": state.answer_source,
        "judge_source": state.judge_source,
    }


def _json_pair(pair: ComparedPair, first: CellState, second: CellState) -> dict[str, Any]:
    paired = pair.paired
    return {
        "by": pair.side,
        "dataset": pair.dataset,
        "judge": pair.judge,
        "within": pair.within,
        "first": pair.first,
        "second": pair.second,
        "first_self_judged": pair.first_self_judged,
        "second_self_judged": pair.second_self_judged,
        "first_partial": first.is_partial,
        "second_partial": second.is_partial,
        "first_source": first.answer_source,
        "second_source": second.answer_source,
        "judge_source": first.judge_source,
        "n": paired.n,
        "pictures": paired.num_clusters,
        "metric": pair.metric.name,
        "first_value": paired.first,
        "second_value": paired.second,
        "difference": paired.difference,
        "interval": _json_interval(paired.ci_low, paired.ci_high),
        "p": paired.p_value,
        "p_holm": pair.p_holm,
    }


def _json_judges(pair: JudgePair) -> dict[str, Any]:
    return {
        "dataset": pair.dataset,
        "metric": pair.metric.name,
        "first": pair.first,
        "second": pair.second,
        "cells": pair.num_cells,
        "n": pair.over_samples.n,
        "alpha": pair.alpha,
        "rho_samples": pair.over_samples.rho,
        "rho_cells": pair.over_cells.rho,
        "bias": pair.bias.difference,
        "bias_interval": _json_interval(pair.bias.ci_low, pair.bias.ci_high),
    }


def _json_preference(one: Preference) -> dict[str, Any]:
    bias = one.bias
    return {
        "dataset": one.dataset,
        "metric": one.metric.name,
        "judge": one.judge,
        "against": one.against,
        "family": one.family,
        "own": list(one.own),
        "others": list(one.others),
        "is_mutual": one.is_mutual,
        "n": bias.n,
        "own_bias": bias.first,
        "other_bias": bias.second,
        "difference": bias.difference,
        "interval": _json_interval(bias.ci_low, bias.ci_high),
        "p": bias.p_value,
    }


def _json_noise(one: JudgeNoise) -> dict[str, Any]:
    return {
        "model": one.model,
        "setting": one.setting,
        "dataset": one.dataset,
        "judge": one.judge,
        "metric": one.metric.name,
        **asdict(one.noise),
    }


def _json_length(length: LengthBias) -> dict[str, Any]:
    return {
        "model": length.model,
        "setting": length.setting,
        "dataset": length.dataset,
        "judge": length.judge,
        "n": length.correlation.n,
        "rho": length.correlation.rho,
        "interval": _json_interval(length.correlation.ci_low, length.correlation.ci_high),
    }


def _json_interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]
