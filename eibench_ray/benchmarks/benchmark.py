"""A benchmark's own part: its importer, the formats that it is exported in, its checks of a run, its scripts' figures.

A benchmark is one value of `Benchmark`, found by its name. Its functions are given what they need (a run that is
opened, a folder to write to) and import what they need themselves: to list the commands, all benchmarks are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType

    from eibench_ray.config.schema import ScoreConfig
    from eibench_ray.datasets.dataset import Dataset
    from eibench_ray.datasets.sample_table import SampleTable
    from eibench_ray.datasets.writer import PreparedReport
    from eibench_ray.plan.graph import Cell, Plan
    from eibench_ray.report.charts.published_chart import PublishedFigure
    from eibench_ray.report.leaderboard_row import LeaderboardRow
    from eibench_ray.rows.sample import Sample
    from eibench_ray.scoring.joined_row import JoinedRow, SaidRange


class CellReader(Protocol):
    """Reads the cells of a run from its store."""

    def join(self, cell: Cell) -> Iterator[JoinedRow]:
        """The cell's rows, in the dataset's order."""
        ...

    def said(self, cell: Cell, *, has_scores: bool = False) -> Iterator[SaidRange]:
        """The texts of the cell's answers and replies, a range of samples after the other: quicker than its rows."""
        ...

    def samples(self, dataset: str) -> Iterator[Sample]:
        """The samples that the run asks of a dataset, in order."""
        ...

    def tables(self, dataset: str) -> Iterator[SampleTable]:
        """The same samples as they lie in columns, a range of them after the other: quicker than each as an object."""
        ...

    def dataset(self, name: str) -> Dataset:
        """A dataset of the run."""
        ...

    def score_all(
        self,
        cells: Sequence[Cell],
        config: ScoreConfig,
        failures: Mapping[str, str] = {},
        group_by: Sequence[str] | None = None,
    ) -> Iterator[tuple[Cell, LeaderboardRow]]:
        """Yields cells with their lines in the leaderboard, as `score` makes them; what they share is read once."""
        ...

    def score(
        self,
        cell: Cell,
        config: ScoreConfig,
        failures: Mapping[str, str] = {},
        group_by: Sequence[str] | None = None,
    ) -> LeaderboardRow:
        """The cell's line in the leaderboard, by groups of samples that have the same in these columns."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run to be checked or exported."""

    plan: Plan
    score: ScoreConfig  # how it was scored
    failures: Mapping[str, str]  # model -> why its engine was given up
    cells: CellReader


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that was written."""

    counts: Mapping[str, Any]  # for programs
    text: str  # a line for people


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """Result of a check."""

    page: RenderableType  # for people
    values: Mapping[str, Any]  # for programs
    write: Callable[[Path], list[Path]]  # writes files into a folder and returns their paths


@dataclass(frozen=True, slots=True)
class FileScores:
    """The figures of a file of judgements, as a published script prints them (`text`), and by name."""

    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All that the command offers for one benchmark; each part may be left out.

    Parameters of `prepare` and of checks are options of the command, declared as typer has them; the first line of a
    function's docstring is the command's help.

    Attributes:
        prepare: `eibench-ray prepare NAME`; called with `on_row` beside its options.
        checks: commands over a run: name -> function of the run and its options.
        exports: formats of `export --as`: name -> function of the run, the folder to write, and which model, setting
            and dataset are meant (None leaves one open).
        scripts: `rescore FILE --protocol NAME`: name -> function of the file and the part of the benchmark that
            `--subset` names (None: as the file says).
        published: figures that somebody published and that the run has measured, which the page draws beside each
            other; none where the run is not about them.
    """

    prepare: Callable[..., PreparedReport] | None = None
    checks: Mapping[str, Callable[..., CheckedRun]] = field(default_factory=dict)
    exports: Mapping[str, Callable[[OpenedRun, Path, Mapping[str, str | None]], Exported]] = field(default_factory=dict)
    scripts: Mapping[str, Callable[[Path, str | None], FileScores]] = field(default_factory=dict)
    published: Callable[[OpenedRun], Iterable[PublishedFigure]] | None = None
