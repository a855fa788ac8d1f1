"""The command `show`: what was sent about one sample, what came back, and how it was scored."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from eibench_ray.cli.choose_run import InStore, Run, choose_run
from eibench_ray.cli.console import AsJson, open_console


def show(
    run: Run = None,
    sample: Annotated[str, typer.Option("--sample", help="The sample's id.")] = "",
    step: Annotated[
        str | None, typer.Option("--step", help="Only steps of this name (answer, verdict), or with this id.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only cells of this model.")] = None,
    setting: Annotated[str | None, typer.Option("--setting", help="Only cells of this setting.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="The dataset, where several have the sample.")
    ] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="Only cells of this judge.")] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts/--no-prompts", help="Whether prompts are rendered by the engines' templates.")
    ] = True,
    as_json: AsJson = False,
    store: InStore = None,
) -> None:
    """Show what was sent about a sample, with pictures, seeds and the rendered prompt, the replies, and the scores.

    Requests are made again from the run's plan, the dataset and the answers in the store. Each is checked against the
    digest that its reply's row carries, over all that was sent; a difference is said.
    """
    from eibench_ray.errors import ConfigError
    from eibench_ray.runs.sample_page import render_sample
    from eibench_ray.runs.shown_sample import show_sample, to_json

    if not sample:
        raise ConfigError("--sample is missing: name the id of a sample, as in the column sample_id of `export`")
    found = choose_run(run, store)
    sides = {"model": model, "setting": setting, "dataset": dataset, "judge": judge}
    chosen = {side: name for side, name in sides.items() if name is not None}
    shown = show_sample(found.manifest.plan, found.store, sample, step=step, chosen=chosen, renders=prompts)
    if as_json:
        typer.echo(json.dumps({"run_dir": str(found.folder), "store": found.store.root} | to_json(shown)))
        return
    console = open_console()
    for line in render_sample(shown, draws=console.is_terminal and console.color_system in ("256", "truecolor")):
        console.print(line, soft_wrap=True)
