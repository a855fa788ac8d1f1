import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.errors import StoreError
from eibench_ray.report.leaderboard import render_markdown, render_table
from eibench_ray.report.leaderboard_files import to_frame, to_json_rows, write_leaderboard
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.runs.tracked_cells import flat_scores
from eibench_ray.scoring.cell_score import CellScore, MetricScore
from eibench_ray.scoring.metric_summary import MetricSummary
from eibench_ray.scoring.repeat_noise import RepeatNoise

GOLDEN = Path(__file__).parent / "golden"


def recall(value: float | None, n: int = 100, num_scored: int | None = None, spread: float = 0.05) -> MetricSummary:
    scored = n if num_scored is None else num_scored
    low = 0.0 if value is None else value * scored / n
    return MetricSummary(
        n=n,
        num_scored=scored,
        num_clusters=scored - scored // 10,
        value=value,
        ci_low=None if value is None else value - spread,
        ci_high=None if value is None else value + spread,
        bound_low=low,
        bound_high=low + (n - scored) / n,
        bound_ci_low=max(low - 0.01, 0.0),
        bound_ci_high=min(low + (n - scored) / n + 0.01, 1.0),
    )


def score(
    overall: MetricSummary, emotions: Mapping[str, MetricSummary], statuses: Mapping[str, int], **more: Any
) -> CellScore:
    return CellScore((MetricScore(RECALL, overall, {"emotion": emotions}),), statuses, **{"confidence": 0.95} | more)


def with_overall(row: LeaderboardRow, overall: MetricSummary) -> CellScore:
    return replace(row.score, metrics=(replace(row.score.metrics[0], overall=overall),))


FULL = LeaderboardRow(
    model="llava_next_7b",
    setting="user_question_caption",
    dataset="eibench_basic",
    judge="llama3_8b",
    sees_image=True,
    self_judged=False,
    score=score(
        recall(0.4321, 1615, spread=0.0123),
        {"angry": recall(0.411, 342), "excitement": recall(0.45, 720), "happy": recall(0.5, 91)},
        {"ok": 1615},
    ),
    errors=0,
)
PARTIAL = replace(
    FULL,
    model="smollm2_135m",
    setting="user_question",
    sees_image=False,
    score=score(
        recall(0.1, 1615, 1614),
        {"angry": recall(0.08, 342, 341), "excitement": recall(0.05, 720), "happy": recall(0.06, 91)},
        {"ok": 1614, "unparsed": 1},
    ),
    errors=3,
)
UNSCORED = replace(
    FULL,
    model="qwen_vl_chat",
    score=score(recall(None, 1615, 0), {}, {"unparsed": 15, "no_answer": 1600}),
    errors=1600,
)
COMPLEX = replace(
    FULL,
    dataset="eibench_complex",
    judge="smollm2_135m",
    score=score(recall(0.5, 50), {"fear": recall(0.5, 4), "happy": recall(0.5, 46)}, {"ok": 50}),
)
ITSELF = replace(COMPLEX, model="smollm2_135m", setting="user_question", sees_image=False, self_judged=True)
ROWS = [ITSELF, UNSCORED, PARTIAL, COMPLEX, FULL]

# What a reader must not take for a bad, or a good, model.
CUT_OFF = replace(FULL, model="cut_off", truncated=52, empty=3, judge_truncated=7, judge_fallbacks=1, calls_truncated=9)
BEGUN = replace(
    FULL,
    model="begun",
    score=replace(with_overall(FULL, recall(0.99, 1615, 40)), statuses={"ok": 40, "missing": 1575}),
)
LOSSY = replace(
    FULL, model="lossy", score=replace(with_overall(FULL, recall(0.98, 1615, 1400)), statuses={"ok": 1400}), errors=215
)
MADE_UP = replace(FULL, model="gpt_7", answer_source="made_up")
RECORDED = replace(FULL, model="chatgpt_4v", answer_source="recorded")
REFUSED = replace(
    UNSCORED, model="gemma", failed="all 1,615 answers are errors: answer by gemma: prompt: System role not supported"
)
REHEARSED = replace(COMPLEX, judge="strict", judge_source="made_up", model="echo", answer_source="made_up")
TROUBLED = [REFUSED, BEGUN, LOSSY, MADE_UP, RECORDED, CUT_OFF, REHEARSED]


def terminal(rows: list[LeaderboardRow], width: int) -> str:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(render_table(rows))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def test_markdown_is_the_golden_text() -> None:
    assert render_markdown(ROWS) == (GOLDEN / "leaderboard.md").read_text(encoding="utf-8")


