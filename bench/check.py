"""Runs benchmarks again as the kept results were made, and compares their ratios: worse by more than the noise fails.

    python -m bench.check [BENCH ..] [--new FOLDER]

A ratio is worse where it lies below the kept one by more than the larger of both files' stated noise. Times are not
compared: they are another machine's, or another day's. With `--new` nothing is run, and the results in FOLDER are
compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.result_file import FOLDER_VARIABLE, RESULTS


def find_worse(kept: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Lines about all ratios that both results have, and about those that are worse or gone."""
    now = {ratio["name"]: ratio for ratio in new["ratios"]}
    lines, worse = [], []
    for ratio in kept["ratios"]:
        name = f"{kept['bench']}: {ratio['name']}"
        if (other := now.get(ratio["name"])) is None:
            worse.append(f"{name}: kept {ratio['value']}, now not measured")
            continue
        noise = max(ratio["noise"], other["noise"])
        line = f"{name}: kept {ratio['value']}, now {other['value']}, noise {noise:.0%}"
        lines.append(line)
        if other["value"] < ratio["value"] * (1 - noise):
            worse.append(line)
    return lines, worse


def run_again(kept: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The result of the same benchmark by the same command, now."""
    command = [sys.executable, "-m", *kept["command"]]
    subprocess.run(command, check=True, env={**os.environ, FOLDER_VARIABLE: str(folder)}, cwd=RESULTS.parents[1])
    result: dict[str, Any] = json.loads((folder / f"{kept['bench']}.json").read_text(encoding="utf-8"))
    return result


def main(
    bench: Annotated[list[str] | None, typer.Argument(help="Names of kept results. Default: all with ratios.")] = None,
    new: Annotated[Path | None, typer.Option(help="A folder of results, in place of running.")] = None,
) -> None:
    """Compares, and exits with 1 where something is worse."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    chosen = [one for one in kept if one["ratios"] and (not bench or one["bench"] in bench)]
    if missing := set(bench or ()) - {one["bench"] for one in chosen}:
        raise SystemExit(f"no kept results with ratios: {', '.join(sorted(missing))}")
    worse: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench_check_") as scratch:
        for one in chosen:
            path = None if new is None else new / f"{one['bench']}.json"
            if path is not None and not path.is_file():
                print(f"{one['bench']}: not among the new results")
                continue
            again = json.loads(path.read_text(encoding="utf-8")) if path else run_again(one, Path(scratch))
            lines, found = find_worse(one, again)
            print("\n".join(lines))
            worse += found
    if worse:
        print("worse by more than the noise:", *worse, sep="\n  ")
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
