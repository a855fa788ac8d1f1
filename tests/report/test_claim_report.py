"""What is shown and written of a verification."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from eibench_ray.benchmarks.eibench.claim_page import render_markdown, render_verification, write_verification
from eibench_ray.benchmarks.eibench.claim_report import Verification, to_frame, to_json
from eibench_ray.benchmarks.eibench.claims import (
    RULE,
    CheckedClaim,
    Claim,
    ClaimStatus,
    check_claim,
    find_contradictions,
)
from eibench_ray.benchmarks.eibench.claims_file import read_claims
from eibench_ray.errors import StoreError
from eibench_ray.scoring.metric_summary import MetricSummary

GOLDEN = Path(__file__).parent / "golden"


def claim(percent: str, emotion: str = "overall", samples: int = 1615, **names: str) -> Claim:
    chosen = {"dataset": "eibench_basic", "setting": "user_question", "model": "llava_next_7b", "judge": "llama3_8b"}
    figure = {"emotion": emotion, "percent": Decimal(percent), "samples": samples}
    return Claim(**chosen | names, **figure, label="LLaVA-NEXT (7B)", source="a paper")


def compare(claim: Claim, low: float, high: float) -> CheckedClaim:
    n = claim.samples
    return check_claim(claim, MetricSummary(n, n, n, (low + high) / 2, low, high, bound_low=low, bound_high=high))


def absent(claim: Claim, reason: str = "not in the run") -> CheckedClaim:
    return CheckedClaim(claim, ClaimStatus.UNVERIFIED, reason)


CHECKED = (
    compare(claim("58.80", setting="user_question_caption"), 0.57, 0.61),
    compare(claim("54.16", "happy", 91), 0.48, 0.6),
    compare(claim("43.71", "angry", 342), 0.45, 0.52),
    compare(claim("53.82"), 0.5241, 0.5533),
    absent(claim("39.68", "happy", 91, model="qwen_vl_chat")),
    absent(claim("33.65", model="qwen_vl_chat")),
    absent(claim("48.18", judge="chatgpt_3_5"), "the run has it judged by llama3_8b only"),
    check_claim(
        claim("38.71", dataset="eibench_complex", samples=50), MetricSummary(50, 0, 0, None, None, None, 0.0, 1.0)
    ),
    absent(claim("28.00", "happy", 91, setting="cfsa"), "no setting"),
)
VERIFICATION = Verification(
    CHECKED,
    tuple(find_contradictions([claim("54.00", "happy", 91), claim("50.00", "angry", 1524), claim("53.82")])),
    ("judged in other words than the published judge's: a/b/c/d",),
)


def terminal(verification: Verification, width: int) -> str:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(render_verification(verification))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_markdown_is_the_golden_text() -> None:
    assert render_markdown(VERIFICATION) == (GOLDEN / "verify.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_page_is_the_golden_text_at_any_width(width: int) -> None:
    text = terminal(VERIFICATION, width)
    assert text == (GOLDEN / f"verify_{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width


def test_what_was_replayed_or_made_up_is_marked() -> None:
    recorded = replace(CHECKED[3], answer_source="replay")
    made_up = replace(absent(claim("33.65"), "made up: echo takes the place of llama3_8b"), judge_source="echo")
    page = Verification((recorded, made_up), (), ())
    for text in (terminal(page, 160), render_markdown(page)):
        assert "llava_next_7b (replayed)" in text
        assert "llama3_8b (echo)" in text
        assert "(replayed): recorded answers" in text
        assert "(echo): words that no model said" in text
    assert "(echo)" not in terminal(VERIFICATION, 160)
    assert [one["answer_source"] for one in to_json(page)["claims"]] == ["replay", "model"]
    assert to_frame(page)["judge_source"].to_list() == ["model", "echo"]


def test_the_papers_table_has_a_line_per_cell_on_the_terminal_and_per_figure_in_files() -> None:
    paper = Verification(tuple(absent(claim) for claim in read_claims()), (), ())
    assert terminal(paper, 110).count("unverified: not in the run") == 88
    assert render_markdown(paper).count("unverified: not in the run") == 336
    assert to_frame(paper).height == 336
    assert "Headline: 26 rows (model x dataset), 52 figures: 0 verified, 0 not reproduced, 52 unverified" in (
        render_markdown(paper)
    )


def test_json_is_plain_and_says_the_rule_and_the_counts() -> None:
    said = to_json(VERIFICATION)
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["rule"] == RULE
    assert said["counts"] == {"verified": 3, "not reproduced": 1, "unverified": 5}
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
        "n": 1615,
        "num_scored": 1615,
        "claimed_n": 1615,
        "status": "verified",
        "reason": "",
        "answer_source": "model",
        "judge_source": "model",
        "label": "LLaVA-NEXT (7B)",
        "source": "a paper",
    }
    assert [said["claims"][5][key] for key in ("measured", "interval", "n", "reason")] == [
        None,
        None,
        None,
        "not in the run",
    ]
    (contradiction,) = said["contradictions"]
    assert (contradiction["claimed"], round(contradiction["expected"], 4)) == (0.5382, 0.5023)


def test_written_files_say_the_same_and_leave_no_drafts(tmp_path: Path) -> None:
    paths = write_verification(VERIFICATION, tmp_path / "run")
    assert [path.name for path in paths] == ["verify.md", "verify.csv"]
    assert sorted((tmp_path / "run").iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == render_markdown(VERIFICATION)
    frame = to_frame(VERIFICATION)
    assert pl.read_csv(paths[1], schema=frame.schema).equals(frame)
    assert frame["ci_low"].to_list()[3:6] == [0.5241, None, None]


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"verify\.md cannot be written"):
        write_verification(VERIFICATION, tmp_path / "file")
