"""Parts of a cell's configuration that its steps follow: calls, members of a jury, a baseline, its judges' family."""

from __future__ import annotations

from collections.abc import Sequence

from eibench_ray.config.schema import RunConfig
from eibench_ray.config.setting import CallConfig
from eibench_ray.engines.registry import kind_of


def calls_to_make(config: RunConfig) -> Sequence[CallConfig]:
    """The calls of a cell's setting. A recorded answer is what its recording says, whatever would have led to it."""
    *earlier, answer = config.setting.calls
    if earlier and kind_of(config.model.engine).traits(config.model.engine).is_recorded:
        return [answer.model_copy(update={"prompt": "{{ question }}", "protocol": None})]
    return config.setting.calls


def as_judged_alone(config: RunConfig) -> list[RunConfig]:
    """The cell as each member of its jury would judge it alone; the cell itself where it has no jury."""
    return [config.model_copy(update={"judge": judge}) for judge in config.judge.members.values()] or [config]


def answered_by_baseline(config: RunConfig) -> RunConfig | None:
    """The cell as its baseline would answer it; None where there is none."""
    judge = config.judge.compared
    if judge is None:
        return None
    return config.model_copy(update={"model": judge.baseline, "setting": judge.baseline_setting or config.setting})


def judge_family(config: RunConfig) -> str | None:
    """The family of a cell's judge; of a jury the one that a member has in common with the model, else all of them."""
    models = [judge.model for judge in (config.judge, *config.judge.members.values()) if judge.model]
    families = dict.fromkeys(model.family for model in models if model.family is not None)
    return config.model.family if config.model.family in families else ", ".join(families) or None
