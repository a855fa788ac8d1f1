"""Judges that favour their own family: what is compared with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.scoring.interval import Resampling
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.self_preference import find_preferences

FEW = Resampling(0.95, 200)
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


def test_a_judge_that_favours_its_family_shows() -> None:
    cells = [
        cell("llama_judge", "llava", "llama", [0.9, 0.7, 0.8, NONE]),
        cell("llama_judge", "qwen_vl", "qwen", [0.5, 0.5, 0.5, 0.5]),
        cell("plain_judge", "llava", "llama", [0.5, 0.4, 0.6, 0.5]),
        cell("plain_judge", "qwen_vl", "qwen", [0.5, 0.5, 0.6, 0.5]),
    ]
    (found,) = find_preferences(cells, FEW)
    assert (found.judge, found.against, found.family) == ("llama_judge", "plain_judge", "llama")
    assert (found.own, found.others, found.is_mutual) == (("llava",), ("qwen_vl",), False)
    assert found.bias.n == 3
    assert found.bias.first == pytest.approx(0.3)
    assert found.bias.second == pytest.approx(-0.1 / 3)
    assert found.bias.difference == pytest.approx(1 / 3)
    assert found.bias.ci_low is not None
    assert found.bias.ci_low > 0


def test_a_mild_judge_is_no_partial_one() -> None:
    cells = [
        cell("llama_judge", "llava", "llama", [0.9, 0.7]),
        cell("llama_judge", "qwen_vl", "qwen", [0.8, 0.4]),
        cell("plain_judge", "llava", "llama", [0.7, 0.5]),
        cell("plain_judge", "qwen_vl", "qwen", [0.6, 0.2]),
    ]
    (found,) = find_preferences(cells, FEW)
    assert (found.bias.first, found.bias.second) == (pytest.approx(0.2), pytest.approx(0.2))
    assert found.bias.difference == pytest.approx(0)


def graded(judge: str, llama: float, gpt: float, qwen: float | None) -> list[ScoredCell]:
    """A judge's cells of three models, each with the same recall on two samples."""
    cells = [cell(judge, "llava", "llama", [llama] * 2), cell(judge, "gpt_4o", "gpt", [gpt] * 2)]
    return cells if qwen is None else [*cells, cell(judge, "qwen_vl", "qwen", [qwen] * 2)]


def test_the_other_judges_kin_is_left_out_where_there_are_strangers_to_both() -> None:
    """The GPT judge favours GPT by 0.2, the LLaMA judge nobody: only the former must show."""
    cells = [*graded("llama_judge", 0.5, 0.5, 0.5), *graded("gpt_judge", 0.5, 0.7, 0.5)]
    llama, gpt = find_preferences(cells, FEW)
    assert (llama.judge, llama.others, llama.is_mutual) == ("llama_judge", ("qwen_vl",), False)
    assert llama.bias.difference == pytest.approx(0)
    assert (gpt.judge, gpt.own, gpt.others) == ("gpt_judge", ("gpt_4o",), ("qwen_vl",))
    assert gpt.bias.difference == pytest.approx(0.2)


def test_without_strangers_the_preference_is_known_to_be_mutual() -> None:
    cells = [*graded("llama_judge", 0.6, 0.5, None), *graded("gpt_judge", 0.5, 0.7, None)]
    llama, gpt = find_preferences(cells, FEW)
    assert (llama.others, llama.is_mutual, gpt.is_mutual) == (("gpt_4o",), True, True)
    assert llama.bias.difference == gpt.bias.difference == pytest.approx(0.3)


def test_a_model_that_judges_itself_is_its_own_kin_without_a_family() -> None:
    cells = [
        cell("plain_judge", "itself", None, [1.0, 1.0], self_judged=True),
        cell("plain_judge", "other", None, [0.5, 0.5]),
        cell("gpt_judge", "itself", None, [0.5, 0.5]),
        cell("gpt_judge", "other", None, [0.5, 0.5]),
    ]
    (found,) = find_preferences(cells, FEW)
    assert (found.judge, found.family, found.own) == ("plain_judge", None, ("itself",))
    assert found.bias.difference == pytest.approx(0.5)


def test_nothing_is_said_without_kin_without_others_or_without_a_second_judge() -> None:
    strangers = [cell(judge, "qwen_vl", "qwen", [0.5, 0.5]) for judge in ("llama_judge", "plain_judge")]
    kin = [cell(judge, "llava", "llama", [0.5, 0.5]) for judge in ("llama_judge", "plain_judge")]
    alone = [cell("llama_judge", "llava", "llama", [0.5]), cell("llama_judge", "qwen_vl", "qwen", [0.5])]
    for cells in (strangers, kin, alone):
        assert find_preferences(cells, FEW) == []


def test_samples_without_both_verdicts_leave_dashes_not_warnings() -> None:
    cells = [
        cell("llama_judge", "llava", "llama", [NONE, NONE]),
        cell("llama_judge", "qwen_vl", "qwen", [0.5, 0.5]),
        cell("plain_judge", "llava", "llama", [0.5, 0.4]),
        cell("plain_judge", "qwen_vl", "qwen", [0.5, 0.5]),
    ]
    (found,) = find_preferences(cells, FEW)
    assert (found.bias.n, found.bias.difference) == (0, None)
