"""The command `init`: a folder to begin with, of an own experiment, model, setting and dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from eibench_ray.cli.console import AsJson, say
from eibench_ray.visible_text import in_line

STARTER = Path(__file__).parent / "starter"
NEXT = (
    "eibench-ray prepare jsonl questions.jsonl --map target=answer --out data/my_dataset",
    "eibench-ray plan --config-dir conf experiment=my_experiment",
    "eibench-ray run --config-dir conf experiment=my_experiment",
)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; it is made where there is none.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write an experiment, a model, a setting and a dataset of your own, with comments, into a folder.

    They run as they are, on any machine; change them into what you need. No file is replaced.
    """
    from eibench_ray.errors import ConfigError
    from eibench_ray.storage.atomic_files import cannot_write

    sources = sorted(path for path in STARTER.rglob("*") if path.is_file())
    files = [folder / path.relative_to(STARTER) for path in sources]
    if there := [file for file in files if file.exists() or file.is_symlink()]:
        raise ConfigError(
            f"{folder} has {there[0].relative_to(folder)} already, and no file is replaced: name another folder"
        )
    try:
        for source, file in zip(sources, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, file)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if as_json:
        typer.echo(json.dumps({"files": [str(file) for file in files], "next": NEXT}))
        return
    for file in files:
        say(in_line(str(file)))
    enter = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    say("Next:\n" + "\n".join(f"  {line}" for line in (*map(in_line, enter), *NEXT)))
