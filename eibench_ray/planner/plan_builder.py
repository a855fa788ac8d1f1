"""The planner: cells in, a graph of content-addressed steps out. Pure, but for the facts that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Literal

from eibench_ray.config.schema import DatasetConfig, ModelConfig, RunConfig
from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.config.setting import CallConfig
from eibench_ray.engines.engine_memory import GpuNodes
from eibench_ray.engines.registry import kind_of
from eibench_ray.errors import PlanError
from eibench_ray.plan.fanout import ITEM, Item, words_of
from eibench_ray.plan.graph import COMPARED, Baseline, Cell, DatasetSpec, Juror, Plan, Prompt, Step
from eibench_ray.plan.packed_rows import pack
from eibench_ray.plan.prompt_templates import find_excess, words_in
from eibench_ray.plan.scorer_spec import ScorerSpec
from eibench_ray.planner.call_items import expand
from eibench_ray.planner.dataset_facts import DatasetFacts
from eibench_ray.planner.engine_specs import AskedEngine, Engines, EngineUse, ModelKey
from eibench_ray.planner.prompt_source import ONE_TOKEN, check_sampling, word_call, word_choices, word_judge
from eibench_ray.rows.choices import ChoiceRule
from eibench_ray.rows.digests import derive_seed, digest
from eibench_ray.rows.request import AcceptRule, Sampling
from eibench_ray.rows.sample import EXAMPLES, IMAGE_WORDS, TARGET_WORDS

# Keys of a dataset that say which samples are asked: the same for all cells that ask it.
_CHOICE = ("path", "limit", "sample", "sample_seed", "stratify_by", "filter", "examples")


def build_plan(
    configs: Sequence[RunConfig],
    datasets: Mapping[str, DatasetFacts],
    device: Literal["cpu", "cuda"],
    known: GpuNodes | None = None,
) -> Plan:
    """The plan of all cells.

    Args:
        configs: one per cell.
        datasets: facts by dataset name.
        device: where vLLM engines run.
        known: the run's nodes with GPUs; None: as the configuration expects them.

    Raises:
        PlanError: cells that contradict each other, a setting that lacks what it needs, or a model that fits nowhere.
    """
    builder = _Builder(datasets, Engines(device, configs[0].cluster, known))
    for config in configs:
        builder.add(config)
    plan = builder.plan(configs[0].sweep)
    if not plan.cells:
        raise PlanError(
            f"model {configs[0].model.name!r} would be compared with itself ({', '.join(plan.left_out)}), which says "
            f"nothing: choose another with model@judge.baseline=NAME, or another setting with "
            f"setting@judge.baseline_setting=NAME"
        )
    return plan


def _calls_to_make(config: RunConfig) -> Sequence[CallConfig]:
    """The calls of a cell's setting. A recorded answer is what its recording says, whatever would have led to it."""
    *earlier, answer = config.setting.calls
    if earlier and kind_of(config.model.engine).traits(config.model.engine).is_recorded:
        return [answer.model_copy(update={"prompt": "{{ question }}", "protocol": None})]
    return config.setting.calls


def _check_likelihoods(config: RunConfig) -> None:
    """Returns where whoever compares likelihoods gets some.

    Raises:
        PlanError: the answers are generated.
    """
    for one in _alone(config):
        if make_scorer(one.judge.scorer).reads_likelihoods and config.setting.calls[-1].choices is None:
            raise PlanError(
                f"judge {one.judge.name!r} compares how likely choices are, and setting {config.setting.name!r} has "
                f"its answers generated: give its last call `choices`, or choose another judge"
            )


