"""The command `models`: which models there are, how each runs, and where it is to be had."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.console import open_console
from eibench_ray.errors import ConfigError
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from eibench_ray.config.schema import ModelConfig
    from eibench_ray.plan.engine_traits import Availability
    from eibench_ray.terminal.fitting_table import FittingTable

NAMES = ("model", "runs by", "weights or endpoint", "sees", "licence", "availability")
DETAILS = ("revision", "dtype", "GB", "prompt format", "family", "note")
_INTRODUCTION = """# Models

The options of the group `model`, as `eibench-ray models --markdown` writes them: each is a file in `conf/model/`, and
any other model is a file of your own (docs/how-to/own-model.md), `model=endpoint`, or `model=replay`.

- **runs by**: `vLLM`; `vLLM 0.22.1 of its own`, in an environment beside the others; `transformers`; an `endpoint`
  with OpenAI's API, whose key the named variable holds; `recorded` answers, as lines of JSON.
- **availability**: `open` weights; `gated` ones (accept the licence on the hub, export HF_TOKEN); `endpoint`;
  `recorded`: no engine here runs it; `retired`: its provider has ended it. A cell that cannot run, for want of a key,
  of weights or of recorded answers, is blocked: planned, left out of the run, and named with its reason.
- **revision** `main` moves: pin a commit for figures that are to be published.
- **GB**: GPU memory of the weights."""


def models(
    config_dir: Annotated[
        Path | None, typer.Option("--config-dir", help="A folder of your own options, listed with the package's.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/models.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the models: how each runs, its weights or endpoint, licence and availability, and what it sees."""
    from eibench_ray.config.hydra_errors import HYDRA_ERRORS, UNNAMED_ERRORS, explain
    from eibench_ray.config.model_options import read_models
    from eibench_ray.config.options_folder import config_folder

    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"--config-dir {config_dir} is no folder: name one that holds model/*.yaml")
    try:
        found = read_models(config_folder(), config_dir)
    except (*HYDRA_ERRORS, *UNNAMED_ERRORS) as error:
        raise explain(error) from error
    if as_json:
        typer.echo(json.dumps([model.model_dump() for model in found]))
    elif as_markdown:
        typer.echo(render_markdown(found), nl=False)
    else:
        console = open_console()
        console.print(_render_table([describe(model) for model in found]))
        console.print("Any other: a file of your own, model=endpoint or model=replay. --json says all of each.")


def render_markdown(found: Sequence[ModelConfig]) -> str:
    """The models as docs/models.md, ending in a newline."""
    from eibench_ray.report.markdown_table import format_table

    facts = [describe(model) for model in found]
    tables = (
        "\n".join(format_table([names, *([one[name] for name in names] for one in facts)], len(names)))
        for names in (NAMES, ("model", *DETAILS))
    )
    return "\n\n".join([_INTRODUCTION, *tables]) + "\n"


def describe(model: ModelConfig) -> Mapping[str, str]:
    """A model's row of the tables, by the names of their columns."""
    from eibench_ray.engines.registry import kind_of

    engine = kind_of(model.engine).describe(model.engine)
    memory = model.expect.memory_gb
    return {
        "model": model.name,
        "runs by": engine.runs_by,
        "weights or endpoint": engine.place,
        "sees": "pictures" if model.sees_image else "text only",
        "licence": model.licence or "-",
        "availability": _say(model.availability) if model.availability else "-",
        "note": (model.availability.note if model.availability else None) or "-",
        "revision": engine.revision,
        "dtype": engine.dtype,
        "GB": "-" if memory is None else f"{memory:g}",
        "prompt format": engine.prompt_format,
        "family": model.family or "-",
    }


def _say(available: Availability) -> str:
    joint = " " if available.status == "retired" else " until "
    return f"{available.status}{joint}{available.ends}" if available.ends else available.status


def _render_table(facts: Sequence[Mapping[str, str]]) -> FittingTable:
    from eibench_ray.terminal.fitting_table import Column, FittingTable

    # No word of a sentence is folded (a key's name is one); a hub's address may be.
    folded = {"licence", "runs by", "availability"}
    ranks = {"sees": 1, "licence": 2}
    columns = []
    for name in NAMES:
        cells = [in_line(one[name]) for one in facts]
        least = max(len(word) for cell in cells for word in (name, *cell.split())) if name in folded else 0
        least = 36 if name == "weights or endpoint" else least
        columns.append(Column(name, cells, is_name=True, least=least, rank=ranks.get(name, 0)))
    return FittingTable(columns)
