"""transformers for real: tiny models of each architecture answer in batches as they answer alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asking_models import PAIR, PAIRS, PENALISED, PICTURES, TURNED, request, show
from needed import need

from eibench_ray.benchmarks.eibench.strict_scorer import strict_schema
from eibench_ray.engines.engine import EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.errors import EngineError
from eibench_ray.rows.request import Reply, Request
from eibench_ray.runs.shown_sample import show_sample
from eibench_ray.weights.build import build_checkpoint

if TYPE_CHECKING:
    from conftest import Sweeps

torch = need("torch", "the engine needs eibench-ray[cpu] or [gpu]")
need("transformers", "the engine needs eibench-ray[cpu] or [gpu]")

SEEING = ("tiny_idefics3", "tiny_llava", "tiny_llava_next", "tiny_qwen2_vl", "tiny_video_llava")
RED = PICTURES[1]
Asked = tuple[Request, Sequence[bytes]]


def engine(name: str, **keys: Any) -> TransformersSection:
    given = {"source": f"checkpoint:{name}", "dtype": "float32", "max_model_len": 1024, "max_num_seqs": 8}
    return TransformersSection.model_validate({"kind": "transformers"} | given | keys)


@dataclass
class Loaded:
    """A started engine and the event loop that it lives on."""

    runner: asyncio.Runner
    section: TransformersSection
    engine: TransformersEngine
    facts: EngineFacts

    def ask(self, asked: Sequence[Asked]) -> list[Any]:
        """Results of requests that are asked at once: replies or errors."""

        async def ask() -> list[Any]:
            shown = [one if one[0].images else show(*one) for one in asked]
            return await asyncio.gather(*(self.engine.generate(*one) for one in shown), return_exceptions=True)

        return self.runner.run(ask())

    def ask_one(self, asked: Request, images: Sequence[bytes] = RED) -> Reply:
        (reply,) = self.ask([(asked, images)])
        assert isinstance(reply, Reply), reply
        return reply

    async def generate(self, asked: Request, images: Sequence[bytes]) -> Reply:
        """The reply, asked for in another event loop than the engine's."""
        return await asyncio.to_thread(self.ask_one, asked, images)


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, Loaded]]:
    """The engines that were asked for so far, by checkpoint."""
    engines: dict[str, Loaded] = {}
    yield engines
    for each in engines.values():
        each.runner.run(each.engine.stop())
        each.runner.close()


@pytest.fixture
def model(request: pytest.FixtureRequest, loaded: dict[str, Loaded]) -> Loaded:
    name = getattr(request, "param", "tiny_video_llava")
    if name not in loaded:
        build_checkpoint(name)
        runner, section = asyncio.Runner(), engine(name)
        started = TransformersEngine(section, "cpu")
        loaded[name] = Loaded(runner, section, started, runner.run(started.start()))
    return loaded[name]


each_that_sees = pytest.mark.parametrize("model", SEEING, indirect=True)


@each_that_sees
def test_the_answer_depends_on_the_picture(model: Loaded) -> None:
    *replies, of_turned = model.ask([(request(), picture) for picture in (*PICTURES, TURNED)])
    assert of_turned == replies[-1]
    assert len({reply.text for reply in replies}) == len(PICTURES)
    assert replies[0].prompt_tokens < replies[1].prompt_tokens


@each_that_sees
def test_a_prompt_is_shown_as_the_model_read_it(sweeps: Sweeps, model: Loaded) -> None:
    """Rendered again from the store, without the engine, it has as many tokens as the engine counted."""
    sweeps.write_dataset([0])
    rule = {"name": "token_f1", "kind": "token_f1"}
    sweep = sweeps.plan(sweeps.config("noted", rule, engine=model.section.model_dump(exclude_unset=True)))
    sweeps.ask(sweep, model)
    steps = show_sample(sweep.plan, sweep.store, "s000").steps
    assert [(one.step.name, one.trace) for one in steps] == [("note", "sent"), ("answer", "sent")]
    for one in steps:
        assert one.prompt, one.prompt_note
        assert one.completion
        assert one.prompt.num_tokens == one.completion.prompt_tokens


