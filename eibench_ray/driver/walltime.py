"""Time that this process may live: as configured, and as the batch system says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.errors import ClusterError

# Scores, tables and trackers at the end of a run.
WRAP_UP_S = 10.0
END_VARIABLE = "SLURM_JOB_END_TIME"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Phase deadlines on the caller's clock."""

    drain_at: float = math.inf  # no further row is asked from then on
    rows_until: float = math.inf  # rows in flight are given up then


def seconds_left(walltime_s: float | None, unix_now: float, environment: Mapping[str, str]) -> float:
    """Seconds until this process is ended; math.inf where nobody has said.

    Args:
        walltime_s: `cluster.walltime`, from now on.
        unix_now: Unix time, seconds.
        environment: SLURM says there when the job ends.

    Raises:
        ClusterError: the environment's time is none.
    """
    ends = [math.inf if walltime_s is None else walltime_s]
    if said := environment.get(END_VARIABLE):
        try:
            ends.append(float(said) - unix_now)
        except ValueError:
            raise ClusterError(f"{END_VARIABLE}={said!r} is no Unix time: unset it") from None
    return min(ends)


def deadlines(left_s: float, now: float, config: ClusterConfig) -> Deadlines:
    """Phase deadlines for the time that is left: the end is kept for stopping and scoring.

    Raises:
        ClusterError: there is too little.
    """
    rows_until = left_s - config.stop_timeout_s - WRAP_UP_S
    if rows_until - config.grace_s <= 0:
        raise ClusterError(
            f"the run has {left_s:.0f} s until its walltime is over, which cluster.grace_s={config.grace_s:g} and "
            f"cluster.stop_timeout_s={config.stop_timeout_s:g} leave nothing of: raise cluster.walltime (or the job's "
            f"time limit), or lower these"
        )
    return Deadlines(now + rows_until - config.grace_s, now + rows_until)
