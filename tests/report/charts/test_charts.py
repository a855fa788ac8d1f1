"""The pictures' data: the right rows in the right order, with their intervals, and words that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from made_figures import ACCURACY, ERROR_RATE, HOSTILE, comparison, judged, pair, preference, row, summary, sweep

from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.effort_charts import draw_costs, draw_gpu_hours, draw_lengths
from eibench_ray.report.charts.endings_charts import draw_endings
from eibench_ray.report.charts.gpu_time_charts import draw_gpu_time
from eibench_ray.report.charts.heat_map import ALL, draw_heat_maps
from eibench_ray.report.charts.judges_chart import draw_judges
from eibench_ray.report.charts.look import MOST_LINES
from eibench_ray.report.charts.page_charts import ChartFigures, draw_charts
from eibench_ray.report.charts.published_chart import PublishedFigure, draw_published
from eibench_ray.report.charts.settings_chart import draw_settings
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.replica_meter import TimeKind
from eibench_ray.scoring.cell_comparison import LengthBias
from eibench_ray.scoring.rank_correlation import RankCorrelation


def marks(chart: Chart, kind: str) -> list[dict[str, Any]]:
    """The data behind all marks of a kind."""
    layers = [layer for layer in chart.spec["layer"] if layer["mark"]["type"] == kind]
    return [
        one for layer in layers for one in chart.spec["datasets"][(layer.get("data") or chart.spec["data"])["name"]]
    ]


def lines(chart: Chart) -> list[str]:
    """The names on the vertical axis, from above."""
    axis: Mapping[str, Any] = next(layer["encoding"]["y"] for layer in chart.spec["layer"] if "y" in layer["encoding"])
    return list(axis["scale"]["domain"])


def test_a_heat_map_has_a_line_per_cell_the_best_first_and_all_samples_beside_the_groups() -> None:
    [chart] = draw_heat_maps([row("weak", value=0.3), row("strong", value=0.7)])
    assert lines(chart) == ["strong", "weak"]
    squares = {(one["cell"], one["group"]): one for one in marks(chart, "rect")}
    assert {group for _, group in squares} == {ALL, "art", "law", "medicine"}
    assert squares["weak", "art"]["value"] == pytest.approx(26)
    assert squares["weak", "art"]["figure"] == "26.0 (20.0 to 32.0)"
    assert "highest is 74.0 (strong, medicine)" in chart.text


def test_a_heat_map_of_a_metric_whose_lower_values_are_better_is_light_where_it_is_low() -> None:
    [chart] = draw_heat_maps([row("a", value=4.2, metric=ERROR_RATE), row("b", value=1.1, metric=ERROR_RATE)])
    assert lines(chart) == ["b", "a"]
    [colour] = [layer["encoding"]["color"] for layer in chart.spec["layer"] if layer["mark"]["type"] == "rect"]
    assert colour["scale"]["reverse"] is True
    assert "lower is better" in chart.text


def test_a_picture_with_too_many_lines_says_how_many_there_are() -> None:
    [chart] = draw_heat_maps(sweep(50))
    assert len(lines(chart)) == MOST_LINES
    assert chart.text.endswith(f"The first {MOST_LINES} of 100 are drawn.")


def test_settings_stand_on_one_line_per_model_with_the_paired_difference() -> None:
    pairs = (pair("model_00", 0.05), pair("model_01", 0.01, p_holm=0.4))
    [chart] = draw_settings(sweep(2), comparison(pairs=pairs))
    assert lines(chart) == ["model_00", "model_01"]
    assert {(dot["line"], dot["series"]) for dot in marks(chart, "point")} == {
        (model, setting) for model in ("model_00", "model_01") for setting in ("plain", "captioned")
    }
    notes = {one["line"]: one["note"] for one in marks(chart, "text")}
    assert notes == {"model_00": "+5.0 (+3.0 to +7.0) *", "model_01": "+1.0 (-1.0 to +3.0)"}
    assert "plain minus captioned of model_00, +5.0" in chart.text


def test_models_with_one_setting_have_no_picture_of_settings() -> None:
    assert list(draw_settings(sweep(3, ("plain",)), comparison())) == []


def test_judges_have_agreement_bias_and_own_family_with_intervals() -> None:
    found = comparison(
        judges=(judged("strict", "gpt_4o", 0.7, 0.03), judged("strict", "llama", None, -0.08)),
        preferences=(preference("llama", "gpt_4o", 0.06),),
    )
    agreement, bias, own = draw_judges(found)
    assert [dot["value"] for dot in marks(agreement, "point") if dot["line"] == "strict, gpt_4o"] == [0.7, 0.75, 0.9]
    assert [dot["series"] for dot in marks(agreement, "point") if dot["line"] == "strict, llama"] == [
        "rho of the cells' means"
    ]
    assert lines(bias) == ["strict minus gpt_4o", "strict minus llama"]
    [low, high] = [(dot["low"], dot["high"]) for dot in marks(bias, "point")][1]
    assert (low, high) == (pytest.approx(-10), pytest.approx(-6))
    assert lines(own) == ["llama (against gpt_4o)"]
    assert "+6.0 (+3.0 to +9.0)" in own.text


def test_score_stands_against_length_and_rho_in_the_tooltip() -> None:
    rows = [row("short", value=0.5, mean_words=12.0), row("long", value=0.6, mean_words=80.0)]
    lengths = (LengthBias("long", "plain", "mmmu", "strict", RankCorrelation(200, 0.31)),)
    [chart] = draw_lengths(rows, comparison(lengths=lengths))
    points = {one["name"]: one for one in marks(chart, "point")}
    assert (points["short"]["x"], points["long"]["x"]) == (12.0, 80.0)
    assert points["long"]["x_figure"] == "80.0; rho of score and length within the cell: +0.31"
    assert (points["long"]["low"], points["long"]["high"]) == (pytest.approx(57), pytest.approx(63))


def test_the_line_of_the_best_for_less_leaves_out_what_another_beats() -> None:
    costs = {"cheap": (0.4, 0.1), "dear": (0.8, 3.0), "beaten": (0.3, 1.0)}
    rows = [row(model, value=value, cost_usd=cost) for model, (value, cost) in costs.items()]
    [chart] = draw_costs(rows)
    assert [one["name"] for one in marks(chart, "line")] == ["cheap", "dear"]


def test_cells_that_took_no_gpu_time_in_this_run_are_not_drawn_against_it() -> None:
    rows = [row("a"), row("b"), row("from_the_store")]
    [chart] = draw_gpu_hours(rows, {rows[0].cell: 7200.0, rows[1].cell: 3600.0, rows[2].cell: 0.0}, "GPU")
    assert {one["name"]: one["x"] for one in marks(chart, "point")} == {"a": 2.0, "b": 1.0}


def test_endings_are_shares_of_each_cell_the_most_troubled_first() -> None:
    rows = [
        row("fine", endings={"whole": 100}),
        row("cut", endings={"whole": 60, "truncated": 30, "timeout error": 10}),
    ]
    [chart] = draw_endings(rows)
    assert chart.name == "answers"
    assert lines(chart) == ["cut", "fine"]
    bars = {(one["line"], one["kind"]): one for one in marks(chart, "bar")}
    assert (bars["cut", "truncated"]["start"], bars["cut", "truncated"]["end"]) == (60, 90)
    assert bars["cut", "truncated"]["figure"] == "30 (30.0%)"
    assert "30 truncated, 10 timeout error" in chart.text


def test_where_all_answers_ended_well_no_picture_says_so() -> None:
    assert list(draw_endings([row("fine", endings={"whole": 100}, reply_endings={"whole": 100})])) == []


def test_published_figures_stand_beside_measured_ones_the_farthest_apart_first() -> None:
    figures = [
        PublishedFigure(("near", "plain"), ACCURACY, 0.52, 100, summary(0.5), "agrees"),
        PublishedFigure(("far", "plain"), ACCURACY, 0.3, 100, summary(0.5), "differs"),
        PublishedFigure(("far", "plain"), ACCURACY, 0.3, 10, summary(0.4), "differs", is_main=False),
        PublishedFigure(("nothing", "plain"), ACCURACY, 0.3, 10, summary(None), "not compared"),
    ]
    main, groups = draw_published(figures)
    assert lines(main) == ["far", "near"]
    assert [(dot["series"], dot["value"]) for dot in marks(main, "point")] == [
        ("published", 30),
        ("measured: differs", 50),
        ("published", 52),
        ("measured: agrees", 50),
    ]
    assert [(one["line"], one["value"], one["end"]) for one in marks(main, "rule")][-1] == ("near", 47, 53)
    assert "1 agrees, 1 differs" in main.text
    assert lines(groups) == ["far"]


def ledger() -> list[dict[str, Any]]:
    """A replica of one GPU that loads for 10 s and answers for 20 s; another GPU stands free."""
    events: list[tuple[float, str, dict[str, Any]]] = [
        (0, "run_started", {}),
        (0, "node_joined", {"node": "id", "name": "host", "gpus": 2}),
        (0, "replica_starting", {"replica": 0, "engine": "e", "model": "llava", "nodes": ["id"], "gpus": 1}),
        (0, "replica_placed", {"replica": 0}),
        (10, "replica_ready", {"replica": 0, "capacity": 4, "engine": "e", "model": "llava"}),
        (10, "slice_sent", {"replica": 0, "step": "answer", "slice": 0, "rows": 4}),
        (30, "slice_committed", {"replica": 0, "step": "answer", "slice": 0, "seconds": 20.0}),
        (30, "run_ended", {}),
    ]
    return [{"time": 1000 + time, "event": event, **facts} for time, event, facts in events]


def test_gpu_time_is_drawn_over_time_and_by_model() -> None:
    usage = account(ledger(), {"answer": TimeKind.GENERATING})
    gantt, by_model = draw_gpu_time(usage)
    assert (gantt.name, by_model.name) == ("gantt", "gpu-time")
    assert lines(by_model) == ["llava", "held by no replica"]
    bars = {(one["line"], one["kind"]): one["end"] - one["start"] for one in marks(by_model, "bar")}
    assert bars["llava", "generating"] == pytest.approx(20)
    assert bars["held by no replica", "no replica needed"] == pytest.approx(30)
    assert list(draw_gpu_time(account([], {}))) == []


def test_pictures_without_figures_are_left_out() -> None:
    assert draw_charts(ChartFigures((), comparison())) == []
    nothing = replace(row("a", value=None), score=replace(row("a", value=None).score, statuses={"ok": 1}))
    assert draw_charts(ChartFigures([nothing], comparison())) == []


def test_names_of_pictures_are_unique_and_fit_for_an_address() -> None:
    rows = [row(model, setting, judge, 0.5, dataset=dataset, mean_words=10.0 * len(model), cost_usd=0.1)
            for model in ("a", "bb") for setting in ("plain", HOSTILE) for judge in ("strict", "llama")
            for dataset in ("mmmu", HOSTILE)]  # fmt: skip
    usage = account(ledger(), {"answer": TimeKind.GENERATING})
    figures = ChartFigures(rows, comparison(), usages={"A": usage, "B": usage}, gpu_seconds={rows[0].cell: 9.0})
    names = [chart.name for chart in draw_charts(figures)]
    assert len(names) == len(set(names)) > 8
    assert all(name.replace("-", "").isalnum() for name in names)


def test_no_name_acts_on_who_reads_a_picture() -> None:
    rows = [row(HOSTILE, value=0.4, groups=[HOSTILE]), row("b", HOSTILE, value=0.5, groups=[HOSTILE])]
    for chart in draw_charts(ChartFigures(rows, comparison())):
        assert not {"\x1b", "\u202e", "\n"} & set(f"{chart.title}{chart.text}{chart.spec}")
