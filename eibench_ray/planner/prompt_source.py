"""Chooses the words and the decoding parameters of a call: the dataset's official ones, or the project's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from eibench_ray.config.schema import JudgeConfig, ModelConfig
from eibench_ray.config.setting import CallConfig, SamplingConfig, SettingConfig
from eibench_ray.datasets.prompts_file import PromptSet, SourcePrompt, to_jinja
from eibench_ray.engines.registry import kind_of
from eibench_ray.errors import PlanError
from eibench_ray.plan.graph import Prompt
from eibench_ray.plan.prompt_templates import with_words
from eibench_ray.rows.choices import ChoiceRule
from eibench_ray.rows.request import OPTIONAL_SAMPLING, AcceptRule, Sampling
from eibench_ray.scoring.scorer import Scorer

# What is sent where neither the configuration nor a protocol says otherwise.
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=512)
# Of a step that compares choices: nothing is drawn, and a row counts as one token.
ONE_TOKEN = Sampling(temperature=0.0, top_p=1.0, max_tokens=1)


def word_call(
    call: CallConfig, setting: SettingConfig, model: ModelConfig, protocol: PromptSet | None
) -> tuple[Prompt, Sampling]:
    """Text and sampling of a call of a setting.

    Raises:
        PlanError: the official prompt is demanded and the dataset has none.
    """
    official = None
    if call.protocol and setting.prompt_source != "own" and protocol:
        official = protocol.subject.get(call.protocol)
    if call.protocol and setting.prompt_source == "official" and official is None:
        raise PlanError(
            f"setting {setting.name!r} asks for the official prompt of {call.protocol!r}, which the dataset does not "
            f"carry: prepare it from a source that has its prompts, or set setting.prompt_source=auto"
        )
    prompt = Prompt(
        system=_join(model.system, official.system if official else call.system),
        user=to_jinja(official.user) if official else call.prompt,
        image=call.image and model.sees_image,
        is_official=official is not None,
    )
    return prompt, _sampling((call.sampling or setting.sampling, setting.sampling), official, GREEDY)


def word_judge(
    judge: JudgeConfig, model: ModelConfig, scorer: Scorer, subset: str | None, protocol: PromptSet | None
) -> tuple[Prompt, Sampling, AcceptRule | None]:
    """Text and sampling of a judge, and the rule by which it is asked again.

    Args:
        judge: as configured.
        model: who is asked.
        scorer: the judge's.
        subset: which variant of the dataset's own prompts applies.
        protocol: the dataset's own prompts.

    Raises:
        PlanError: the official prompt is demanded and the dataset has none.
    """
    official = None
    if judge.prompt_source != "own" and protocol:
        known = map(protocol.judge.get, scorer.prompt_names(subset))
        official = next((prompt_source for prompt_source in known if prompt_source is not None), None)
    if judge.prompt_source == "official" and official is None:
        raise PlanError(
            f"judge {judge.name!r} asks for the official prompt, which the dataset does not carry: prepare it from a "
            f"source that has its prompts, or set judge.prompt_source=auto"
        )
    prompt = Prompt(
        system=_join(model.system, official.system if official else judge.system),
        user=to_jinja(official.user) if official else with_words(judge.prompt or "", scorer.prompt_words),
        image=False,
        is_official=official is not None,
    )
    sampling = _sampling((judge.sampling,), official, scorer.sampling or GREEDY)
    return prompt, sampling, (official.accept if official else None) or scorer.accept


def word_choices(
    call: CallConfig, setting: SettingConfig, model: ModelConfig, words: Collection[str] | None
) -> ChoiceRule | None:
    """The choices that a call compares; None: its replies are generated.

    Args:
        call: of the setting.
        setting: as configured.
        model: who is asked.
        words: that prompts can read of the dataset; None: not known.

    Raises:
        PlanError: the dataset has no such column, or the engine cannot tell likelihoods.
    """
    if call.choices is None:
        return None
    whose = f"call {call.name!r} of setting {setting.name!r} compares choices"
    if words is not None and call.choices.column not in words:
        raise PlanError(
            f"{whose} of the column {call.choices.column!r}, which the dataset does not have: set the call's "
            f"choices.column to one that lists them ({', '.join(sorted(words))})"
        )
    if not kind_of(model.engine).compares_choices:
        raise PlanError(
            f"{whose}, and model {model.name!r} (engine.kind {model.engine.kind}) does not tell how likely a given "
            f"text is: choose a model whose weights are loaded here, or a setting that has the answer generated"
        )
    return call.choices.to_rule()


def check_sampling(sampling: Sampling, model: ModelConfig, whose: str) -> None:
    """Returns if a model's engine can do what a call's sampling asks.

    Raises:
        PlanError: it cannot, and would answer as if it had not been asked to.
    """
    engine = model.engine
    if (refused := kind_of(engine).sampling_refusal(engine, sampling)) is not None:
        raise PlanError(
            f"{whose} sets sampling.{refused.key} to {refused.value!r}, and model {model.name!r} (engine.kind "
            f"{engine.kind}) {refused.reason}"
        )


def _join(*parts: str | None) -> str | None:
    return "\n\n".join(part for part in parts if part) or None


def _sampling(chosen: tuple[SamplingConfig, ...], official: SourcePrompt | None, default: Sampling) -> Sampling:
    """Each parameter from the first that has it: the configuration, the protocol, the default."""
    sources = (*chosen, *((official.sampling,) if official else ()), default)
    temperature = next(source.temperature for source in sources if source.temperature is not None)
    top_p = next(source.top_p for source in sources if source.top_p is not None)
    max_tokens = next(source.max_tokens for source in sources if source.max_tokens is not None)
    stop = next((tuple(config.stop) for config in chosen if config.stop), ())
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for source in reversed(chosen):
        known |= {name: value for name in OPTIONAL_SAMPLING if (value := getattr(source, name)) is not None}
        extra |= source.extra
    extra = {name: value for name, value in extra.items() if value is not None}
    return Sampling(float(temperature), float(top_p), max_tokens, stop, **known, extra=extra)
