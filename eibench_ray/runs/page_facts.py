"""Facts of the page's head: what a run was asked, with which models and versions, and what came of it."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eibench_ray.config.hydra_jobs import MULTIRUN_FILE
from eibench_ray.config.secrets import is_secret_shape
from eibench_ray.estimate.time_tables import show_time
from eibench_ray.plan.blockers import describe_blocked, without_blocked
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.report.page.page_head import PageFact, PageHead, PageModel, PageRun
from eibench_ray.rows.prices import format_usd
from eibench_ray.runs.cell_names import letter_of
from eibench_ray.runs.failed_cells import describe_failed
from eibench_ray.runs.find_run import FoundRun, state_of
from eibench_ray.runs.ledger_file import read_ledger
from eibench_ray.runs.resume import read_costs
from eibench_ray.schedule.gpu_usage import GpuUsage
from eibench_ray.scoring.rounding import show_share
from eibench_ray.store.run_folder import LEDGER_FILE
from eibench_ray.visible_text import count

_HYDRA_FILE = Path(".hydra") / "hydra.yaml"
# Keys of an engine's section that say whose words its replies are.
_SOURCES = ("source", "model", "predictions")


def make_head(
    runs: Sequence[FoundRun],
    rows: Sequence[LeaderboardRow],
    usages: Sequence[GpuUsage],
    contents: str,
    troubles: Sequence[str],
) -> PageHead:
    """The head of a page about some runs.

    Args:
        runs: in the page's order.
        rows: their leaderboard.
        usages: GPU time of each run.
        contents: what the page holds of the samples.
        troubles: why a part of the page is missing.
    """
    cells = [cell for run in runs for cell in run.manifest.plan.cells]
    kinds = ("model", "setting", "dataset", "judge")
    sizes = " x ".join(count(len({getattr(cell, kind) for cell in cells}), kind) for kind in kinds)
    return PageHead(
        title=" and ".join(dict.fromkeys(run.manifest.plan.sweep for run in runs)),
        asked=f"{count(len({row.cell for row in rows}), 'cell')}: {sizes}",
        runs=[_describe_run(run, letter_of(number) if len(runs) > 1 else "") for number, run in enumerate(runs)],
        facts=list(_list_facts(runs, rows, usages)),
        models=_list_models(runs),
        versions="; ".join(dict.fromkeys(f"eibench-ray {run.manifest.version}" for run in runs)),
        contents=contents,
        blocked=list(
            describe_blocked(cell for cell in cells if cell.name in {row.cell for row in rows if row.blocked})
        ),
        failed=list(describe_failed({row.cell: row.failed for row in rows if row.failed})),
        troubles=list(troubles),
    )


def _describe_run(run: FoundRun, letter: str) -> PageRun:
    manifest = run.manifest
    began = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(manifest.started_at))
    state = state_of(run.status).replace("_", " ")
    return PageRun(
        letter=letter,
        id=manifest.id,
        sweep=manifest.plan.sweep,
        state=state,
        began=began,
        folder=str(run.folder),
        versions=", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        command=read_command(run.folder),
    )


def _list_facts(
    runs: Sequence[FoundRun], rows: Sequence[LeaderboardRow], usages: Sequence[GpuUsage]
) -> Iterable[PageFact]:
    asked, scored = (sum(getattr(row.score.overall, name) for row in rows) for name in ("n", "num_scored"))
    lacking = asked - scored
    yield PageFact(
        "coverage",
        f"{show_share(scored / asked if asked else None)}%",
        f"{scored:,} of {count(asked, 'sample')} of all cells have a score",
        "warn" if lacking else "",
    )
    # Cells that differ in the judge only have the same answers.
    answers = {(row.model, row.setting, row.dataset): row for row in rows}.values()
    truncated, empty = (sum(getattr(row, name) for row in answers) for name in ("truncated", "empty"))
    yield PageFact(
        "truncated",
        f"{truncated:,}",
        f"answers cut off at their limit of tokens; {empty:,} are empty",
        "warn" if truncated else "",
    )
    yield _count_errors(runs, rows)
    blocked = sum(bool(row.blocked) for row in rows)
    if blocked:
        yield PageFact("blocked cells", f"{blocked:,}", "cannot be asked here; the reasons are below", "warn")
    if failed := sum(bool(row.failed) for row in rows):
        yield PageFact("failed cells", f"{failed:,}", "have no figure; the reasons are below", "bad")
    costs = {
        (run.store.root, step): cost  # runs may share steps
        for run in runs
        for step, cost in read_costs(run.manifest.plan, run.store).items()
    }
    yield PageFact(
        "cost",
        f"${format_usd(sum(costs.values()))}" if costs else "-",
        "all requests together" if costs else "nothing has a price",
    )
    yield from _list_hours(usages)
    wall_s = [run.status.summary["wall_s"] for run in runs if run.status.summary and "wall_s" in run.status.summary]
    if wall_s:
        yield PageFact("wall time", show_time(sum(wall_s)), "of all runs together" if len(runs) > 1 else "of the run")


def _count_errors(runs: Sequence[FoundRun], rows: Sequence[LeaderboardRow]) -> PageFact:
    """Errors as the runs counted them at their end; before it, those of all cells."""
    summaries = [run.status.summary for run in runs]
    if all(summaries):
        kinds = sum((Counter(summary["errors_by_kind"]) for summary in summaries if summary), Counter[str]())
        errors = kinds.total()
        note = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()) or "no request failed"
    else:
        errors, note = sum(row.errors for row in rows), "answers and verdicts of all cells"
    return PageFact("errors", f"{errors:,}", note, "bad" if errors else "")


def _list_hours(usages: Sequence[GpuUsage]) -> Iterable[PageFact]:
    for unit in dict.fromkeys(usage.unit for usage in usages if usage.replicas):
        used = [usage for usage in usages if usage.unit == unit and usage.replicas]
        hours = sum(sum(usage.seconds().values()) for usage in used) / 3600
        held = sum(
            seconds * usage.weight(replica)
            for usage in used
            for replica in usage.replicas
            for seconds in replica.seconds.values()
        )
        yield PageFact(
            f"{unit}-hours", f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}", f"{held / 3600:.2f} held by engines"
        )


def _list_models(runs: Sequence[FoundRun]) -> list[PageModel]:
    found: dict[PageModel, None] = {}
    for run in runs:
        plan = run.manifest.plan
        seen = {
            event["engine"]: event["fingerprint"]
            for event in read_ledger(run.folder / LEDGER_FILE)
            if event["event"] == "replica_ready"
        }
        licences = {name: licence for cell in plan.cells for name, licence in _licences(cell.config)}
        for spec in without_blocked(plan).engines.values():
            found[_describe_model(spec, seen.get(spec.key, ""), licences.get(spec.name, ""))] = None
    return list(found)


def _licences(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for section in (config.get("model"), config.get("captioner"), config.get("asker"), config["judge"].get("model")):
        if section and section.get("licence"):
            yield section["name"], section["licence"]


def _describe_model(spec: EngineSpec, fingerprint: str, licence: str) -> PageModel:
    source = next((str(spec.settings[key]) for key in _SOURCES if spec.settings.get(key)), "")
    revision = str(spec.settings.get("revision") or "")
    return PageModel(spec.name, source, revision, fingerprint or f"{spec.kind} {spec.device}", licence)


def read_command(folder: Path) -> str:
    """The command that repeats a run, from what Hydra wrote into its folder; empty where that is gone."""
    for path in (folder / MULTIRUN_FILE, folder / _HYDRA_FILE):
        if not path.is_file():
            continue
        try:
            node: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            node = node["hydra"]
            overrides = [*node["overrides"]["task"], *(_own_overrides(node["overrides"]["hydra"]))]
            sources = node["runtime"]["config_sources"]
        except (OSError, YAMLError, OmegaConfBaseException, KeyError, TypeError):
            return ""
        folders = [one["path"] for one in sources if one.get("provider") == "command-line"]
        words = ["eibench-ray", "run", *(["-m"] if path.name == MULTIRUN_FILE else [])]
        words += [word for one in folders for word in ("--config-dir", one)]
        command = shlex.join([*words, *overrides])
        return "" if is_secret_shape(command) else command
    return ""


def _own_overrides(overrides: Iterable[str]) -> list[str]:
    """Those that somebody gave; Hydra notes its mode beside them."""
    return [one for one in overrides if not one.startswith("hydra.mode=")]
