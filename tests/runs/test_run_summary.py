"""The end of a run in words: what to look at next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eibench_ray.runs.run_summary import suggest_command

SCORED, OTHER_JUDGE = ({"dataset": "demo", "judge": judge, "scored": 4} for judge in ("echo", "strict"))
UNSCORED = SCORED | {"scored": 0}


@pytest.mark.parametrize(
    ("rows", "errors", "said"),
    [
        ([UNSCORED], 0, "eibench-ray status multirun/a  (how far it is)"),
        ([UNSCORED], 3, "eibench-ray status multirun/a  (what went wrong)"),
        ([SCORED, OTHER_JUDGE, UNSCORED], 3, "eibench-ray show multirun/a  (what was asked about a sample"),
        ([SCORED, SCORED], 0, "eibench-ray compare multirun/a  (which differences are more than chance)"),
    ],
)
def test_what_to_look_at_next_depends_on_what_has_a_score(rows: list[Any], errors: int, said: str) -> None:
    summary = {"run_dir": str(Path.cwd() / "multirun/a"), "rows": rows, "errors": errors, "cells_failed": 0}
    assert suggest_command(summary).startswith(said)
