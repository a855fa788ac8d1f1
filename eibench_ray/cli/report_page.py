"""`report --html`: the page of a run, or of several, into a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eibench_ray.cli.console import say
from eibench_ray.errors import ConfigError
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.runs.find_run import FoundRun

Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write the page with figures and samples into this .html, of several runs together."),
]
PageSamplesShown = Annotated[
    int | None,
    typer.Option("--samples", min=0, help="Samples of each dataset whose texts the page holds. Default: as the run's."),
]
PagePictures = Annotated[
    Literal["none", "thumbnails"] | None,
    typer.Option("--pictures", help="Whether the page holds pictures. Default: as the run's."),
]


def check_page_options(html: Path | None, num_runs: int, chosen: dict[str, object]) -> None:
    """Passes options that go together.

    Raises:
        ConfigError: they do not.
    """
    if html is None:
        if num_runs > 1:
            raise ConfigError("several runs are shown together in a page: add --html FILE, or name one run")
        if given := [name for name, value in chosen.items() if value is not None]:
            raise ConfigError(f"{' and '.join(given)} says what a page holds: add --html FILE")
    elif html.suffix != ".html":
        raise ConfigError(f"--html {html}: a page is written as .html: name a file that ends so")


def write_html(
    runs: Sequence[FoundRun],
    html: Path,
    samples: int | None,
    pictures: str | None,
    by: Sequence[str] | None,
    rows: Sequence[LeaderboardRow] | None = None,
) -> dict[str, Any]:
    """Writes the page; where it is and what it holds, as plain values."""
    from eibench_ray.runs.run_page import options_of, write_report

    chosen = {"samples": samples, "pictures": pictures}
    options = options_of(runs[0])
    options = type(options).model_validate(
        options.model_dump() | {name: value for name, value in chosen.items() if value is not None}
    )
    page = write_report(runs, html.absolute(), options, rows, by)
    return {"html": str(page.path), "data": str(page.data), "contents": page.contents}


def show_html(written: dict[str, Any], *, as_json: bool) -> None:
    """Tells where a page is, and where its data lie if that is another place."""
    if as_json:
        typer.echo(json.dumps(written))
        return
    say(written["contents"])
    say(in_line(written["html"]))
    if written["data"] != written["html"]:
        say(in_line(f"Its data lie in {written['data']}: the page needs them beside it."))