def _check_repeats(config: RunConfig, answers: Sequence[str]) -> None:
    """Returns where the repeats of a setting may differ.

    Raises:
        PlanError: they would all be equal.
    """
    if config.setting.repeats == 1:
        return
    where = f"setting {config.setting.name!r} asks {config.model.name!r} {config.setting.repeats} times"
    if kind_of(config.model.engine).traits(config.model.engine).is_recorded:
        raise PlanError(f"{where}, but its answers are recorded, the same each time: set setting.repeats=1 for it")
    if config.setting.calls[-1].choices is not None:
        raise PlanError(
            f"{where}, but compares choices, whose likelihoods are the same each time: set setting.repeats=1"
        )
    if len(set(answers)) < len(answers):
        raise PlanError(
            f"{where} at temperature 0: greedy answers do not depend on the seed, so all would be equal; set "
            f"setting.sampling.temperature, to 0.7 for instance, or setting.repeats=1"
        )


def _alone(config: RunConfig) -> list[RunConfig]:
    """The cell as each member of its jury would judge it alone; the cell itself where it has no jury."""
    return [config.model_copy(update={"judge": judge}) for judge in config.judge.members.values()] or [config]


def _baseline_of(config: RunConfig) -> RunConfig | None:
    """The cell as its baseline would answer it; None where there is none."""
    judge = config.judge.compared
    if judge is None:
        return None
    return config.model_copy(update={"model": judge.baseline, "setting": judge.baseline_setting or config.setting})


def _judge_family(config: RunConfig) -> str | None:
    """The family of a cell's judge; of a jury the one that a member has in common with the model, else all of them."""
    models = [judge.model for judge in (config.judge, *config.judge.members.values()) if judge.model]
    families = dict.fromkeys(model.family for model in models if model.family is not None)
    return config.model.family if config.model.family in families else ", ".join(families) or None


