"""The comparisons of a run as plain values, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eibench_ray.scoring.calibration import Calibration
    from eibench_ray.scoring.cell_comparison import CellNoise, ComparedPair, Comparison, LengthBias
    from eibench_ray.scoring.judge_agreement import JudgePair
    from eibench_ray.scoring.paired_tests import PairedDifference
    from eibench_ray.scoring.self_preference import Preference
    from eibench_ray.scoring.tournament import Tournament


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparisons as plain JSON values, in their metric's unit; null for what cannot be said."""
    return {
        "confidence": comparison.confidence,
        "family": comparison.family,
        "runs": [asdict(run) for run in comparison.runs],
        "pairs": [_json_pair(pair, comparison) for pair in comparison.pairs],
        "judges": [_json_judges(pair) for pair in comparison.judges],
        "panels": [
            _pick(panel, "dataset", "n", "alpha") | {"metric": panel.metric.name, "judges": list(panel.judges)}
            for panel in comparison.panels
        ],
        "preferences": [_json_preference(one) for one in comparison.preferences],
        "noises": [_json_cell(one, comparison) | _json_noise(one) for one in comparison.noises],
        "tournaments": [_json_tournament(one) for one in comparison.tournaments],
        "calibrations": [_json_calibration(one) for one in comparison.calibrations],
        "labels": asdict(comparison.labels) if comparison.labels else None,
        "lengths": [
            _json_cell(one, comparison) | _pick(one.correlation, "n", "rho") | {"interval": _interval(one.correlation)}
            for one in comparison.lengths
        ],
    }


def _json_cell(one: CellNoise | LengthBias, comparison: Comparison) -> dict[str, Any]:
    """A cell, and how far its figures can be trusted."""
    state = comparison.state(one.model, one.setting, one.dataset, one.judge)
    return {
        **_pick(one, "model", "setting", "dataset", "judge"),
        "partial": state.is_partial,
        **_pick(state, "answer_source", "judge_source"),
    }


def _json_pair(pair: ComparedPair, comparison: Comparison) -> dict[str, Any]:
    first, second = comparison.states_of(pair)
    names = ("dataset", "judge", "within", "first", "second", "first_self_judged", "second_self_judged", "p_holm")
    return {
        "by": pair.side,
        **_pick(pair, *names),
        "first_partial": first.is_partial,
        "second_partial": second.is_partial,
        "first_source": first.answer_source,
        "second_source": second.answer_source,
        "judge_source": first.judge_source,
        "n": pair.paired.n,
        "clusters": pair.paired.num_clusters,
        "metric": pair.metric.name,
        "first_value": pair.paired.first,
        "second_value": pair.paired.second,
        **_json_difference(pair.paired),
    }


def _json_judges(pair: JudgePair) -> dict[str, Any]:
    return {
        **_pick(pair, "dataset", "first", "second", "alpha"),
        "metric": pair.metric.name,
        "cells": pair.num_cells,
        "n": pair.over_samples.n,
        "rho_samples": pair.over_samples.rho,
        "rho_cells": pair.over_cells.rho,
        "bias": pair.bias.difference,
        "bias_interval": _interval(pair.bias),
    }


def _json_noise(one: CellNoise) -> dict[str, Any]:
    return {"of": one.of, "metric": one.metric.name, **asdict(one.noise), "sd_of_mean": one.noise.sd_of_mean}


def _json_preference(one: Preference) -> dict[str, Any]:
    return {
        **_pick(one, "dataset", "judge", "against", "family", "is_mutual", "slope"),
        "metric": one.metric.name,
        "own": list(one.own),
        "others": list(one.others),
        "n": one.excess.n,
        "own_score": one.excess.first,
        "expected_score": one.excess.second,
        **_json_difference(one.excess),
    }


def _json_tournament(one: Tournament) -> dict[str, Any]:
    standings = one.standings
    return {
        **_pick(one, "dataset", "judge"),
        "groups": [
            [
                {
                    **_pick(one.contestants[found.player], "model", "setting"),
                    "strength": found.value,
                    "strength_interval": found.interval and [found.interval.low, found.interval.high],
                    "rating": found.rating,
                    "rating_interval": (span := found.rating_interval) and [span.low, span.high],
                    "n": found.n,
                    "clusters": found.num_clusters,
                }
                for found in group
            ]
            for group in standings.groups
        ],
        "won_all": [{"winners": list(won), "losers": list(lost)} for won, lost in standings.won_all],
        "apart": [list(part) for part in standings.apart] if len(standings.apart) > 1 else [],
        "centre": standings.centre,
    }


def _json_calibration(one: Calibration) -> dict[str, Any]:
    return {
        **_pick(one, "dataset", "judge", "model"),
        "metric": one.metric.name,
        "labels": one.num_labels,
        "n": one.bias.n,
        "clusters": one.bias.num_clusters,
        "accuracy": one.accuracy and one.accuracy.value,
        "accuracy_interval": one.accuracy and _interval(one.accuracy),
        "alpha": one.alpha and one.alpha.value,
        "alpha_interval": one.alpha and _interval(one.alpha),
        "score": one.bias.first,
        "label": one.bias.second,
        "bias": one.bias.difference,
        "bias_interval": _interval(one.bias),
    }


def _json_difference(paired: PairedDifference) -> dict[str, Any]:
    return {"difference": paired.difference, "interval": _interval(paired), "p": paired.p_value}


def _interval(of: Any) -> list[float] | None:
    return None if of.ci_low is None or of.ci_high is None else [of.ci_low, of.ci_high]


def _pick(of: object, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}