@pytest.mark.parametrize("model", ["tiny_idefics3", "tiny_qwen2_vl", "tiny_llava"], indirect=True)
def test_the_answer_depends_on_the_order_and_the_places_of_pictures(model: Loaded) -> None:
    shown = [show(request(), pair, *places) for pair, places in PAIRS]
    texts = [reply.text for reply in model.ask(shown)]
    assert len(set(texts)) == 4, texts
    assert texts == [model.ask_one(*one).text for one in shown]


TEXTS = "{% for part in messages[-1].content if part.type == 'text' %}{{ part.text }}{% endfor %}"
IMAGES = "{% for part in messages[-1].content if part.type == 'image' %}<image>{% endfor %}"


@pytest.mark.parametrize("model", ["tiny_llava"], indirect=True)
def test_a_template_that_moves_or_loses_a_picture_is_told(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    moved_to_the_front, one_picture = IMAGES + TEXTS, "<image>" + TEXTS
    monkeypatch.setattr(model.engine._model._prompts, "_template", moved_to_the_front)
    (before, moved) = model.ask([show(request(), PAIR), show(request(), PAIR, 0, 8)])
    assert isinstance(before, Reply)
    assert isinstance(moved, RowError)
    assert "puts pictures before the text, and the prompt places them elsewhere with image()" in str(moved)
    monkeypatch.setattr(model.engine._model._prompts, "_template", one_picture)
    (lost,) = model.ask([show(request(), PAIR)])
    assert isinstance(lost, RowError)
    assert "placed 1 of 2 pictures" in str(lost)


@each_that_sees
def test_a_row_says_in_a_batch_what_it_says_alone(model: Loaded) -> None:
    greedy = [(request(system="Be brief." if picture else None), picture) for picture in PICTURES]
    sampled = [(request(temperature=1.0, top_p=0.9, seed=seed), PICTURES[seed]) for seed in range(4)]
    asked = [*greedy, *sampled]
    assert model.ask(asked) == [model.ask_one(*each) for each in asked]


@pytest.mark.parametrize("model", ["tiny_llama"], indirect=True)
def test_a_model_without_eyes_answers_text_and_refuses_pictures(model: Loaded) -> None:
    assert model.ask_one(request(), ()).text != model.ask_one(request("Why not?"), ()).text
    (refused,) = model.ask([(request(), RED)])
    assert isinstance(refused, RowError)
    assert (refused.kind, "sees_image" in str(refused)) == ("prompt", True)


def test_the_seed_chooses_what_is_sampled(model: Loaded) -> None:
    texts = [model.ask_one(request(temperature=1.0, seed=seed)).text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


def test_a_narrow_choice_is_the_likeliest_one(model: Loaded) -> None:
    assert model.ask_one(request(temperature=1.0, top_p=1e-6, seed=5)).text == model.ask_one(request()).text


@pytest.mark.parametrize(
    "narrow",
    [{"top_k": 1}, {"min_p": 1.0}, {"extra": {"typical_p": 1e-6}, "top_k": 1}, {"extra": {"epsilon_cutoff": 0.999}}],
    ids=str,
)
def test_each_way_of_narrowing_leaves_the_likeliest(model: Loaded, narrow: dict[str, Any]) -> None:
    free = [model.ask_one(request(temperature=2.0, seed=seed)).text for seed in range(3)]
    narrowed = [model.ask_one(request(temperature=2.0, seed=seed, **narrow)).text for seed in range(3)]
    assert len(set(free)) == 3
    assert narrowed == [model.ask_one(request()).text] * 3


def test_a_wider_choice_is_narrowed_by_degrees(model: Loaded) -> None:
    def texts(**keys: Any) -> set[str]:
        return {model.ask_one(request(temperature=1.0, max_tokens=1, seed=seed, **keys)).text for seed in range(40)}

    assert len(texts(top_k=3)) == 3
    assert len(texts(top_k=0)) == len(texts()) > 10
    assert texts(extra={"eta_cutoff": 0.02}) < texts()


def test_penalties_count_each_rows_own_tokens(model: Loaded) -> None:
    """In a batch as alone, and no sequence of two tokens twice where that is asked."""
    asked = [(request(**keys), picture) for keys in PENALISED for picture in PICTURES[:2]]
    alone = [model.ask_one(*one) for one in asked]
    assert model.ask(asked) == alone
    assert len({reply.text for reply in (*alone[1::2], model.ask_one(request()))}) == 1 + len(PENALISED)
    said = model.ask_one(request(max_tokens=60, extra={"no_repeat_ngram_size": 1}))
    tokens = model.engine._model._tokenizer(said.text, add_special_tokens=False)["input_ids"]  # type: ignore[union-attr]
    assert len(tokens) > 30
    assert len(set(tokens)) == len(tokens)


def test_a_reply_ends_at_its_limit_or_at_its_stop_text(model: Loaded) -> None:
    whole = model.ask_one(request())
    assert (whole.completion_tokens, whole.finish_reason) == (12, "length")
    stop = whole.text[3:6]
    cut = model.ask_one(request(stop=("never", stop)))
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")
    assert cut.completion_tokens < whole.completion_tokens
    assert model.ask_one(request(max_tokens=3)).text == whole.text[:3]


def test_rows_of_one_batch_keep_their_own_limits(model: Loaded) -> None:
    replies = model.ask([(request(max_tokens=most), RED) for most in (2, 9, 5)])
    assert [reply.completion_tokens for reply in replies] == [2, 9, 5]


def test_a_schema_is_kept_beside_free_text(model: Loaded) -> None:
    schema = strict_schema(3, 12)
    *verdicts, free = model.ask(
        [
            (request(max_tokens=96, json_schema=schema), RED),
            (request(max_tokens=96, json_schema=schema, temperature=1.0, seed=4), ()),
            (request(), RED),
        ]
    )
    for verdict in verdicts:
        parsed = json.loads(verdict.text)
        assert 0 <= parsed["correct"] <= parsed["total"] == 3
        assert verdict.finish_reason == "stop"
    assert free == model.ask_one(request())


def test_a_control_token_in_a_text_is_plain_text(model: Loaded) -> None:
    whole = model.ask_one(request("Why?<|im_end|> Who?"))
    assert whole == model.ask_one(request("Why?< |im_end|> Who?"))
    # One token per byte.
    assert whole.prompt_tokens == model.ask_one(request("")).prompt_tokens + len("Why?< |im_end|> Who?")


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ((request(), [b"no picture"]), "image", "cannot be decoded"),
        ((request("so " * 2000), RED), "prompt", "the model takes 1024 with the reply"),
        ((request("what is <image> here?"), RED), "prompt", "the token that stands for a picture"),
        ((request("what is <video> here?"), ()), "prompt", "the token that stands for a picture"),
    ],
    ids=["picture", "long", "token", "video"],
)
def test_a_bad_row_costs_itself_alone(model: Loaded, asked: Asked, kind: str, words: str) -> None:
    good, bad = model.ask([(request(), RED), asked])
    assert isinstance(bad, RowError)
    assert (bad.kind, words in str(bad)) == (kind, True), bad
    assert good == model.ask_one(request())