def test_terminal_table_of_100_columns_is_the_golden_text() -> None:
    assert terminal(ROWS, 100) == (GOLDEN / "leaderboard_100.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_what_misleads_is_marked_in_a_terminal_of_any_width(width: int) -> None:
    text = terminal(TROUBLED, width)
    assert text == (GOLDEN / f"troubled_{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width


def test_what_misleads_is_marked_in_markdown() -> None:
    assert render_markdown(TROUBLED) == (GOLDEN / "troubled.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [100, 120, 140])
def test_terminal_table_shows_every_figure_whole(width: int) -> None:
    text = terminal(ROWS, width)
    assert "…" not in text
    figures = (
        "43.2",
        "42.0 to 44.4",
        "99.9",
        "9.0 to 11.1",
        "0.0 to 100.0",
        "1600",
        "1454",
        "smollm2_135m (text only)",
    )
    for figure in figures:
        assert figure in text


def test_rows_are_sorted_by_dataset_judge_and_falling_recall_with_unscored_last() -> None:
    order = [(row["dataset"], row["judge"], row["model"]) for row in to_json_rows(reversed(ROWS))]
    assert order == [
        ("eibench_basic", "llama3_8b", "llava_next_7b"),
        ("eibench_basic", "llama3_8b", "smollm2_135m"),
        ("eibench_basic", "llama3_8b", "qwen_vl_chat"),
        ("eibench_complex", "smollm2_135m", "llava_next_7b"),
        ("eibench_complex", "smollm2_135m", "smollm2_135m"),
    ]


def test_partial_rows_stand_after_whole_ones_and_are_never_bold() -> None:
    rows = to_json_rows(TROUBLED)
    order = [row["model"] for row in rows if row["dataset"] == "eibench_basic"]
    assert order == ["chatgpt_4v", "cut_off", "gpt_7", "begun", "gemma", "lossy"]
    assert [row["model"] for row in rows if row["partial"]] == ["begun", "lossy"]
    console = Console(width=100, force_terminal=True, color_system="standard", legacy_windows=False)
    with console.capture() as captured:
        console.print(render_table([BEGUN, replace(MADE_UP, score=COMPLEX.score), FULL]))
    lines = captured.get().splitlines()
    assert ["\x1b[1m50.0" in line for line in lines if "gpt_7" in line] == [False]
    assert ["\x1b[1m43.2" in line for line in lines if "43.2" in line] == [True]
    assert ["\x1b[1m99.0" in line for line in lines if "99.0" in line] == [False]


def test_programs_always_find_how_answers_ended() -> None:
    names = ("truncated", "empty", "calls_truncated", "judge_truncated", "judge_fallbacks")
    assert [to_json_rows([CUT_OFF])[0][name] for name in names] == [52, 3, 9, 7, 1]
    assert [to_json_rows([FULL])[0][name] for name in names] == [0, 0, 0, 0, 0]
    assert to_frame([CUT_OFF, FULL]).select(names).rows() == [(52, 3, 9, 7, 1), (0, 0, 0, 0, 0)]
    assert "| truncated | empty | judge truncated |" in render_markdown([FULL])
    assert "truncated" not in terminal([FULL], 100)
    frame = to_frame([MADE_UP, RECORDED, REFUSED])
    assert frame["answer_source"].to_list() == ["recorded", "made_up", "model"]
    assert frame["failed"].to_list() == [None, None, REFUSED.failed]


def test_notes_appear_only_where_something_needs_them() -> None:
    text = render_markdown([FULL])
    assert "(text only)" not in text
    assert "(self-judged)" not in text
    assert "coverage:" not in text
    assert "does not see the picture" in render_markdown([PARTIAL])
    assert "judges its own answers" in terminal([ITSELF], 100)


KIN = replace(FULL, model="llama3_70b", same_family=True)
REPEATED = replace(
    FULL, score=replace(FULL.score, statuses={"ok": 4845}, noise=RepeatNoise(3, 1615, 0.00712, 0.234, 0.087))
)


def test_a_judge_of_the_same_family_is_flagged_and_not_hidden() -> None:
    for text in (render_markdown([KIN, FULL]), terminal([KIN, FULL], 100)):
        assert text.count("(same family)") == 2  # the row, and the note
        assert "another model of its family" in text
        assert "(self-judged)" not in text
    assert "(same family)" not in render_markdown([replace(KIN, self_judged=True)])
    assert [row["same_family"] for row in to_json_rows([KIN])] == [True]
    assert to_frame([KIN, FULL])["same_family"].to_list() == [True, False]


def test_noise_of_repeats_is_shown_where_there_were_some() -> None:
    for text in (render_markdown([FULL]), terminal([FULL], 100)):
        assert "repeat" not in text
    for text in (render_markdown([REPEATED, PARTIAL]), terminal([REPEATED, PARTIAL], 120)):
        for figure in ("0.71", "23.4", "the judge was asked 3 times"):
            assert figure in text
    assert "0.71" in terminal([REPEATED, PARTIAL], 100)
    first, second = to_json_rows([REPEATED, PARTIAL])
    noise = {"repeats": 3, "n": 1615, "sd": 0.00712, "differ": 0.234, "variance_share": 0.087}
    assert (first["repeat_noise"], second["repeat_noise"]) == (noise, None)
    frame = to_frame([REPEATED, PARTIAL])
    assert frame["repeats"].to_list() == [3, 1]
    assert frame["repeat_sd"].to_list() == [0.00712, None]


def test_bounds_are_shown_where_only_repeats_are_missing() -> None:
    lost = replace(REPEATED.score.overall, bound_low=0.43, bound_high=0.45, bound_ci_low=0.41, bound_ci_high=0.47)
    text = render_markdown([replace(REPEATED, score=with_overall(REPEATED, lost))])
    assert "41.0 to 47.0" in text
    assert "single repeats" in text


def test_costs_and_refusals_are_columns_only_where_there_are_some() -> None:
    paid = replace(FULL, model="gpt", refused=12, cost_usd=3.456)
    for text in (render_markdown([FULL, PARTIAL]), terminal([FULL, PARTIAL], 100)):
        assert "cost" not in text
        assert "refused" not in text
    for text in (render_markdown([paid, PARTIAL]), terminal([paid, PARTIAL], 100)):
        assert "cost $" in text
        assert "3.46" in text
        assert "12" in text
        assert "refused: answers that" in text
        assert "cost: of all requests" in text
    head, _, *lines = [line.split("|") for line in render_markdown([paid, PARTIAL]).splitlines()[2:6]]
    shown = [{name.strip(): cell.strip() for name, cell in zip(head, line, strict=True)} for line in lines]
    assert [(row["refused"], row["cost $"]) for row in shown] == [("12", "3.46"), ("0", "-")]
    assert "cost" not in render_markdown([replace(FULL, refused=1)])


def test_programs_always_find_costs_and_refusals() -> None:
    rows = [replace(FULL, refused=2, cost_usd=0.5), PARTIAL]
    assert [(row["refused"], row["cost_usd"]) for row in to_json_rows(rows)] == [(2, 0.5), (0, None)]
    assert to_frame(rows)["cost_usd"].to_list() == [0.5, None]
    assert to_frame(rows)["refused"].to_list() == [2, 0]


def test_what_is_not_full_or_nothing_never_reads_so() -> None:
    almost = replace(FULL, score=with_overall(FULL, recall(2999 / 3000, 3000, 2999, spread=0.0003)))
    hardly = replace(FULL, score=with_overall(FULL, recall(1 / 3000, 3000, 1, spread=0.0003)))
    for text in (render_markdown([almost]), terminal([almost], 100)):
        assert text.count(">99.9") == 3  # the score, the upper end of its interval, the coverage
        assert " 100.0 " not in text.replace("to 100.0 ", "")  # the bounds' upper end, which is just that here
    for text in (render_markdown([hardly]), terminal([hardly], 100)):
        assert text.count("<0.1") >= 3
        assert " 0.0 " not in text.replace(" 0.0 to 100.0 ", "")


def test_figures_have_the_digits_that_the_narrowest_interval_of_their_part_allows() -> None:
    few = replace(COMPLEX, score=with_overall(COMPLEX, recall(0.5432, 50, spread=0.14)))
    wider = replace(few, model="other", score=with_overall(COMPLEX, recall(0.4567, 50, 49, spread=0.16)))
    for text in (render_markdown([FULL, few, wider]), terminal([FULL, few, wider], 120)):
        for figure in ("43.2", "42.0 to 44.4", "54", "40 to 68", "46", "30 to 62"):
            assert f" {figure}" in text
        assert "54.3" not in text
    narrow = replace(few, model="narrow", score=with_overall(COMPLEX, recall(0.5, 1615, spread=0.02)))
    assert "54.3" in terminal([few, narrow], 120)
    assert to_frame([few])["value"].to_list() == [0.5432]


def test_groups_have_their_interval_and_what_they_rest_on() -> None:
    happy = recall(0.5432, 20, 19, spread=0.2)
    row = replace(FULL, score=score(FULL.score.overall, {"happy": happy}, {"ok": 1615}))
    words = [line for line in render_markdown([row]).splitlines() if line.startswith("| happy")]
    assert [cell.strip() for cell in words[0].split("|")[1:-1]] == [
        *("happy", "llava_next_7b", "user_question_caption", "54", "34 to 74", "20", "19", "18")
    ]
    assert "n 20" in terminal([row], 120)
    frame = to_frame([row, UNSCORED])
    names = ["emotion=happy", *(f"emotion=happy:{name}" for name in ("ci_low", "ci_high", "n", "scored", "clusters"))]
    assert frame.select(names).rows() == [(0.5432, happy.ci_low, happy.ci_high, 20, 19, 18), (None,) * 6]
    assert frame.schema["emotion=happy:n"] == pl.Int64


def test_groups_stand_in_the_order_of_numbers() -> None:
    levels = {"10": recall(0.1), "2": recall(0.2)}
    row = replace(FULL, score=CellScore((MetricScore(RECALL, recall(0.2), {"level": levels}),), {"ok": 100}, 0.95))
    lines = [line.split("|")[1].strip() for line in render_markdown([row]).splitlines() if line.startswith("| ")]
    assert lines[-2:] == ["2", "10"]


def test_samples_asked_for_scored_and_clusters_have_the_same_names_in_all_files() -> None:
    names = ("n", "scored", "clusters")
    assert to_frame([PARTIAL]).select(names).rows() == [(1615, 1614, 1453)]
    assert [to_json_rows([PARTIAL])[0][name] for name in names] == [1615, 1614, 1453]
    assert [flat_scores(PARTIAL)[name] for name in names] == [1615, 1614, 1453]
    assert "|    n | scored | clusters |" in render_markdown([PARTIAL])


@pytest.mark.parametrize(("confidence", "shown"), [(0.95, "95%"), (0.9, "90%"), (0.57, "57%"), (0.999, "99.9%")])
def test_interval_names_its_confidence(confidence: float, shown: str) -> None:
    row = replace(FULL, score=replace(FULL.score, confidence=confidence))
    assert f"| {shown} interval |" in render_markdown([row])
    assert f"{shown} CI" in terminal([row], 100)
    assert to_json_rows([row])[0]["confidence"] == confidence


def test_names_cannot_break_the_table() -> None:
    odd = replace(FULL, model="a|b", setting="[red]x[/red]")
    lines = render_markdown([odd]).splitlines()
    assert r"| a\|b " in lines[4]
    assert len({line.replace(r"\|", "").count("|") for line in lines[2:5]}) == 1
    assert "[red]x[/red]" in terminal([odd], 140)


def test_no_rows_are_said_in_words() -> None:
    assert render_markdown([]) == "# Leaderboard\n\n- no cell has been scored yet\n"
    assert terminal([], 100) == "no cell has been scored yet\n"
    assert to_json_rows([]) == []
    assert to_frame([]).height == 0


def test_json_rows_are_plain_json() -> None:
    rows = to_json_rows(ROWS)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    first, unscored = rows[0], rows[2]
    assert first["value"] == 0.4321
    assert first["ci95"] == pytest.approx([0.4198, 0.4444])
    assert (first["coverage"], first["n"], first["errors"]) == (1.0, 1615, 0)
    assert first["groups"]["emotion"]["happy"]["n"] == 91
    assert (unscored["value"], unscored["ci95"], unscored["bounds"]) == (None, None, [0.0, 1.0])
    assert unscored["unparsed"] == 15
    assert rows[4]["self_judged"] is True
    assert rows[4]["sees_image"] is False


def test_frame_has_typed_columns_and_nulls_where_nothing_was_measured() -> None:
    frame = to_frame(ROWS)
    assert frame.schema["value"] == frame.schema["emotion=fear"] == pl.Float64
    assert frame["value"].to_list() == [0.4321, 0.1, None, 0.5, 0.5]
    assert frame["emotion=fear"].to_list() == [None, None, None, 0.5, 0.5]
    assert frame["unparsed"].to_list() == [0, 1, 15, 0, 0]
    assert to_frame([UNSCORED]).schema["ci_low"] == pl.Float64


def test_written_files_say_the_same_and_leave_no_drafts(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    paths = write_leaderboard(ROWS, folder)
    assert [path.name for path in paths] == ["leaderboard.md", "leaderboard.csv", "leaderboard.parquet"]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == render_markdown(ROWS)
    frame = to_frame(ROWS)
    assert pl.read_parquet(paths[2]).equals(frame)
    assert pl.read_csv(paths[1], schema=frame.schema).equals(frame)
    write_leaderboard([FULL], folder)
    assert pl.read_parquet(paths[2]).height == 1
    assert math.isclose(pl.read_csv(paths[1])["value"][0], 0.4321)


def test_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file/leaderboard\.md cannot be written"):
        write_leaderboard(ROWS, tmp_path / "file")
