"""Hydra's basic sweeper, for unions of products too, and without its trial composition of every job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn

from eibench_ray.config.overrides import join_blocks


@dataclass
class PlanSweeperConf(BasicSweeperConf):
    """Hydra's structured config of the sweeper.

    Attributes:
        params: as in the basic one.
        blocks: name -> further params; the sweep is the union of the products that each makes with `params`.
    """

    _target_: str = "hydra_plugins.eibench_ray_launcher.sweeper.PlanSweeper"
    blocks: dict[str, dict[str, str]] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="eibench_ray", node=PlanSweeperConf, provider="eibench_ray")


class PlanSweeper(BasicSweeper):
    """Expands `a,b` choices into jobs, as the basic sweeper does."""

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        blocks: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self._blocks = blocks or {}

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Outcome of each job. Unlike the basic sweeper it makes no folder: the run does, once it is to begin."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        returned: list[Sequence[JobReturn]] = []
        num_jobs = 0
        for batch in self.split_arguments(overrides, self.max_batch_size):
            returned.append(self.launcher.launch(batch, initial_job_idx=num_jobs))
            num_jobs += len(batch)
        return returned

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: a job that cannot be composed fails in the launcher, before anything has run."""

    def split_arguments(  # type: ignore[override]  # Hydra's is static and knows no blocks
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs in batches: the product of all choices, or the union of the blocks' products."""
        if not self._blocks:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        blocks = {
            name: _choices(parser.parse_overrides([f"{key}={value}" for key, value in block.items()]))
            for name, block in self._blocks.items()
        }
        jobs = join_blocks(_choices(overrides), blocks)
        return list(self.split_overrides_to_chunks([list(job) for job in jobs], max_batch_size))


def _choices(overrides: Sequence[Override]) -> dict[str, tuple[str, ...]]:
    """Key -> what is set, one per value, in Hydra's own words; of two overrides of one key, the later one counts."""
    choices: dict[str, tuple[str, ...]] = {}
    for override in overrides:
        [[*jobs]] = BasicSweeper.split_arguments([override], None)
        choices[override.get_key_element()] = tuple(item for [item] in jobs)
    return choices
