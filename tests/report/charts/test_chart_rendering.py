"""Every picture drawn by the real Vega: without a warning, in ink that the page chooses, with its names to be read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from made_figures import ACCURACY, HOSTILE, comparison, judged, pair, preference, row, summary, sweep
from test_charts import ledger

from eibench_ray.report.charts.chart import Chart
from eibench_ray.report.charts.page_charts import ChartFigures, draw_charts
from eibench_ray.report.charts.published_chart import PublishedFigure
from eibench_ray.schedule.gpu_accounting import account
from eibench_ray.schedule.replica_meter import TimeKind

SVG = "{http://www.w3.org/2000/svg}"


def everything(num_models: int) -> list[Chart]:
    """All pictures of a sweep in which each has something to show."""
    endings = {"whole": 150, "truncated": 40, "timeout error": 10}
    rows = [
        replace(one, mean_words=10.0 + place, cost_usd=0.1 * (place + 1), endings=endings, reply_endings=endings)
        for place, one in enumerate(sweep(num_models))
    ]
    figures = ChartFigures(
        rows,
        comparison(
            pairs=tuple(pair(f"model_{place:02}", 0.05) for place in range(num_models)),
            judges=(judged("strict", "llama", 0.6, 0.1),),
            preferences=(preference("llama", "strict", 0.06),),
        ),
        [PublishedFigure((one.model, one.setting), ACCURACY, 0.4, 90, summary(0.5), "differs") for one in rows],
        {"": account(ledger(), {"answer": TimeKind.GENERATING})},
        {one.cell: 100.0 + place for place, one in enumerate(rows)},
    )
    return draw_charts(figures)


@pytest.mark.parametrize("num_models", [2, 30])
def test_every_picture_is_drawn_at_2_and_at_60_cells(num_models: int, capfd: pytest.CaptureFixture[str]) -> None:
    charts = everything(num_models)
    assert [chart.name for chart in charts] == [
        "published-1",
        "groups-1",
        "settings-1",
        "agreement-1",
        "bias-1",
        "own-family-1",
        "length-1",
        "cost-1",
        "gpu-hours-1",
        "answers",
        "replies",
        "gantt",
        "gpu-time",
    ]
    for chart in charts:
        svg = render(chart)
        marks = [mark for mark in svg.iter(f"{SVG}path") if mark.get("d") and mark.get("aria-roledescription")]
        assert marks, chart.name
        assert chart.text
    assert capfd.readouterr() == ("", "")


def test_no_layer_is_without_data() -> None:
    """Vega warns of the infinite extent of one."""
    rows = [row(model, value=0.5, mean_words=10.0, cost_usd=0.1) for model in ("a", "b")]  # all at one place
    for chart in [*everything(2), *draw_charts(ChartFigures(rows, comparison()))]:
        assert all(chart.spec["datasets"].values()), chart.name


def test_ink_is_the_pages_and_the_background_is_left_open() -> None:
    for chart in everything(2):
        svg = render(chart)
        assert {text.get("fill") for text in svg.iter(f"{SVG}text")} <= {
            "currentColor",
            "#000000",
            "#ffffff",
            "#14202B",
        }
        assert not re.search(r'<rect[^>]*fill="(?!none|transparent)', ET.tostring(svg, encoding="unicode"))


def test_hostile_and_endless_names_are_drawn_cut_off_and_as_text() -> None:
    rows = [row(HOSTILE, value=0.4, groups=[HOSTILE, "b"]), row("b", HOSTILE, value=0.5, groups=[HOSTILE])]
    [heat_map, *_] = draw_charts(ChartFigures(rows, comparison()))
    words = ["".join(text.itertext()) for text in render(heat_map).iter(f"{SVG}text")]
    assert any(word.startswith("</script><img") and word.endswith("…") for word in words)


def render(chart: Chart) -> ET.Element:
    """The picture as SVG, as wide as a page."""
    import vl_convert  # 0.1 s of each process that collects the tests

    return ET.fromstring(vl_convert.vegalite_to_svg({**chart.spec, "width": 760}))
