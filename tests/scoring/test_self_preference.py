"""Judges that favour their own family: what is compared with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.self_preference import Preference, find_preferences

CONFIDENCE = 0.95
NONE = float("nan")
FAMILIES = {"llama_judge": "llama", "gpt_judge": "gpt", "plain_judge": None}


def cell(judge: str, model: str, family: str | None, recall: list[float], **changes: Any) -> ScoredCell:
    return ScoredCell(
        **{
            "model": model,
            "setting": "plain",
            "dataset": "faces",
            "judge": judge,
            "self_judged": False,
            "answers": f"answers of {model}",
            "metric": RECALL,
            "values": np.array(recall),
            "words": np.ones(len(recall)),
            "clusters": np.arange(len(recall), dtype=np.int32),
            "family": family,
            "judge_family": FAMILIES[judge],
        }
        | changes
    )


def grade(
    rng: np.random.Generator,
    preference: float = 0.0,
    n: int = 1615,
    own: Sequence[float] = (0.65, 0.6),
    others: Sequence[float] = (0.3, 0.4, 0.45, 0.5),
) -> list[ScoredCell]:
    """Cells of a LLaMA judge, which uses 20 to 80% of the scale, and of one without a family.

    Both name each of a sample's 4 or 5 triggers with that chance. Samples differ in difficulty, 3% of the verdicts are
    missing, and two samples in three share their picture with another.
    """
    clusters = np.sort(rng.integers(0, 2 * n // 3, n)).astype(np.int32)
    difficulty = rng.normal(0, 0.1, n)[clusters] + rng.normal(0, 0.1, n)
    totals = rng.integers(4, 6, n)
    cells = []
    for number, mean in enumerate((*own, *others)):
        family = "llama" if number < len(own) else "qwen"
        quality = np.clip(mean + difficulty + rng.normal(0, 0.1, n), 0.02, 0.98)
        chances = {"llama_judge": 0.2 + 0.6 * quality + preference * (family == "llama"), "plain_judge": quality}
        for judge, chance in chances.items():
            recall = np.where(rng.random(n) < 0.03, NONE, rng.binomial(totals, chance) / totals)
            cells.append(cell(judge, f"model {number}", family, recall.tolist(), clusters=clusters))
    return cells


def simulate(preference: float, datasets: int, **changes: Any) -> list[Preference]:
    rng = np.random.default_rng(17)
    return [find_preferences(grade(rng, preference, **changes), 0.95)[0] for _ in range(datasets)]


def test_a_narrow_scale_is_no_preference() -> None:
    """Own answers are 21 points better, so that the narrow judge grants them 8 points less than it seems it should.

    150 datasets: the share of false alarms has a standard error of 0.018, that of the mean is 0.1 points.
    """
    found = simulate(0.0, 150)
    assert np.mean([one.slope for one in found if one.slope]) == pytest.approx(0.6, abs=0.01)
    assert np.mean([one.excess.difference for one in found]) == pytest.approx(0, abs=0.004)
    assert np.mean([(one.excess.p_value or 0) < 0.05 for one in found]) <= 0.10
    covered = [one.excess.ci_low is not None and one.excess.ci_low <= 0 <= one.excess.ci_high for one in found]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_a_preference_of_five_points_is_found() -> None:
    found = simulate(0.05, 50)
    assert np.mean([one.excess.difference for one in found]) == pytest.approx(0.05, abs=0.005)
    assert np.mean([(one.excess.p_value or 1) < 0.05 for one in found]) >= 0.9


def test_cells_of_one_quality_tell_no_slope() -> None:
    (found, *_) = simulate(0.05, 1, own=(0.6,), others=(0.5, 0.5))
    assert (found.slope, found.excess.n, found.excess.difference) == (None, 0, None)


def test_a_judge_that_favours_its_family_shows() -> None:
    """Two other models say how the judges' scales compare: 0.1 + 0.5 x. Own answers of 0.5 are granted 0.65."""
    cells = [
        *both("llava", "llama", [0.65, 0.6, 0.7, NONE], [0.5, 0.4, 0.6, 0.5]),
        *both("qwen_vl", "qwen", [0.3, 0.3, 0.3, 0.3], [0.4, 0.4, 0.4, 0.4]),
        *both("intern_vl", "intern", [0.5, 0.5, 0.5, 0.5], [0.8, 0.8, 0.8, 0.8]),
    ]
    (found,) = find_preferences(cells, CONFIDENCE)
    assert (found.judge, found.against, found.family) == ("llama_judge", "plain_judge", "llama")
    assert (found.own, found.others, found.is_mutual) == (("llava",), ("qwen_vl", "intern_vl"), False)
    assert found.slope == pytest.approx(0.5)
    assert found.excess.n == 4
    assert found.excess.first == pytest.approx(0.65)
    assert found.excess.second == pytest.approx(0.1 + 0.5 * 0.5)
    assert found.excess.difference == pytest.approx(0.3)


