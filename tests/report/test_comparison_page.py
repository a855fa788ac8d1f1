"""The comparisons' tables, whole: what stands out, what is a dash, and which notes belong below."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.errors import StoreError
from eibench_ray.report.comparison_page import render_comparison, render_comparison_markdown, write_comparison
from eibench_ray.report.comparison_sections import to_sections
from eibench_ray.report.comparison_values import to_json
from eibench_ray.scoring.cell_comparison import (
    CellNoise,
    CellState,
    ComparedPair,
    Comparison,
    Family,
    LengthBias,
    NamedRun,
)
from eibench_ray.scoring.judge_agreement import JudgePair, JudgePanel
from eibench_ray.scoring.paired_tests import PairedDifference
from eibench_ray.scoring.rank_correlation import RankCorrelation
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.self_preference import Preference

GOLDEN = Path(__file__).parent / "golden"

CLEAR = ComparedPair(
    side="model",
    dataset="eibench_basic",
    judge="llama3_8b_strict",
    metric=RECALL,
    within="user_question_caption",
    first="llava_next_34b",
    second="llama3_8b",
    first_self_judged=False,
    second_self_judged=True,
    paired=PairedDifference(1615, 1615, 0.5123, 0.4321, 0.0802, 0.0611, 0.0993, 2e-17),
    p_holm=6e-17,
)
NOTHING = PairedDifference(0, 0, None, None, None, None, None, None)
PAIRS = (
    CLEAR,
    replace(
        CLEAR,
        within="user_question",
        paired=PairedDifference(1600, 1600, 0.43, 0.45, -0.02, -0.041, 0.001, 0.0613),
        p_holm=0.0613,
    ),
    replace(CLEAR, second="a|b", second_self_judged=False, paired=NOTHING, p_holm=None),
    replace(
        CLEAR,
        side="setting",
        within="llama3_8b",
        first="user_question",
        second="user_question_caption",
        first_self_judged=True,
        paired=PairedDifference(1, 1, 0.5, 0.5, 0.0, None, None, 1.0),
        p_holm=1.0,
    ),
)
JUDGES = JudgePair(
    dataset="eibench_basic",
    metric=RECALL,
    first="llama3_8b_strict",
    second="gpt_4o_mini_strict",
    num_cells=6,
    alpha=0.7123,
    over_samples=RankCorrelation(9690, 0.734),
    over_cells=RankCorrelation(6, 0.943),
    bias=PairedDifference(9690, 1615, 0.48, 0.45, 0.03, 0.021, 0.039, 1e-5),
)
WHOLE = Comparison(
    pairs=PAIRS,
    judges=(
        JUDGES,
        replace(
            JUDGES,
            second="echo",
            num_cells=1,
            alpha=None,
            over_samples=RankCorrelation(2, None),
            over_cells=RankCorrelation(1, None),
            bias=NOTHING,
        ),
    ),
    panels=(JudgePanel("eibench_basic", RECALL, ("llama3_8b_strict", "gpt_4o_mini_strict", "echo"), 9690, -0.02),),
    lengths=tuple(
        LengthBias(model, "user_question", "eibench_basic", judge, correlation)
        for model, correlation in (
            ("llava_next_34b", RankCorrelation(1615, 0.314, 0.266, 0.361)),
            ("llama3_8b", RankCorrelation(12, None)),
        )
        for judge in ("llama3_8b_strict", "echo")
    ),
    confidence=0.95,
)
EMPTY = Comparison((), (), (), (), 0.9)


def printed(comparison: Comparison, width: int = 110) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(render_comparison(comparison))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_the_markdown_is_the_golden_one() -> None:
    assert render_comparison_markdown(WHOLE) == (GOLDEN / "compare.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_shows_the_golden_tables_at_any_width(width: int) -> None:
    text = printed(WHOLE, width)
    assert text == (GOLDEN / f"compare_{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width


def test_only_lines_below_the_adjusted_level_stand_out() -> None:
    console = Console(width=200, force_terminal=True, color_system="standard", legacy_windows=False)
    with console.capture() as captured:
        console.print(render_comparison(WHOLE))
    lines = captured.get().splitlines()
    strong = [line for line in lines if "\x1b[1m" in line and "to" in line]
    assert ["+8.0" in line for line in strong] == [True]


def test_a_p_value_has_two_significant_digits_and_is_not_bold_at_its_level() -> None:
    """1 - 0.95 is 0.050000000000000044: below that, 0.05 would lie."""
    p_values = [0.05, 0.05 * (1 + 1e-12), 0.0499, 0.0996, 0.00000123, 9.9e-7, 1.0]
    (section, *_) = to_sections(
        replace(EMPTY, pairs=tuple(replace(CLEAR, p_holm=p) for p in p_values), confidence=0.95)
    )
    assert [line[8] for line in section.lines] == ["0.050", "0.050", "0.050", "0.10", "1.2e-06", "<1e-6", "1.0"]
    assert section.strong == {2, 4, 5}


@pytest.mark.parametrize("family", ["table", "all"])
def test_notes_say_over_which_lines_p_is_adjusted_and_when_it_can_say_nothing(family: Family) -> None:
    text = " ".join(printed(replace(WHOLE, family=family)).split())
    assert ("all 3 lines of all tables of pairs" in text) == (family == "all")
    assert ("the lines of its table, not of all tables" in text) == (family == "table")
    assert "with fewer than 6 pictures p cannot be below 0.05: it is at least 2 / 2^n" in text
    assert (
        f"with fewer than 7 pictures p (Holm) cannot be below 0.05 if all {3 if family == 'all' else 2} lines" in text
    )
    assert "pictures p cannot be" not in printed(replace(WHOLE, pairs=(CLEAR,)))
    assert to_json(replace(WHOLE, family=family))["family"] == family


# The first cell of the clear pair rests on a part of its samples, the second cell of the next on nobody's words.
DOUBTFUL = replace(
    WHOLE,
    pairs=(CLEAR, replace(CLEAR, second="gpt_7", second_self_judged=False), replace(CLEAR, within="user_question")),
    states={
        ("llama3_8b", "user_question_caption", "eibench_basic", "llama3_8b_strict"): CellState(is_partial=True),
        ("gpt_7", "user_question_caption", "eibench_basic", "llama3_8b_strict"): CellState(answer_source="made_up"),
        ("llava_next_34b", "user_question", "eibench_basic", "echo"): CellState(judge_source="made_up"),
        ("llama3_8b", "user_question", "eibench_basic", "gpt_4o_mini_strict"): CellState(judge_source="recorded"),
    },
    runs=(NamedRun("A", "20260101-0001", "before", "/runs/1"), NamedRun("B", "20260102-0001", "after", "/runs/2")),
)


def test_partial_and_made_up_figures_are_marked_stand_last_and_are_never_bold() -> None:
    text = printed(DOUBTFUL, 140)
    names = [" ".join(line.split()) for line in text.splitlines() if "+6.1 to +9.9" in line]
    assert [line.split(" 51.2 ")[0] for line in names] == [
        "user_question llava_next_34b llama3_8b*",
        "user_question_caption llava_next_34b llama3_8b* (partial)",
        "user_question_caption llava_next_34b gpt_7 (made up)",
    ]
    (models, *_) = to_sections(DOUBTFUL)
    assert models.strong == {0}
    assert "gpt_4o_mini_strict (recorded)" in text
    notes = " ".join(text.split())
    for note in (
        "(partial): not all samples are asked yet",
        "(made up): words that no model said",
        "(recorded): ",
    ):
        assert note in notes
        assert note in render_comparison_markdown(DOUBTFUL)
    assert "runs: A: before (20260101-0001); B: after (20260102-0001); a letter stands" in notes
    values = to_json(DOUBTFUL)
    assert [run["letter"] for run in values["runs"]] == ["A", "B"]
    assert [(pair["second_partial"], pair["second_source"]) for pair in values["pairs"]] == [
        (True, "model"),
        (False, "made_up"),
        (False, "model"),
    ]


def test_several_runs_are_written_beside_a_runs_own_comparison(tmp_path: Path) -> None:
    write_comparison(WHOLE, tmp_path)
    write_comparison(DOUBTFUL, tmp_path)
    names = ["compare.json", "compare.md", "compare_runs.json", "compare_runs.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_nothing_to_compare_is_said() -> None:
    text = render_comparison_markdown(EMPTY)
    assert "no pair is compared" in text
    assert "agreement is not known" in text
    assert "|" not in text
    assert "no pair is compared" in printed(EMPTY)


PARTIAL = Preference(
    dataset="eibench_basic",
    metric=RECALL,
    judge="llama3_8b_strict",
    against="gpt_4o_mini_strict",
    family="llama",
    own=("llava_next_34b", "llava_next_7b"),
    others=("qwen2_5_vl_7b",),
    is_mutual=False,
    slope=0.61,
    excess=PairedDifference(1610, 1610, 0.581, 0.532, 0.049, 0.031, 0.067, 4e-6),
)
RELATED = replace(
    EMPTY,
    preferences=(PARTIAL, replace(PARTIAL, family=None, is_mutual=True, slope=None, excess=NOTHING)),
    noises=tuple(
        CellNoise(model, "user_question", "eibench_basic", judge, RECALL, noise)
        for model, noise in (
            ("llava_next_34b", RepeatNoise(3, 1600, 0.00712, 0.234, 0.087)),
            ("llama3_8b", RepeatNoise(3, 0, None, None, None)),
        )
        for judge in ("llama3_8b_strict", "echo")
    ),
)


def test_what_judges_favour_is_a_table_of_its_own() -> None:
    text = printed(RELATED)
    for figure in ("Judges and their own family: eibench_basic", "58.1", "53.2", "+4.9", "+3.1 to +6.7", "4.0e-06"):
        assert figure in text
        assert figure in render_comparison_markdown(RELATED)
    assert "1+" in text
    assert "+: the others are the other judge's own family" in text
    assert "+: the others" not in printed(replace(RELATED, preferences=(PARTIAL,)))
    first, second = to_json(RELATED)["preferences"]
    assert first["own"] == ["llava_next_34b", "llava_next_7b"]
    assert (first["difference"], first["interval"]) == (0.049, [0.031, 0.067])
    assert (second["is_mutual"], second["difference"], second["interval"]) == (True, None, None)


def test_a_judges_noise_is_a_table_of_its_own() -> None:
    text = printed(RELATED)
    assert [text.count(f"Repeats: eibench_basic judged by {judge}\n") for judge in ("llama3_8b_strict", "echo")] == [
        1,
        1,
    ]
    for figure in ("Repeats: eibench_basic judged by llama3_8b_strict", "0.71", "23.4", "8.7", "1600"):
        assert figure in text
        assert figure in render_comparison_markdown(RELATED)
    assert "(1 - ICC)" in text
    assert "Repeats" not in printed(WHOLE)
    assert to_json(RELATED)["noises"][0]["variance_share"] == 0.087
    assert max(map(len, text.splitlines())) <= 110


def test_values_are_plain_and_null_where_nothing_can_be_said() -> None:
    values = json.loads(json.dumps(to_json(WHOLE), allow_nan=False))
    assert list(values) == [
        "confidence",
        "family",
        "runs",
        "pairs",
        "judges",
        "panels",
        "preferences",
        "noises",
        "tournaments",
        "calibrations",
        "labels",
        "lengths",
    ]
    assert values["pairs"][0]["interval"] == [0.0611, 0.0993]
    assert (values["pairs"][2]["n"], values["pairs"][2]["interval"], values["pairs"][2]["p"]) == (0, None, None)
    assert (values["judges"][0]["alpha"], values["judges"][1]["alpha"]) == (0.7123, None)
    assert values["lengths"][2] == {
        "model": "llama3_8b",
        "setting": "user_question",
        "dataset": "eibench_basic",
        "judge": "llama3_8b_strict",
        "n": 12,
        "rho": None,
        "interval": None,
        "partial": False,
        "answer_source": "model",
        "judge_source": "model",
    }


def test_files_are_written_together(tmp_path: Path) -> None:
    markdown, values = write_comparison(WHOLE, tmp_path / "run")
    assert markdown.read_text(encoding="utf-8") == render_comparison_markdown(WHOLE)
    assert json.loads(values.read_text()) == to_json(WHOLE)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["compare.json", "compare.md"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreError, match=r"compare\.md cannot be written"):
        write_comparison(WHOLE, tmp_path / "run")
