"""The log's line on a run's end, when something else than its work ends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from eibench_ray.driver.stop_signals import PREEMPTED
from eibench_ray.errors import ClusterError
from eibench_ray.runs.introduction import told_run
from eibench_ray.terminal.run_log import LOG_FILE

if TYPE_CHECKING:
    from conftest import Sweeps


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(PREEMPTED), "INFO the run has ended: preempted"),
        (KeyboardInterrupt(), "INFO the run has ended: interrupted"),
        (ClusterError("no node has a GPU"), "ERROR the run has ended: no node has a GPU"),
    ],
)
def test_the_log_says_in_words_what_ended_the_run(
    sweeps: Sweeps, tmp_path: Path, error: BaseException, told: str
) -> None:
    sweeps.write_dataset()
    with pytest.raises(type(error)), told_run(sweeps.plan(), "20260101-000000-aaaa", tmp_path, Console(quiet=True)):
        raise error
    assert (tmp_path / LOG_FILE).read_text(encoding="utf-8").splitlines()[-1].endswith(told)