def both(model: str, family: str, mine: list[float], theirs: list[float]) -> list[ScoredCell]:
    """The cells of the LLaMA judge and of the one without a family."""
    return [cell("llama_judge", model, family, mine), cell("plain_judge", model, family, theirs)]


def graded(judge: str, **recall: float) -> list[ScoredCell]:
    """A judge's cells of models named by their family, each with the same recall on two samples."""
    return [
        cell(judge, family, family.split("_")[0], [value] * 2, answers=f"answers of {family}")
        for family, value in recall.items()
    ]


def test_the_other_judges_kin_is_left_out_where_there_are_strangers_to_both() -> None:
    """The GPT judge favours GPT by 0.2, the LLaMA judge nobody: only the former must show."""
    cells = [
        *graded("llama_judge", llama=0.5, gpt=0.5, qwen=0.5, qwen_72b=0.7),
        *graded("gpt_judge", llama=0.5, gpt=0.7, qwen=0.5, qwen_72b=0.7),
    ]
    llama, gpt = find_preferences(cells, CONFIDENCE)
    assert (llama.judge, llama.others, llama.is_mutual) == ("llama_judge", ("qwen", "qwen_72b"), False)
    assert llama.excess.difference == pytest.approx(0)
    assert (gpt.judge, gpt.own, gpt.others) == ("gpt_judge", ("gpt",), ("qwen", "qwen_72b"))
    assert gpt.excess.difference == pytest.approx(0.2)


def test_without_strangers_the_preference_is_known_to_be_mutual() -> None:
    cells = [
        *graded("llama_judge", llama=0.6, llama_70b=0.8, gpt=0.5),
        *graded("gpt_judge", llama=0.5, llama_70b=0.7, gpt=0.7),
    ]
    llama, gpt = find_preferences(cells, CONFIDENCE)
    assert (llama.others, llama.is_mutual, gpt.is_mutual) == (("gpt",), True, True)
    assert llama.excess.difference == pytest.approx(0.3)
    assert gpt.excess.difference == pytest.approx(0.3)


def test_a_model_that_judges_itself_is_its_own_kin_without_a_family() -> None:
    cells = [
        cell("plain_judge", "itself", None, [1.0, 1.0], self_judged=True),
        cell("plain_judge", "other", None, [0.5, 0.5]),
        cell("plain_judge", "weak", None, [0.2, 0.2]),
        cell("gpt_judge", "itself", None, [0.5, 0.5]),
        cell("gpt_judge", "other", None, [0.5, 0.5]),
        cell("gpt_judge", "weak", None, [0.2, 0.2]),
    ]
    (found,) = find_preferences(cells, CONFIDENCE)
    assert (found.judge, found.family, found.own) == ("plain_judge", None, ("itself",))
    assert found.excess.difference == pytest.approx(0.5)


def test_nothing_is_said_without_kin_without_others_or_without_a_second_judge() -> None:
    strangers = [cell(judge, "qwen_vl", "qwen", [0.5, 0.5]) for judge in ("llama_judge", "plain_judge")]
    kin = [cell(judge, "llava", "llama", [0.5, 0.5]) for judge in ("llama_judge", "plain_judge")]
    alone = [cell("llama_judge", "llava", "llama", [0.5]), cell("llama_judge", "qwen_vl", "qwen", [0.5])]
    for cells in (strangers, kin, alone):
        assert find_preferences(cells, CONFIDENCE) == []


def test_samples_without_both_verdicts_leave_dashes_not_warnings() -> None:
    cells = [
        cell("llama_judge", "llava", "llama", [NONE, NONE]),
        cell("llama_judge", "qwen_vl", "qwen", [0.5, 0.5]),
        cell("plain_judge", "llava", "llama", [0.5, 0.4]),
        cell("plain_judge", "qwen_vl", "qwen", [0.5, 0.5]),
    ]
    (found,) = find_preferences(cells, CONFIDENCE)
    assert (found.slope, found.excess.n, found.excess.difference) == (None, 0, None)
