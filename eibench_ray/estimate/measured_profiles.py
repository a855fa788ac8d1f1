"""The costs of an engine's rows: as expected, or as runs have measured them. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eibench_ray.plan.expected_tokens import expected_prompt_tokens, expected_tokens, most_tokens
from eibench_ray.plan.graph import EngineSpec, Plan, Step
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.measured_engine import MeasuredEngine, MeasuredRun, MeasuredStep
from eibench_ray.schedule.resources import QUEUE_FACTOR, EngineProfile
from eibench_ray.schedule.row_costs import RowCosts

# A later run counts so many times as much as the one before it.
RECENCY = 3.0
# On cores a prompt's token takes about as long as one that a batch generates, as both are bound by computing; but
# beginnings that prompts share are computed once. The demo's 118 s of asking chose this share. On GPUs what is expected
# of an engine (`expect.tokens_per_s`) is of the whole, with prompts as benchmarks have them.
CPU_PROMPT_SHARE = 0.5
# A guess for loaded engines: a picture takes as long as so many tokens of a prompt, to be prepared and to be read.
PICTURE_TOKENS = 300.0
# A guess for endpoints: until its first token, a request takes as long as for so many further ones.
FIRST_TOKENS = 20.0
# Until a run has measured it: Ray's start before, and replicas' ends, scores and the page after (seen on two cores).
OVERHEAD_S = 15.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of earlier runs of a store.

    Attributes:
        engines: by key, the last run first.
        runs: what runs took beside their engines.
    """

    engines: Mapping[str, Sequence[MeasuredEngine]] = field(default_factory=dict)
    runs: Sequence[MeasuredRun] = ()

    @property
    def overhead_s(self) -> float:
        """Seconds of a run before its first replica starts, and after its last row."""
        if not self.runs:
            return OVERHEAD_S
        return sum(run.before_s + run.after_s for run in self.runs) / len(self.runs)


NOTHING_MEASURED = Measured()


@dataclass(frozen=True, slots=True)
class RowTokens:
    """Tokens and pictures of a row of a step."""

    reply: float
    prompt: float
    pictures: float


def expected_costs(spec: EngineSpec, speed: DecodeSpeed, allowed_tokens_per_s: float) -> RowCosts:
    """The costs of an engine's rows as its configuration has them.

    Args:
        spec: the engine.
        speed: as it is expected.
        allowed_tokens_per_s: by an endpoint's limits.
    """
    if not spec.traits.is_loaded:
        limited_s = 0.0 if allowed_tokens_per_s >= speed.tokens_per_s else 1.0 / allowed_tokens_per_s
        return RowCosts(FIRST_TOKENS * speed.full_tick_s, speed.full_tick_s, limited_s, 0.0, 0.0)
    prompt_s = CPU_PROMPT_SHARE / speed.tokens_per_s if spec.device == "cpu" else 0.05 * speed.beta
    return RowCosts(0.0, speed.alpha, speed.beta, prompt_s, PICTURE_TOKENS * prompt_s)


def fitted_costs(shape: RowCosts, measured: Sequence[MeasuredEngine]) -> RowCosts | None:
    """The costs as the latest runs have measured them; None where none has measured a row."""
    sums = [
        (step.asked, RECENCY**-age)
        for age, record in enumerate(measured)
        for step in record.steps.values()
        if step.asked.engine_s > 0 and step.asked.rows
    ]
    return shape.fit(sums) if sums else None


def measured_profile(
    plan: Plan,
    spec: EngineSpec,
    steps: Sequence[Step],
    prior: EngineProfile,
    costs: RowCosts,
    records: Sequence[MeasuredEngine],
    allowed_rows_per_s: float,
) -> EngineProfile:
    """An engine's profile by its measured costs, by its latest loads, and within its limits."""
    loads = [record.load_s for record in records if record.load_s is not None]
    # In flight is what a replica lets in, and so it was when these were measured.
    capacity = math.ceil(min(spec.traits.max_num_seqs, spec.expect.batch or math.inf) * QUEUE_FACTOR)
    load_s = statistics.median(loads) if loads else prior.load_s
    measured = replace(prior, load_s=load_s, capacity=capacity, measured=records[0])
    found = with_costs(plan, spec, steps, measured, costs, records)
    rows = {step.id: max(1, plan.datasets[step.dataset].num_rows) for step in steps}
    row_tokens = sum(rows[step] * found.tokens_per_row[step] for step in rows) / sum(rows.values())
    share = min(1.0, allowed_rows_per_s * row_tokens / found.tokens_per_s)
    return replace(found, tokens_per_s=share * found.tokens_per_s, capacity=max(1, round(share * capacity)))


