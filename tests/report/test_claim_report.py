"""Pages and files of a verification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from eibench_ray.benchmarks.eibench.claim_page import render_markdown, render_verification, write_verification
from eibench_ray.benchmarks.eibench.claim_report import Verification, to_frame, to_json
from eibench_ray.benchmarks.eibench.claim_rule import compare_claim, decide, explain_rule
from eibench_ray.benchmarks.eibench.claims import CheckedClaim, Claim, find_contradictions
from eibench_ray.benchmarks.eibench.claims_file import read_claims
from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.errors import StoreError
from eibench_ray.scoring.cluster_mean import ClusterMean
from eibench_ray.scoring.metric_summary import MetricSummary

GOLDEN = Path(__file__).parent / "golden"


def claim(percent: str, emotion: str = "overall", samples: int = 1615, **names: str) -> Claim:
    chosen = {"dataset": "eibench_basic", "setting": "user_question", "model": "llava_next_7b", "judge": "llama3_8b"}
    figure = {"emotion": emotion, "percent": Decimal(percent), "samples": samples}
    return Claim(**chosen | names, **figure, label="LLaVA-NEXT (7B)", source="a paper")


def compare(claim: Claim, low: float, high: float) -> CheckedClaim:
    n, mean = claim.samples, (low + high) / 2
    estimate = ClusterMean(n, n, mean, (high - low) / 2 / 1.96, n - 1)
    found = MetricSummary(n, n, n, mean, low, high, bound_low=mean, bound_high=mean, estimate=estimate)
    return compare_claim(claim, found, RECALL)


def absent(claim: Claim, reason: str = "not in the run") -> CheckedClaim:
    return CheckedClaim(claim, reason)


def verification(*checked: CheckedClaim, published: Sequence[Claim] = (), remarks: Sequence[str] = ()) -> Verification:
    return Verification(tuple(decide(checked, 5.0)), tuple(find_contradictions(published)), tuple(remarks), 5.0)


NOTHING = MetricSummary(50, 0, 0, None, None, None, bound_low=0.0, bound_high=1.0)


@cache
def whole() -> Verification:
    """One of each kind; not while tests are collected, as it loads scipy."""
    return verification(
        compare(claim("58.80", setting="user_question_caption"), 0.57, 0.61),
        compare(claim("54.16", "happy", 91), 0.48, 0.6),
        compare(claim("43.71", "angry", 342), 0.48, 0.55),
        compare(claim("53.82"), 0.5241, 0.5533),
        absent(claim("39.68", "happy", 91, model="qwen_vl_chat")),
        absent(claim("33.65", model="qwen_vl_chat")),
        absent(claim("48.18", judge="chatgpt_3_5"), "the run has it judged by llama3_8b only"),
        compare_claim(claim("38.71", dataset="eibench_complex", samples=50), NOTHING, RECALL),
        absent(claim("28.00", "happy", 91, setting="cfsa"), "no setting"),
        compare(claim("50.00", setting="user_question_cot"), 0.515, 0.525),
        published=[claim("54.00", "happy", 91), claim("50.00", "angry", 1524), claim("53.82")],
        remarks=["judged in other words than the published judge's: a/b/c/d"],
    )


def terminal(shown: Verification, width: int) -> str:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(render_verification(shown))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_markdown_is_the_golden_text() -> None:
    assert render_markdown(whole()) == (GOLDEN / "verify.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_page_is_the_golden_text_at_any_width(width: int) -> None:
    text = terminal(whole(), width)
    assert text == (GOLDEN / f"verify_{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width


def test_what_was_replayed_or_made_up_is_marked() -> None:
    recorded = replace(whole().checked[3], answer_source="recorded")
    made_up = replace(absent(claim("33.65"), "made up: not asked of llama3_8b"), judge_source="made_up")
    page = verification(recorded, made_up)
    for text in (terminal(page, 160), render_markdown(page)):
        assert "llava_next_7b (recorded)" in text
        assert "llama3_8b (made up)" in text
        assert "(recorded): answers from a file" in text
        assert "(made up): words that no model said" in text
    assert "(made up)" not in terminal(whole(), 160)
    assert [one["answer_source"] for one in to_json(page)["claims"]] == ["recorded", "model"]
    assert to_frame(page)["judge_source"].to_list() == ["model", "made_up"]


def test_the_papers_table_has_a_line_per_cell_on_the_terminal_and_per_figure_in_files() -> None:
    paper = verification(*map(absent, read_claims()))
    assert terminal(paper, 160).count("unverified: not in the run") == 88
    assert render_markdown(paper).count("unverified: not in the run") == 336
    assert to_frame(paper).height == 336
    assert (
        "Headline: 26 rows (model x dataset), 52 figures: 0 verified, 0 not reproduced, 52 unverified (0 inconclusive, "
        "52 not compared)"
    ) in render_markdown(paper)


def test_json_is_plain_and_says_the_rule_and_the_counts() -> None:
    said = to_json(whole())
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["rule"] == explain_rule(5.0)
    assert said["margin"] == 0.05
    assert said["counts"] == {"verified": 3, "not reproduced": 1, "unverified": 6}
    assert said["outcomes"] == {"agrees": 2, "differs": 2, "inconclusive": 1, "not compared": 5}
    assert said["expected_false_alarms"] == 0.05
    assert said["headline"] == {"rows": 3, "counts": {"verified": 1, "not reproduced": 0, "unverified": 3}}
    assert said["claims"][3] == {
        "dataset": "eibench_basic",
        "setting": "user_question",
        "model": "llava_next_7b",
        "judge": "llama3_8b",
        "emotion": "overall",
        "headline": True,
        "claimed": 0.5382,
        "measured": pytest.approx(0.5387),
        "interval": [0.5241, 0.5533],
        "difference": pytest.approx(0.0005),
        "difference_interval": pytest.approx([-0.0169, 0.0179], abs=1e-4),
        "p_value": pytest.approx(0.967, abs=0.002),
        "p_holm": 1.0,
        "n": 1615,
        "scored": 1615,
        "clusters": 1615,
        "claimed_n": 1615,
        "status": "verified",
        "outcome": "agrees",
        "within_margin": True,
        "reason": "",
        "answer_source": "model",
        "judge_source": "model",
        "label": "LLaVA-NEXT (7B)",
        "source": "a paper",
    }
    absent = said["claims"][5]
    assert absent["reason"] == "not in the run"
    for key in ("measured", "interval", "difference", "difference_interval", "p_holm", "n", "outcome", "within_margin"):
        assert absent[key] is None
    (contradiction,) = said["contradictions"]
    assert (contradiction["claimed"], round(contradiction["expected"], 4)) == (0.5382, 0.5023)


def test_written_files_say_the_same_and_leave_no_drafts(tmp_path: Path) -> None:
    paths = write_verification(whole(), tmp_path / "run")
    assert [path.name for path in paths] == ["verify.md", "verify.csv"]
    assert sorted((tmp_path / "run").iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == render_markdown(whole())
    frame = to_frame(whole())
    assert pl.read_csv(paths[1], schema=frame.schema).equals(frame)
    assert frame["ci_low"].to_list()[3:6] == [0.5241, None, None]
    assert frame["difference_low"].to_list()[3:6] == [pytest.approx(-0.0169, abs=1e-4), None, None]


def test_the_false_alarms_to_expect_are_told_where_something_was_compared() -> None:
    assert "false alarms: 5 compared" in render_markdown(whole())
    nothing = verification(absent(claim("33.65")))
    assert "false alarms" not in render_markdown(nothing)
    assert to_json(nothing)["expected_false_alarms"] == 0


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"verify\.md cannot be written"):
        write_verification(whole(), tmp_path / "file")


def test_few_clusters_are_warned_of() -> None:
    assert "few clusters" not in render_markdown(whole())
    assert "few clusters" in render_markdown(verification(compare(claim("54.16", "happy", 9), 0.3, 0.7)))