def test_a_reply_ends_where_the_models_length_does(model: Loaded) -> None:
    num_tokens = model.ask_one(request("")).prompt_tokens
    reply = model.ask_one(request("x" * (1024 - num_tokens - 5)))
    assert (reply.completion_tokens, reply.finish_reason) == (5, "length")


def test_too_little_memory_makes_smaller_batches(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [(request(), picture) for picture in PICTURES]
    expected, sizes = model.ask(asked), []
    generate = type(model.engine._model._model).generate

    def fit_two(self: Any, input_ids: Any, **options: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(model.engine._model._model), "generate", fit_two)
    monkeypatch.setattr(model.engine._batches, "_most", 4)
    assert model.ask(asked) == expected
    assert sizes == [4, 2, 2]


def test_a_device_that_fails_is_the_engines_death() -> None:
    async def ask() -> list[Any]:
        started = TransformersEngine(engine("tiny_llama"), "cpu")
        await started.start()

        def fail(**_: Any) -> None:
            raise RuntimeError("CUDA error: device-side assert triggered")

        started._model._model.generate = fail
        asked = [started.generate(request(), ()) for _ in range(2)]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        await started.stop()
        return replies

    build_checkpoint("tiny_llama")
    for error in asyncio.run(ask()):
        assert isinstance(error, EngineDeadError)
        assert "device-side assert" in str(error)


def test_a_row_whose_logits_are_no_numbers_is_an_error_and_the_others_are_answered() -> None:
    def spoil(*called: Any) -> Any:
        output = called[-1]
        output[0] = float("nan") if output.shape[0] > 1 else output[0]
        return output

    async def ask() -> list[Any]:
        started = TransformersEngine(engine("tiny_llama"), "cpu")
        await started.start()
        assert started._model is not None
        started._model._model.lm_head.register_forward_hook(spoil)
        asked = (started.generate(request(f"Why {number}?"), ()) for number in range(3))
        replies = await asyncio.gather(*asked, return_exceptions=True)
        await started.stop()
        return replies

    build_checkpoint("tiny_llama")
    spoilt, *others = asyncio.run(ask())
    assert isinstance(spoilt, RowError)
    assert spoilt.kind == "engine"
    assert "logits are no numbers (NaN) in dtype float32, after 0 tokens" in str(spoilt)
    assert [reply.finish_reason for reply in others] == ["length", "length"]


def test_the_fingerprint_says_what_answered(model: Loaded) -> None:
    import transformers

    assert model.facts.fingerprint == f"transformers {transformers.__version__} cpu checkpoint:tiny_video_llava float32"
    assert model.facts.max_num_seqs == 8


@pytest.mark.parametrize(
    ("keys", "device", "words"),
    [
        ({"source": "/not/there"}, "cpu", "transformers cannot load /not/there: "),
        ({}, "cuda", "cluster.device=cpu"),
    ],
)
def test_what_cannot_start_says_why(keys: dict[str, Any], device: Any, words: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError, match=words):
        asyncio.run(TransformersEngine(engine("tiny_llama", **keys), device).start())


def test_a_template_that_refuses_a_row_costs_that_row(tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% if messages|length > 1 %}{{ raise_exception('no system prompt') }}{% endif %}Say: ")

    async def ask() -> list[Any]:
        started = TransformersEngine(engine("tiny_llama", chat_template=str(template)), "cpu")
        await started.start()
        asked = (started.generate(request(system=system), ()) for system in (None, "Be brief."))
        replies = await asyncio.gather(*asked, return_exceptions=True)
        await started.stop()
        return replies

    build_checkpoint("tiny_llama")
    answered, refused = asyncio.run(ask())
    assert answered.prompt_tokens == len("Say: ")
    assert isinstance(refused, RowError)
    assert (refused.kind, str(refused)) == ("prompt", "no system prompt")


def test_a_checkpoint_without_a_chat_template_is_refused_and_asked_by_a_plain_one(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(build_checkpoint("tiny_llama"), folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match=r"bare has no chat template, .* to package:plain where it is a base model"):
        asyncio.run(TransformersEngine(engine("", source=str(folder)), "cpu").start())

    async def ask() -> Any:
        started = TransformersEngine(engine("", source=str(folder), chat_template="package:plain"), "cpu")
        await started.start()
        reply = await started.generate(request("Why?", system="Be brief."), ())
        await started.stop()
        return reply

    assert asyncio.run(ask()).prompt_tokens == len("Be brief.\n\nWhy?\n")
