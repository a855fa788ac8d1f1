"""A sample of a run for people: what was sent, what came back, and the scores, as lines of a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from rich.text import Text

from eibench_ray.rows.choices import from_text
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.prices import format_usd
from eibench_ray.rows.request import Request
from eibench_ray.runs.shown_sample import ShownSample, ShownStep, Trace, messages_of
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.terminal.drawn_picture import draw_picture

_HEADING, _PART = "bold", "cyan"
# No request is stored: its row has a digest over all that was sent, pictures and engine included.
_TRACES: Mapping[Trace, str] = {
    "sent": "exactly what was sent (made again: it has the digest that the stored row carries)",
    "changed": "not what was sent",
    "not sent": "nothing was sent",
    "nothing to ask": "there was nothing to ask",
    "not asked yet": "not asked yet",
}
_STYLES: Mapping[Trace, str] = {"sent": "green", "changed": "yellow", "not sent": "yellow"}
_FORMS = {"prompt": "prompt as the model reads it", "body": "body of the HTTP request"}


def render_sample(shown: ShownSample, *, draws: bool) -> Iterator[Text]:
    """The lines of a sample.

    Args:
        shown: the sample.
        draws: whether its pictures are drawn, which takes a terminal with colours.
    """
    sample = shown.sample
    yield Text(f"Sample {sample.sample_id} (dataset {shown.dataset}, row {shown.number})", _HEADING)
    for name, value in {**sample.inputs, "target": "; ".join(sample.targets) or None, **sample.metadata}.items():
        if value is not None:
            yield Text(f"  {name}: {value}")
    for number, media in enumerate(sample.media, start=1):
        yield Text(f"  picture {number}: {media.path} ({media.digest or 'no digest'})")
        if draws and number <= len(shown.images):
            yield draw_picture(shown.images[number - 1])
    for step in shown.steps:
        yield Text(f"\n{step.name.title} [{step.step.id[:8]}]", _HEADING)
        yield from _render_step(step)
    for cell, row in shown.cells:
        yield Text(f"\nScore in {cell.name}", _HEADING)
        yield from _render_scores(row)


def _render_step(one: ShownStep) -> Iterator[Text]:
    yield Text(f"  {_TRACES[one.trace]}{f': {one.note}' if one.note else ''}", _STYLES.get(one.trace, ""))
    if one.request is not None:
        yield from _render_request(one, one.request)
    if one.completion is not None:
        yield from _render_reply(one.completion)


def _render_request(one: ShownStep, request: Request) -> Iterator[Text]:
    for message in messages_of(request):
        yield Text(f"  {message['role']}:", _PART)
        for piece in message["content"]:
            yield _indent(piece if isinstance(piece, str) else f"(picture {piece['image']}, {piece['digest']})")
    if request.choices is not None:
        yield Text(f"  nothing generated: how likely each choice is, by {request.choices.by}:", _PART)
        yield _indent("\n".join(request.choices.texts))
    seeds = f"seed{'s' if len(one.seeds) > 1 else ''} {', '.join(map(str, one.seeds))}"
    sampling = ", ".join(f"{name} {value}" for name, value in request.sampling.identity.items() if value != ())
    yield Text(f"  {seeds}; {sampling}")
    if request.json_schema is not None:
        yield Text("  JSON schema of the reply:", _PART)
        yield _indent(json.dumps(request.json_schema, ensure_ascii=False))
    if one.prompt is not None:
        tokens = "" if one.prompt.num_tokens is None else f", {one.prompt.num_tokens:,} tokens"
        yield Text(f"  {_FORMS[one.prompt.form]}{tokens}:", _PART)
        yield _indent(one.prompt.text)
    elif one.prompt_note:
        yield Text(f"  The prompt cannot be rendered here: {one.prompt_note}", "yellow")


def _render_reply(row: Completion) -> Iterator[Text]:
    if row.is_absent:
        return
    facts = [row.finish_reason, f"{row.prompt_tokens:,} tokens in", f"{row.completion_tokens:,} out"]
    facts += [f"{row.latency_s:.2f} s", f"${format_usd(row.cost_usd)}" if row.cost_usd is not None else None]
    if row.mean_logprob is not None:
        facts.append(f"mean log probability {row.mean_logprob:.3f}")
    if row.thinking is not None:
        yield Text(
            f"  thinking ({row.thinking_tokens or 0:,} of the tokens out; no judge and no later call reads it):", _PART
        )
        yield _indent(row.thinking)
    yield Text(f"  reply ({', '.join(filter(None, facts))}; {row.engine}; run {row.run_id}):", _PART)
    yield _indent(row.text) if row.text is not None else Text(f"    {row.error_kind}: {row.error}", "red")
    for one in from_text(row.likelihoods) if row.likelihoods else ():
        tokens = f"{one.num_tokens} token{'s' if one.num_tokens > 1 else ''}"
        yield Text(f"      {one.text}: log likelihood {one.logprob:.3f} ({tokens})")


def _render_scores(row: JoinedRow) -> Iterator[Text]:
    named = [
        (f"answer {number}" * (len(row.answers) > 1), f"repeat {repeat}" * (len(one.scores) > 1), score)
        for number, one in enumerate(row.by_answer, start=1)
        for repeat, score in enumerate(one.scores, start=1)
    ]
    for answer, again, score in named:
        repeat = f"{', '.join(filter(None, (answer, again)))}: " if answer or again else ""
        if score is None:
            yield Text(f"  {repeat}not scored yet")
            continue
        values = ", ".join(f"{name} {value:g}" for name, value in score.values.items()) or "no value"
        yield Text(f"  {repeat}{values} ({score.status})")
        if score.details:
            yield _indent(json.dumps(score.details, ensure_ascii=False))
        if score.explanation:
            yield _indent(score.explanation)


def _indent(text: str) -> Text:
    return Text("\n".join(f"    {line}" for line in text.split("\n")))
