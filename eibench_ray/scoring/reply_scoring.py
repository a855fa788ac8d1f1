"""From a judge's row to a verdict: the rows' errors first, then the protocol's parser."""

from __future__ import annotations

from typing import Literal

from eibench_ray.benchmarks.eibench.official_scorer import official_verdict
from eibench_ray.benchmarks.eibench.strict_scorer import parse_counts, parse_named
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.verdict import Verdict, VerdictStatus


def read_verdict(
    kind: Literal["strict", "official"],
    sample: Sample,
    answer: Completion | None,
    reply: Completion | None,
    *,
    per_trigger: bool = False,
) -> Verdict:
    """The verdict on one sample.

    Args:
        kind: the judge's protocol. An official verdict is kept as published: its total may differ from the number of
            reference triggers, and correct may exceed it.
        sample: what was asked.
        answer: the subject's row; None where there is none.
        reply: the judge's row; None where there is none.
        per_trigger: whether a strict judge was asked about each trigger.
    """
    if sample.target is None:
        return Verdict(sample.sample_id, None, None, None, VerdictStatus.NO_REFERENCE)
    if answer is None or answer.error_kind is not None or answer.text is None:
        return Verdict(sample.sample_id, None, None, None, VerdictStatus.NO_ANSWER)
    if reply is None or reply.error_kind is not None or reply.text is None:
        return Verdict(sample.sample_id, None, None, None, VerdictStatus.JUDGE_ERROR)
    if kind == "official":
        parsed = official_verdict(reply.text)
    else:
        parsed = (parse_named if per_trigger else parse_counts)(reply.text, len(sample.targets))
    status = VerdictStatus(parsed.status)
    return Verdict(sample.sample_id, parsed.correct, parsed.total, parsed.explanation, status, parsed.hits)
