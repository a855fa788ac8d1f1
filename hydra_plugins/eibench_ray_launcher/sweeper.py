"""Hydra's basic sweeper, without its trial composition of every job: the launcher composes them anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


@dataclass
class PlanSweeperConf(BasicSweeperConf):
    """Hydra's structured config of the sweeper; `params` as in the basic one."""

    _target_: str = "hydra_plugins.eibench_ray_launcher.sweeper.PlanSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="eibench_ray", node=PlanSweeperConf, provider="eibench_ray")


class PlanSweeper(BasicSweeper):
    """Expands `a,b` choices into jobs, as the basic sweeper does."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: a job that cannot be composed fails in the launcher, before anything has run."""