class _Builder:
    """Collects steps and cells; equal ones are met again, not added again."""

    def __init__(self, facts: Mapping[str, DatasetFacts], engines: Engines) -> None:
        self._facts = facts
        self._engines = engines
        self._datasets: dict[str, tuple[DatasetConfig, DatasetSpec]] = {}
        self._steps: dict[str, Step] = {}
        self._cells: dict[str, Cell] = {}
        self._left_out: dict[str, None] = {}

    def plan(self, sweep: str) -> Plan:
        datasets = {name: spec for name, (_, spec) in self._datasets.items()}
        most: Counter[str] = Counter()  # pictures of one request, by engine
        for step in self._steps.values():
            if step.prompt.image:
                most[step.engine] = max(most[step.engine], datasets[step.dataset].most_media)
        cells, left_out = tuple(self._cells.values()), tuple(self._left_out)
        return Plan(sweep, self._engines.plan(most), datasets, self._steps, cells, left_out)

    def add(self, config: RunConfig) -> None:
        self._add_dataset(config.dataset)
        calls: list[str] = []
        answers: list[str] = []
        compared: list[str] = []  # the baseline's answers, if there is one
        verdicts: list[str] = []
        other = _baseline_of(config)
        names = (config.model.name, config.setting.name, config.dataset.name, config.judge.cell_name)
        # The first repeat has the sweep's seed, so that further ones leave it as it is.
        further = (derive_seed(config.seed, "answer", number) for number in range(1, config.setting.repeats))
        for seed in (config.seed, *further):
            inputs = self._make_calls(config, seed)
            answers.append(inputs[config.setting.calls[-1].name])
            calls += inputs.values()
            read: list[dict[str, str]] = [{"answer": answers[-1], "record": answers[-1]}]
            if other is not None:
                inputs = self._make_calls(other, seed, "judge.baseline")
                pair = (answers[-1], inputs[other.setting.calls[-1].name])
                if pair[0] == pair[1]:
                    self._left_out["/".join(names)] = None
                    return
                compared.append(pair[1])
                calls += inputs.values()
                # Told by their places, so that both models' cells share the two verdicts.
                read = [dict(zip(COMPARED, order, strict=True)) for order in (pair, pair[::-1])]
            for one in _alone(config):
                verdicts += (step.id for step in self._judge_steps(one, read, seed))
        _check_repeats(config, answers)
        _check_likelihoods(config)
        answer = answers[0]
        members = config.judge.members.values()
        orders = len(COMPARED) if other is not None else 1
        jurors = tuple(
            Juror(one.name, one.scorer, one.repeats * orders if one.model else 0, one.is_unparsed_wrong)
            for one in members
        )
        cell = Cell(
            key="",
            model=names[0],
            setting=names[1],
            dataset=names[2],
            judge=names[3],
            scorer=config.judge.scorer,
            is_unparsed_wrong=config.judge.is_unparsed_wrong,
            sees_image=config.model.sees_image,
            self_judged=self._steps[answer].asked in {self._steps[verdict].asked for verdict in verdicts},
            answer=answer,
            verdicts=tuple(verdicts),
            steps=tuple(dict.fromkeys((*calls, *verdicts))),
            config=config.model_dump(),
            family=config.model.family,
            judge_family=_judge_family(config),
            jurors=jurors,
            further_answers=tuple(answers[1:]),
            baseline=Baseline(other.model.name, other.setting.name, config.judge.name, tuple(compared))
            if other is not None
            else None,
        )
        # A rule, and how a jury decides, are part of no step.
        rule = [] if verdicts and not jurors else [asdict(cell.scorer), cell.is_unparsed_wrong]
        rule += [asdict(juror) for juror in jurors]
        self._add_cell(replace(cell, key=digest([config.sweep, cell.name, cell.steps, *rule])))

    def _make_calls(self, config: RunConfig, seed: int, key: ModelKey = "model") -> dict[str, str]:
        """The steps of a setting's calls, by the words for their answers.

        Args:
            config: the cell.
            seed: of the subject's calls; those of others depend on the repeat only by what they read.
            key: where the subject stands in the cell's configuration.
        """
        inputs: dict[str, str] = {}
        lists: dict[str, tuple[Item, ...]] = {}
        for call in _calls_to_make(config):
            if (model := self._model_of(config, call)) is None:
                continue
            where = key if call.role == "subject" else call.role
            steps = self._call_steps(config, call, EngineUse(model, where, config), inputs, lists, seed)
            inputs |= {word: step.id for word, step in steps.items()}
            if call.each is not None:
                lists[call.name] = tuple(step.item for step in steps.values() if step.item is not None)
        return inputs

    def _add_cell(self, cell: Cell) -> None:
        known = self._cells.setdefault(cell.name, cell)
        if known.key != cell.key:
            raise PlanError(
                f"two cells are both called {cell.name} but ask for different things (keys {known.key[:8]} and "
                f"{cell.key[:8]}): give one of them another model.name, setting.name, dataset.name or judge.name"
            )

    def _add_dataset(self, config: DatasetConfig) -> None:
        facts = self._facts[config.name]
        if facts.words is not None and (missing := set(config.group_by) - facts.words):
            raise PlanError(
                f"dataset {config.name!r} has no column {', '.join(sorted(missing))} to score apart by: set "
                f"dataset.group_by to columns that it has ({', '.join(sorted(facts.words))})"
            )
        # Absolute, so that a run can be read from any folder later.
        is_folder = not config.path.startswith("package:") and "://" not in config.path
        path = str(Path(config.path).absolute()) if is_folder else config.path
        columns = tuple(config.group_by)
        spec = DatasetSpec(
            config.name,
            path,
            config.limit,
            facts.num_rows,
            facts.is_prepared,
            columns,
            facts.most_media,
            None if isinstance(facts.rows, range) else pack(facts.rows),
            facts.choice,
        )
        known, _ = self._datasets.setdefault(config.name, (config, spec))
        if differing := [key for key in _CHOICE if getattr(known, key) != getattr(config, key)]:
            values = (", ".join(str(getattr(one, key)) for key in differing) for one in (known, config))
            raise PlanError(
                f"dataset {config.name!r} appears with two values of {', '.join(differing)} ({' and '.join(values)}): "
                f"give one of them another dataset.name"
            )

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

    def _judge_steps(self, config: RunConfig, read: Sequence[Mapping[str, str]], seed: int) -> list[Step]:
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
        asked = {name: judge.scorer.options[name] for name in scorer.asked_options}
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
        return self._steps.setdefault(step_id, step)
