"""The planner: cells in, a graph of content-addressed steps out. Pure, but for the facts that it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from eibench_ray.config.schema import DatasetConfig, RunConfig
from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.engines.engine_memory import GpuNodes
from eibench_ray.engines.registry import kind_of
from eibench_ray.errors import PlanError
from eibench_ray.plan.graph import COMPARED, Baseline, Cell, DatasetSpec, Juror, Plan
from eibench_ray.plan.packed_rows import pack
from eibench_ray.planner.cell_config import answered_by_baseline, as_judged_alone, judge_family
from eibench_ray.planner.dataset_facts import DatasetFacts
from eibench_ray.planner.engine_specs import Engines
from eibench_ray.planner.step_builder import StepBuilder
from eibench_ray.rows.digests import derive_seed, digest

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


def _check_likelihoods(config: RunConfig) -> None:
    """Returns where whoever compares likelihoods gets some.

    Raises:
        PlanError: the answers are generated.
    """
    for one in as_judged_alone(config):
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


@dataclass(slots=True)
class _CellSteps:
    """Ids of a cell's steps, in the order of its repeats."""

    calls: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)  # the baseline's answers, if there is one
    verdicts: list[str] = field(default_factory=list)


class _Builder:
    """Collects datasets and cells, and has the steps made that they need."""

    def __init__(self, facts: Mapping[str, DatasetFacts], engines: Engines) -> None:
        self._facts = facts
        self._engines = engines
        self._steps = StepBuilder(facts, engines)
        self._datasets: dict[str, tuple[DatasetConfig, DatasetSpec]] = {}
        self._cells: dict[str, Cell] = {}
        self._left_out: dict[str, None] = {}

    def plan(self, sweep: str) -> Plan:
        datasets = {name: spec for name, (_, spec) in self._datasets.items()}
        steps = self._steps.steps
        most: Counter[str] = Counter()  # pictures of one request, by engine
        for step in steps.values():
            if step.prompt.image:
                most[step.engine] = max(most[step.engine], datasets[step.dataset].most_media)
        cells, left_out = tuple(self._cells.values()), tuple(self._left_out)
        return Plan(sweep, self._engines.plan(most), datasets, steps, cells, left_out)

    def add(self, config: RunConfig) -> None:
        self._add_dataset(config.dataset)
        other = answered_by_baseline(config)
        asked = self._ask(config, other)
        if other is not None and asked.answers == asked.compared:
            names = (config.model.name, config.setting.name, config.dataset.name, config.judge.cell_name)
            self._left_out["/".join(names)] = None
            return
        _check_repeats(config, asked.answers)
        _check_likelihoods(config)
        self._add_cell(self._cell(config, other, asked))

    def _ask(self, config: RunConfig, other: RunConfig | None) -> _CellSteps:
        """The steps of a cell; without verdicts where its answers would be compared with themselves."""
        found = _CellSteps()
        # The first repeat has the sweep's seed, so that further ones leave it as it is.
        further = (derive_seed(config.seed, "answer", number) for number in range(1, config.setting.repeats))
        for seed in (config.seed, *further):
            inputs = self._steps.make_calls(config, seed)
            answer = inputs[config.setting.calls[-1].name]
            found.answers.append(answer)
            found.calls += inputs.values()
            read: list[dict[str, str]] = [{"answer": answer, "record": answer}]
            if other is not None:
                inputs = self._steps.make_calls(other, seed, "judge.baseline")
                pair = (answer, inputs[other.setting.calls[-1].name])
                found.compared.append(pair[1])
                found.calls += inputs.values()
                if pair[0] == pair[1]:
                    continue
                # Told by their places, so that both models' cells share the two verdicts.
                read = [dict(zip(COMPARED, order, strict=True)) for order in (pair, pair[::-1])]
            for one in as_judged_alone(config):
                found.verdicts += (step.id for step in self._steps.judge_steps(one, read, seed))
        return found

    def _cell(self, config: RunConfig, other: RunConfig | None, asked: _CellSteps) -> Cell:
        orders = len(COMPARED) if other is not None else 1
        jurors = tuple(
            Juror(one.name, one.scorer, one.repeats * orders if one.model else 0, one.is_unparsed_wrong)
            for one in config.judge.members.values()
        )
        steps, answer = self._steps.steps, asked.answers[0]
        judges = {steps[verdict].asked for verdict in asked.verdicts}
        baseline = None
        if other is not None:
            compared = tuple(asked.compared)
            is_judge = steps[compared[0]].asked in judges
            baseline = Baseline(other.model.name, other.setting.name, config.judge.name, compared, is_judge)
        cell = Cell(
            key="",
            model=config.model.name,
            setting=config.setting.name,
            dataset=config.dataset.name,
            judge=config.judge.cell_name,
            scorer=config.judge.scorer,
            is_unparsed_wrong=config.judge.is_unparsed_wrong,
            sees_image=config.model.sees_image,
            self_judged=steps[answer].asked in judges,
            answer=answer,
            verdicts=tuple(asked.verdicts),
            steps=tuple(dict.fromkeys((*asked.calls, *asked.verdicts))),
            config=config.model_dump(),
            family=config.model.family,
            judge_family=judge_family(config),
            jurors=jurors,
            further_answers=tuple(asked.answers[1:]),
            baseline=baseline,
        )
        # A rule, and how a jury decides, are part of no step.
        rule = [] if asked.verdicts and not jurors else [asdict(cell.scorer), cell.is_unparsed_wrong]
        rule += [asdict(juror) for juror in jurors]
        return replace(cell, key=digest([config.sweep, cell.name, cell.steps, *rule]))

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
