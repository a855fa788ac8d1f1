"""Commands that benchmarks bring: `prepare NAME` and checks of a run, with the options that their functions declare."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from eibench_ray.cli.choose_run import Anyway, InStore, Out, Run, check_figures, choose_run, place_for
from eibench_ray.cli.console import AsJson, row_progress, show_files

if TYPE_CHECKING:
    from eibench_ray.benchmarks.benchmark import Benchmark, OpenedRun
    from eibench_ray.runs.find_run import FoundRun

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def opened_run(found: FoundRun) -> OpenedRun:
    """A run as benchmarks are given it."""
    from eibench_ray.runs.results import open_run

    return open_run(found.manifest, found.store, found.status.failures)


class NamedCommands(TyperGroup):
    """Commands whose help ends with the option that all of them have."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        found = self.find(ctx, cmd_name)
        if found is not None and not isinstance(found, TyperGroup):
            found.epilog = "-v, --verbose: log every change of state to stderr."
        return found

    def find(self, ctx: Any, name: str) -> Any:
        """The command as it was declared; None where there is none."""
        return super().get_command(ctx, name)


class PluginCommands(NamedCommands):
    """Commands of this package, and those that benchmarks bring; a benchmark is imported when it may be needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, this package's own first."""
        return [*super().list_commands(ctx), *sorted(self.brought())]

    def find(self, ctx: Any, name: str) -> Any:
        """The command as it was declared, here or by a benchmark; None where there is none."""
        known = super().find(ctx, name)
        if known is None and (function := self.brought().get(name)) is not None:
            return _to_click(name, function)
        return known

    def brought(self) -> dict[str, Callable[..., None]]:
        """The functions of the commands that benchmarks bring, by name."""
        from eibench_ray.benchmarks.benchmark_registry import gather

        return {name: check_command(check) for name, check in gather(lambda one: one.checks, "command").items()}


class PrepareCommands(PluginCommands):
    """Ways to prepare a dataset, and the importers of benchmarks."""

    def brought(self) -> dict[str, Callable[..., None]]:
        """The importers of benchmarks as commands, by the benchmarks' names."""
        from eibench_ray.benchmarks.benchmark_registry import load_all

        return {name: _import_command(one) for name, one in load_all().items() if one.prepare is not None}


def _import_command(benchmark: Benchmark) -> Callable[..., None]:
    importer = benchmark.prepare
    assert importer is not None

    def command(as_json: bool, **options: Any) -> None:
        from eibench_ray.cli.prepare import print_report

        with row_progress("Preparing") as on_row:
            report = importer(**options, on_row=on_row)
        print_report(report, as_json)

    own = [one for one in _parameters(importer) if one.name != "on_row"]
    return _declare(command, importer, [*own, _option("as_json", AsJson)])


def check_command(check: Callable[..., Any]) -> Callable[..., None]:
    """A check of a run as a command, with the options that all such commands have."""

    def command(run: str | None, as_json: bool, store: str | None, out: Any, anyway: bool, **options: Any) -> None:
        found = choose_run(run, store)
        changes = check_figures(found, anyway=anyway)
        checked = check(opened_run(found), **options)
        place = place_for(found, out, changes)
        values = {"run_dir": str(found.folder), "store": found.store.root, **checked.values}
        show_files(checked.write(place) if place else [], checked.page, values, as_json=as_json)

    _, *own = _parameters(check)
    shared = [_option("as_json", AsJson), _option("store", InStore, None), _option("out", Out, None)]
    return _declare(command, check, [_option("run", Run, None), *own, *shared, _option("anyway", Anyway)])


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters as keywords, with their annotations as values."""
    parameters = inspect.signature(function).parameters.values()
    return [one.replace(kind=_KEYWORD, annotation=_evaluate(one.annotation, function)) for one in parameters]


def _evaluate(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation's value; one that only type checkers can read is left as it is written."""
    try:
        return eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
    except NameError:
        return annotation


def _option(name: str, annotation: Any, default: Any = False) -> inspect.Parameter:
    return inspect.Parameter(name, _KEYWORD, default=default, annotation=annotation)


def _declare(
    command: Callable[..., None], function: Callable[..., Any], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _to_click(name: str, function: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(function)
    return get_command(app)