def with_costs(
    plan: Plan,
    spec: EngineSpec,
    steps: Sequence[Step],
    profile: EngineProfile,
    costs: RowCosts,
    records: Sequence[MeasuredEngine],
) -> EngineProfile:
    """A profile whose speeds are those of its rows' costs."""
    found = {step.id: row_tokens(plan, step, spec, records) for step in steps}
    tokens = {step: max(1.0, row.reply) for step, row in found.items()}
    latency_s = {step: costs.latency_s(row.reply) for step, row in found.items()}
    busy_s = {step: costs.busy_s(row.reply, row.prompt, row.pictures) for step, row in found.items()}
    full_s = {step: max(1e-9, latency_s[step] / profile.capacity + busy_s[step]) for step in found}
    rows = {step.id: max(1, plan.datasets[step.dataset].num_rows) for step in steps}
    all_tokens = sum(rows[step] * tokens[step] for step in rows)
    tokens_per_s = all_tokens / sum(rows[step] * full_s[step] for step in rows)
    alone_s = sum(rows[step] * (latency_s[step] + busy_s[step]) for step in rows)
    return replace(
        profile,
        tokens_per_s=tokens_per_s,
        alone_tokens_per_s=all_tokens / max(alone_s, 1e-9),
        tokens_per_row=tokens,
        token_weights={step: full_s[step] * tokens_per_s / tokens[step] for step in rows},
    )


def row_tokens(plan: Plan, step: Step, spec: EngineSpec, measured: Sequence[MeasuredEngine]) -> RowTokens:
    """The length of a step's rows: as measured, there or in steps like it; else as expected."""
    for record in measured:
        if (same := record.steps.get(step.id)) is not None and (rows := same.asked.rows):
            asked = same.asked
            return RowTokens(asked.completion_tokens / rows, asked.prompt_tokens / rows, asked.pictures / rows)
    reply, prompt = expected_tokens(step, spec), expected_text_tokens(plan, step)
    pictures = float(plan.datasets[step.dataset].most_media if step.prompt.image else 0)
    steps = [one for record in measured for one in record.steps.values() if one.asked.rows]
    if alike := [one for one in steps if one.name == step.name]:
        reply = most_tokens(step, spec) * _ratio((one.asked.completion_tokens, one.most_tokens, one) for one in alike)
    # A tokenizer is the same for all steps; what it makes of a picture shows where there are some.
    if texts := [one for one in steps if not one.asked.pictures]:
        prompt *= _ratio((one.asked.prompt_tokens, one.prompt_tokens, one) for one in texts)
    if pictured := [one for one in steps if one.asked.pictures]:
        extra = sum(one.asked.prompt_tokens - one.asked.rows * one.prompt_tokens for one in pictured)
        prompt += pictures * max(0.0, extra) / sum(one.asked.pictures for one in pictured)
    return RowTokens(reply, prompt, pictures)


def expected_text_tokens(plan: Plan, step: Step) -> float:
    """Tokens of one prompt, its pictures left aside."""
    pictures = plan.datasets[step.dataset].most_media if step.prompt.image else 0
    return expected_prompt_tokens(plan, step) - pictures * plan.engines[step.engine].traits.picture_tokens


def _ratio(pairs: Iterable[tuple[float, float, MeasuredStep]]) -> float:
    """Ratio of what there was to what was expected of as many rows."""
    found = [(there, one.asked.rows * expected) for there, expected, one in pairs]
    return sum(there for there, _ in found) / max(1.0, sum(expected for _, expected in found))
