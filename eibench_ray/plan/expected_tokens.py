"""The expected tokens of a step before it has run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eibench_ray.plan.fanout import ITEM, Item, part_word
from eibench_ray.plan.graph import EngineSpec, Plan, Step
from eibench_ray.plan.prompt_templates import words_in
from eibench_ray.rows.sample import TARGET, TARGETS
from eibench_ray.rows.token_counts import estimate_prompt_tokens, estimate_tokens

# A guess, not a measurement: replies end before their limit. What a run measures replaces it.
SHARE_OF_MAX_TOKENS = 0.4
# A guess: a question of a line or two, a description, a target of some sentences.
_SAMPLE_TOKENS = {"question": 25, "caption": 60, "reference": 70, TARGET: 70, TARGETS: 70}


def expected_tokens(step: Step, spec: EngineSpec) -> float:
    """Generated tokens of one reply: what the configuration expects, else a share of what the step allows."""
    return spec.expect.tokens_per_row or SHARE_OF_MAX_TOKENS * most_tokens(step, spec)


def most_tokens(step: Step, spec: EngineSpec) -> int:
    """Generated tokens of one reply at most, what a reasoning model thinks included."""
    return spec.traits.reply_tokens or step.sampling.max_tokens + spec.traits.thinking_tokens


def expected_prompt_tokens(
    plan: Plan, step: Step, reply_tokens: Callable[[Step, EngineSpec], float] = expected_tokens
) -> float:
    """Tokens of one prompt; `reply_tokens` says how long the answers are that it reads."""
    most_images = plan.datasets[step.dataset].most_media if step.prompt.image else 0
    picture_tokens = plan.engines[step.engine].traits.picture_tokens * most_images
    template = estimate_prompt_tokens(step.prompt.user, step.prompt.system, picture_tokens)
    sources = {word: plan.steps[source] for word, source in step.inputs.items()}
    read = {word: reply_tokens(source, plan.engines[source.engine]) for word, source in sources.items()}
    if step.item is not None:
        read[ITEM] = _tokens_of((step.item,), read)
    for word, items in step.lists.items():
        answers = (read[part_word(word, number)] for number in range(1, len(items) + 1))
        read[word] = sum(answers) + _tokens_of(items, read)
    return template + sum(read.get(word, _SAMPLE_TOKENS.get(word, 0)) for word in words_in(step.prompt.user))


def _tokens_of(items: Sequence[Item], read: Mapping[str, float]) -> float:
    """Tokens of texts; lines of one answer have together no more than it has."""
    texts = sum(estimate_tokens(item.text) for item in items if item.text is not None)
    return texts + sum(read[source] for source in {item.source for item in items if item.source is not None})
