"""Content-addressed steps of a cell: those of its setting's calls, and those of its judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

from eibench_ray.config.schema import ModelConfig, RunConfig
from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.config.setting import CallConfig
from eibench_ray.errors import PlanError
from eibench_ray.plan.fanout import ITEM, Item, words_of
from eibench_ray.plan.graph import COMPARED, Prompt, Step
from eibench_ray.plan.prompt_templates import find_excess, words_in
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.planner.call_items import expand
from eibench_ray.planner.cell_config import calls_to_make
from eibench_ray.planner.dataset_facts import DatasetFacts
from eibench_ray.planner.engine_specs import AskedEngine, Engines, EngineUse, ModelKey
from eibench_ray.planner.prompt_source import ONE_TOKEN, check_sampling, word_call, word_choices, word_judge
from eibench_ray.rows.choices import ChoiceRule
from eibench_ray.rows.digests import derive_seed, digest
from eibench_ray.rows.request import AcceptRule, Sampling
from eibench_ray.rows.sample import EXAMPLES, IMAGE_WORDS, TARGET_WORDS


class StepBuilder:
    """Makes the steps of cells; equal ones are met again, not added again.

    Attributes:
        steps: all so far, by id.
    """

    def __init__(self, facts: Mapping[str, DatasetFacts], engines: Engines) -> None:
        self._facts = facts
        self._engines = engines
        self.steps: dict[str, Step] = {}

    def make_calls(self, config: RunConfig, seed: int, key: ModelKey = "model") -> dict[str, str]:
        """The steps of a setting's calls, by the words for their answers.

        Args:
            config: the cell.
            seed: of the subject's calls; those of others depend on the repeat only by what they read.
            key: where the subject stands in the cell's configuration.
        """
        inputs: dict[str, str] = {}
        lists: dict[str, tuple[Item, ...]] = {}
        for call in calls_to_make(config):
            if (model := self._model_of(config, call)) is None:
                continue
            where = key if call.role == "subject" else call.role
            steps = self._call_steps(config, call, EngineUse(model, where, config), inputs, lists, seed)
            inputs |= {word: step.id for word, step in steps.items()}
            if call.each is not None:
                lists[call.name] = tuple(step.item for step in steps.values() if step.item is not None)
        return inputs

    def _model_of(self, config: RunConfig, call: CallConfig) -> ModelConfig | None:
        """The model that answers a call; None where a dataset column stands in for it."""
        role, model = call.role, config.model_of(call.role)
        if model is None:
            if call.column in self._facts[config.dataset.name].whole:
                return None
            column = f", and dataset {config.dataset.name!r} does not have {call.column!r} in every sample"
            column = column if call.column else ""
            raise PlanError(
                f"call {call.name!r} of setting {config.setting.name!r} needs the sweep's {role}{column}: choose one "
                f"with model@{role}=MODEL"
            )
        if call.image and not model.sees_image and role != "subject":
            raise PlanError(f"{role} {model.name!r} sees no picture: choose another with model@{role}=MODEL")
        return model

    def _call_steps(
        self,
        config: RunConfig,
        call: CallConfig,
        use: EngineUse,
        known: Mapping[str, str],
        lists: Mapping[str, tuple[Item, ...]],
        seed: int,
    ) -> dict[str, Step]:
        """The step of a call, or one per item that it goes over, by the words for them."""
        model = use.model
        prompt, sampling = word_call(call, config.setting, model, self._facts[config.dataset.name].protocol)
        if call.each is not None and ITEM not in words_in(prompt.user):
            raise PlanError(
                f"call {call.name!r} of setting {config.setting.name!r} asks the same for each item: let its prompt "
                f"read {{{{ {ITEM} }}}}"
            )
        if not (call.image or IMAGE_WORDS.isdisjoint(words_in(prompt.user))):
            raise PlanError(
                f"call {call.name!r} of setting {config.setting.name!r} places pictures with image() and sends none: "
                f"set its image to true, or leave image() out of its prompt"
            )
        check_sampling(sampling, model, f"call {call.name!r} of setting {config.setting.name!r}")
        choices = word_choices(call, config.setting, model, self._facts[config.dataset.name].words)
        sampling = ONE_TOKEN if choices else sampling
        engine = self._engines.add(use)
        read = {name: items for name, items in lists.items() if name in words_in(prompt.user)}
        if call.role != "subject" or not sampling.temperature:  # greedy replies do not depend on the seed
            seed = config.seed
        steps = {}
        for word, item in expand(call):
            inputs = self._inputs_read(config, prompt, known, lists, item)
            steps[word] = self._step(
                config, word, engine, prompt, sampling, inputs, seed, item=item, lists=read, choices=choices
            )
        return steps

    def judge_steps(self, config: RunConfig, read: Sequence[Mapping[str, str]], seed: int) -> list[Step]:
        """One per repeat, none for a rule. The first has the answer's seed, so that further ones leave it as it is.

        Args:
            config: the cell, with one judge.
            read: the steps whose answers can be read, by the words for them; where two are compared, in both orders,
                and there is a step for each.
            seed: of the answer.
        """
        judge = config.judge
        if judge.model is None:
            return []
        scorer, facts = make_scorer(judge.scorer), self._facts[config.dataset.name]
        prompt, sampling, accept = word_judge(judge, judge.model, scorer, config.dataset.subset, facts.protocol)
        if not IMAGE_WORDS.isdisjoint(words_in(prompt.user)):
            raise PlanError(f"the prompt of judge {judge.name!r} places pictures, and judges are sent none")
        check_sampling(sampling, judge.model, f"judge {judge.name!r}")
        engine = self._engines.add(EngineUse(judge.model, "judge.model", config))
        options = judge.scorer.options  # a later option that is not used is none of them
        asked = {name: options[name] for name in scorer.asked_options if name in options}
        spec = replace(judge.scorer, options=asked)
        inputs = [self._inputs_read(config, prompt, known) for known in read]
        if len(read) > 1 and any(len(one) < len(COMPARED) for one in inputs):
            raise PlanError(
                f"the prompt of judge {judge.name!r} has to read both {{{{ {COMPARED[0]} }}}} and "
                f"{{{{ {COMPARED[1]} }}}}: write both into judge.prompt"
            )
        seeds = [seed, *(derive_seed(seed, "repeat", number) for number in range(1, judge.repeats))]
        ask = partial(self._step, config, "verdict", engine, prompt, sampling, scorer=spec, accept=accept)
        return [ask(each, one) for one in seeds for each in inputs]

    def _inputs_read(
        self,
        config: RunConfig,
        prompt: Prompt,
        known: Mapping[str, str],
        lists: Mapping[str, tuple[Item, ...]] = {},
        item: Item | None = None,
    ) -> Mapping[str, str]:
        """The steps whose answers a prompt reads: what it does not read is no part of what the step is."""
        words = words_in(prompt.user)
        has = self._facts[config.dataset.name].words
        source = {item.source} if item is not None and item.source is not None else set()
        if source - known.keys():
            raise PlanError(
                f"setting {config.setting.name!r} goes over the lines of {', '.join(source)}, for which a column of "
                f"dataset {config.dataset.name!r} stands in: choose who makes it with model@captioner=MODEL"
            )
        read = (words & known.keys()).union(source, *(words_of(word, lists[word]) for word in words & lists.keys()))
        own = TARGET_WORDS | IMAGE_WORDS | known.keys() | lists.keys() | ({ITEM} if item is not None else set())
        own |= {EXAMPLES} if config.dataset.examples else set()
        if has is not None and (unknown := words - own - has):
            raise PlanError(
                f"the prompt {prompt.user[:60]!r} of setting {config.setting.name!r} or judge {config.judge.name!r} "
                f"reads {', '.join(sorted(unknown))}, which neither dataset {config.dataset.name!r} "
                f"({', '.join(sorted({*TARGET_WORDS, *has}))}) nor an earlier call has"
            )
        if excess := find_excess(prompt.user, frozenset(lists)):
            raise PlanError(
                f"the prompt {prompt.user[:60]!r} of setting {config.setting.name!r} or judge {config.judge.name!r} "
                f"cannot be rendered: {excess}; shorten what it makes"
            )
        return {word: step for word, step in known.items() if word in read}

    def _step(
        self,
        config: RunConfig,
        name: str,
        asked: AskedEngine,
        prompt: Prompt,
        sampling: Sampling,
        inputs: Mapping[str, str],
        seed: int,
        *,
        scorer: ScorerSpec | None = None,
        accept: AcceptRule | None = None,
        item: Item | None = None,
        lists: Mapping[str, tuple[Item, ...]] = {},
        choices: ChoiceRule | None = None,
    ) -> Step:
        # Only a scorer that shapes replies is part of what is asked: others read the same ones.
        reply = {"kind": scorer.kind, **scorer.options} if scorer and scorer.options else None
        identity = {
            "engine": asked.spec.key,
            "system": prompt.system,
            "user": prompt.user,
            "image": prompt.image,
            "sampling": sampling.identity,
            "seed": seed,
            "dataset": config.dataset.name,
            "inputs": dict(inputs),
            "reply": reply,
            "accept": asdict(accept) if accept else None,
        }
        identity |= {"item": asdict(item)} if item else {}
        identity |= {"adapter": asked.adapter.key} if asked.adapter else {}
        identity |= {"choices": asdict(choices)} if choices else {}
        examples = self._facts[config.dataset.name].examples if EXAMPLES in words_in(prompt.user) else None
        if examples is not None:
            identity["examples"] = digest(asdict(examples))
        step_id = digest(identity, size=10)
        step = Step(
            id=step_id,
            name=name,
            engine=asked.spec.key,
            prompt=prompt,
            sampling=sampling,
            seed=seed,
            dataset=config.dataset.name,
            inputs=dict(inputs),
            scorer=scorer,
            accept=accept,
            item=item,
            lists=dict(lists),
            examples=examples,
            adapter=asked.adapter.key if asked.adapter else None,
            choices=choices,
        )
        return self.steps.setdefault(step_id, step)
