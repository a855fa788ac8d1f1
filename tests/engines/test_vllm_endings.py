"""Ends of vLLM's replies, and what becomes of the other rows; a model that knows no conversation."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from asking_models import PICTURES, request
from PIL import Image

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_prompts import Picture
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.rows.request import Reply, Request
from eibench_ray.weights.build import build_checkpoint

NANS = {"VLLM_COMPUTE_NANS_IN_LOGITS": "1"}  # as cluster/environment.py sets it
CONFIG = VllmSection.model_validate({"kind": "vllm", "source": "me/mine", "max_model_len": 64})


class NoPrompts:
    """Counts how often a picture is forgotten, and the pictures that are held."""

    def __init__(self) -> None:
        self.num_forgotten = 0
        self._held: list[weakref.ref[Image.Image]] = []

    @property
    def num_held(self) -> int:
        return sum(ref() is not None for ref in self._held)

    async def render(self, request: Request, pictures: Sequence[Picture], *, is_again: bool = False) -> bool:  # noqa: ARG002
        self._held += [weakref.ref(picture.image) for picture in pictures]
        await asyncio.sleep(0.001)
        return is_again

    def forget(self, names: Sequence[str]) -> None:  # noqa: ARG002 - whichever
        self.num_forgotten += 1


class Told(VllmEngine):
    """An engine without a vLLM, whose replies end as they are told to."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(CONFIG, "cpu")
        self.reasons = list(reasons)
        self.prompts = NoPrompts()
        self._prompts = self.prompts  # type: ignore[assignment]
        self.again: list[bool] = []
        self.held: list[int] = []  # pictures, as each row is asked

    async def _ask(self, prompt: bool, request: Request) -> Reply:  # noqa: ARG002
        self.again.append(prompt)
        for _ in range(1000):
            if len(self.reasons) > 1 or not self.prompts.num_held:
                break
            await asyncio.sleep(0.001)  # the thread that has decoded the last one may let go of it a moment later
        self.held.append(self.prompts.num_held)
        if self.reasons[0] == "refused":
            raise RowError("prompt", "no")  # type: ignore[arg-type]
        return Reply("half a", self.reasons.pop(0), 5, 2)


def generate(engine: VllmEngine) -> Reply:
    return asyncio.run(engine.generate(request(), ()))


@pytest.mark.parametrize("reason", ["stop", "length", "repetition"])
def test_what_ended_as_an_answer_is_one(reason: str) -> None:
    engine = Told(reason)
    assert generate(engine) == Reply("half a", reason, 5, 2)
    assert (engine.again, engine.prompts.num_forgotten) == ([False], 0)


@pytest.mark.parametrize("reason", ["error", "unknown", "a new word"])
def test_an_error_is_asked_once_more_with_its_picture(reason: str) -> None:
    engine = Told(reason, "stop")
    assert generate(engine).finish_reason == "stop"
    assert (engine.again, engine.prompts.num_forgotten) == ([False, True], 1)


def test_an_error_twice_is_the_rows_own() -> None:
    engine = Told("error", "error")
    with pytest.raises(
        RowError, match="ended the reply with 'error' after 2 tokens, also when it was asked again"
    ) as got:
        generate(engine)
    assert got.value.kind == "engine"
    assert engine.prompts.num_forgotten == 2


@pytest.mark.parametrize("reasons", [("abort",), ("error", "abort")])
def test_what_was_aborted_is_the_engines_death(reasons: tuple[str, ...]) -> None:
    with pytest.raises(EngineDeadError, match="was told to end while it answered s0"):
        generate(Told(*reasons))


def test_the_picture_of_a_refused_row_is_forgotten() -> None:
    engine = Told("refused")
    with pytest.raises(RowError):
        generate(engine)
    assert engine.prompts.num_forgotten == 1


def test_few_rows_hold_pixels_at_once_and_none_until_its_reply() -> None:
    engine = Told(*["stop"] * 100)

    async def ask_all() -> None:
        await asyncio.gather(*(engine.generate(request(), PICTURES[1]) for _ in range(100)))

    asyncio.run(ask_all())
    assert len(engine.held) == 100
    assert 1 < max(engine.held) <= 16
    assert engine.held[-1] == 0


@pytest.fixture(scope="module")
def said(run_with_vllm: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Replies of a real vLLM."""
    for name in ("tiny_idefics3", "tiny_llama"):
        build_checkpoint(name)
    return dict(run_with_vllm("spoil_vllm.py", str(tmp_path_factory.mktemp("checkpoints")), **NANS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("picture", "image", "cannot be decoded"),
        ("length", "prompt", "1024"),
        ("token", "prompt", "the token that stands for a picture"),
    ],
)
def test_a_refused_row_says_why(said: Mapping[str, Any], name: str, kind: str, words: str) -> None:
    found, why = said["refused"][name]
    assert found == kind
    assert words in why


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token", "tokens", "length"])
def test_a_refused_row_does_not_spoil_the_next_one_with_its_picture(said: Mapping[str, Any], name: str) -> None:
    refused, ending, text, ending_again, text_again = said["spoiled"][name]
    assert (refused, ending, ending_again) == ("RowError", "length", "length")
    assert text == text_again != ""


@pytest.mark.slow
def test_a_row_that_is_given_up_does_not_spoil_the_next_one_with_its_picture(said: Mapping[str, Any]) -> None:
    assert set(said["spoiled"]["given up"]) <= {"length", "stop"}


@pytest.mark.slow
def test_refused_rows_do_not_spoil_those_that_are_asked_beside_them(said: Mapping[str, Any]) -> None:
    together = said["spoiled"]["together"]
    assert set(together[::4]) == {"RowError"}
    assert {ending for number, ending in enumerate(together) if number % 4} <= {"length", "stop"}


@pytest.mark.slow
def test_an_engine_that_is_told_to_end_leaves_no_half_answers(said: Mapping[str, Any]) -> None:
    *rows, later = said["ended"]
    assert {ending for ending, _ in rows} <= {"EngineDeadError", "length", "stop"}
    assert any(ending == "EngineDeadError" for ending, _ in rows), rows
    assert later[0] == "EngineDeadError"


@pytest.mark.slow
def test_a_row_that_kills_vllm_is_the_engines_death_with_all_that_it_has_in_hand(said: Mapping[str, Any]) -> None:
    """Which of the rows it was is found by the driver (driver/test_driver.py), whatever engine dies."""
    assert [ending for ending, _ in said["deadly"][:3]] == ["length"] * 3
    assert [ending for ending, _ in said["deadly"][3:]] == ["EngineDeadError"] * 4
    assert all("vLLM died while it answered s0" in why for _, why in said["deadly"][3:])


@pytest.mark.slow
def test_a_model_without_a_chat_template_is_refused_when_it_loads_and_answers_by_a_plain_one(
    said: Mapping[str, Any],
) -> None:
    (refused, why), (ending, text) = said["base"]
    assert refused == "EngineError"
    assert "has no chat template" in why
    assert "package:plain" in why
    assert ending in ("length", "stop")
    assert text


@pytest.mark.slow
def test_a_row_whose_logits_are_no_numbers_is_an_error(said: Mapping[str, Any]) -> None:
    ending, why = said["spoilt"]
    assert ending == "RowError"
    assert "the model's logits are no numbers (NaN) in dtype float32, after " in why
