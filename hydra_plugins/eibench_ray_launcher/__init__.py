"""Hydra's way in: composes every job of a sweep and hands all of them over as one plan."""

from hydra_plugins.eibench_ray_launcher.launcher import PlanLauncher
from hydra_plugins.eibench_ray_launcher.sweeper import PlanSweeper

__all__ = ["PlanLauncher", "PlanSweeper"]
