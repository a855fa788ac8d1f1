"""The pages that `eibench-ray view` makes itself: the list of runs, the frame around a run's page, a refusal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2

from eibench_ray.runs.find_run import ListedRun
from eibench_ray.visible_text import in_line


def render_runs(root: str, runs: Sequence[ListedRun], nonce: str) -> str:
    """The list of a store's runs, which is loaded anew every few seconds."""
    lines = [
        {
            "id": run.id,
            "sweep": in_line(run.sweep or run.trouble),
            "state": run.state.replace("_", " "),
            "began": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_at)) if run.started_at else "",
            "done": f"{min(run.rows_done, run.rows):,} of {run.rows:,}",
        }
        for run in runs
    ]
    return _render("runs", nonce, title=f"Runs of {in_line(root)}", root=in_line(root), runs=lines)


def render_run(progress: Mapping[str, Any], nonce: str) -> str:
    """The frame of a run: how far it is, and its page."""
    return _render("run", nonce, title=in_line(f"{progress['sweep']} ({progress['id']})"), progress=progress)


def render_entry(path: str, nonce: str) -> str:
    """A page that leads on to another of this server."""
    return _render("entry", nonce, title="eibench-ray", path=path)


def render_error(why: str, nonce: str) -> str:
    """A page that says why there is nothing to be seen."""
    return _render("error", nonce, title="eibench-ray", why=in_line(why))


def _render(name: str, nonce: str, **values: Any) -> str:
    text = (files("eibench_ray.runs") / "view.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(text).render(name=name, nonce=nonce, **values)
