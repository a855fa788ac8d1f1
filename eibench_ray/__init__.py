"""eibench_ray: large inference sweeps for benchmarks, as one plan on one cluster."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from eibench_ray.versions import __version__ as __version__

__all__ = ["Run", "SweepPlan", "open_run", "plan", "run"]

if TYPE_CHECKING:
    from eibench_ray.api import Run, SweepPlan, open_run, plan, run
else:
    # The call and the package share the best name for both. A function bound here would hide the package from
    # `import eibench_ray.plan.graph as graph`, and the package's import would replace it: so the package is called.
    from eibench_ray import plan

    class _Plan(ModuleType):
        """The package of plans, which can be called: `eibench_ray.plan("experiment=demo")` plans a sweep."""

        def __call__(self, *overrides: str, **options: Any) -> Any:
            return import_module("eibench_ray.api").plan(*overrides, **options)

    plan.__class__ = _Plan


def __getattr__(name: str) -> Any:
    """The names of `eibench_ray.api`, imported when they are first used."""
    if name in __all__:
        return getattr(import_module("eibench_ray.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
