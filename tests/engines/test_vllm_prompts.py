"""Requests to vLLM's renderer: whether it can render at all, and which pictures it takes for sent.

The renderers are stand-ins, and so is the little of vLLM that is imported; its own are asked in test_architectures.py,
test_conversations.py and test_vllm_endings.py.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asking_models import PICTURES, request, show

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.vllm.vllm_prompts import Prompts, read_picture
from eibench_ray.errors import EngineError

SHOWN, _ = show(request(), PICTURES[1])


@pytest.fixture(autouse=True)
def params(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vLLM of nothing but the parameters of a conversation: the real one takes seconds to import."""
    for name in ("vllm", "vllm.renderers", "vllm.entrypoints", "vllm.renderers.params"):
        module: Any = ModuleType(name)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("vllm.renderers.chat_utils", "vllm.entrypoints.chat_utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(module, "ChatParams", SimpleNamespace, raising=False)


class Cache:
    """Notes what is forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def invalidate(self, name: str) -> None:
        self.forgotten.append(name)


class Renderer:
    """Renders as it is told; a picture only when it is let go, where it is told to wait."""

    tokenizer = None
    default_chat_tok_params = None

    def __init__(self, refuses: str = "", ranges: int = 1, *, waits: bool = False, num_lost: int = 0) -> None:
        self.mm_processor_cache = Cache()
        self._mm_executor = ThreadPoolExecutor(1)
        self._refuses = refuses
        self._ranges = ranges
        self._num_lost = num_lost
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        if not waits:
            self.may_end.set()
        self.asked: list[dict[str, Any]] = []

    async def render_messages_async(self, messages: list[Any], params: Any) -> None:  # noqa: ARG002
        has_picture = len(messages[-1]["content"]) > 1
        if self._refuses == "all" or (self._refuses == "text" and not has_picture):
            raise ValueError("no such message")

    async def render_chat_async(
        self, messages: list[Any], params: Any, tokens: Any, *, skip_mm_cache: bool = False
    ) -> Any:
        self.asked.append({"messages": messages[0], "params": params, "tokens": tokens, "carries": skip_mm_cache})
        self.began.set()
        await self.may_end.wait()
        return self._answer()

    def render_chat(self, messages: list[Any], params: Any, tokens: Any) -> Any:
        self.asked.append({"messages": messages[0], "params": params, "tokens": tokens, "is_at_once": True})
        return self._answer()

    def _answer(self) -> Any:
        if len(self.asked) <= self._num_lost:
            raise AssertionError("Expected a cached item")
        placed = [SimpleNamespace(get_num_embeds=lambda: 2)] * self._ranges
        return None, [{"mm_placeholders": {"image": placed}, "prompt_token_ids": [7, 7, 1]}]


def prompts(renderer: Renderer) -> Prompts:
    config = SimpleNamespace(hf_config=SimpleNamespace(image_token_id=7))
    return Prompts(SimpleNamespace(renderer=renderer, model_config=config), None, "me/eye")


@pytest.mark.parametrize(("refuses", "is_refused"), [("", False), ("text", False), ("all", True)])
def test_a_template_that_renders_no_question_is_refused(refuses: str, *, is_refused: bool) -> None:
    checked = prompts(Renderer(refuses)).check()
    if not is_refused:
        asyncio.run(checked)
        return
    with pytest.raises(EngineError, match=r"template of me/eye cannot render a plain question \(no such message\)"):
        asyncio.run(checked)


def test_a_picture_is_known_by_its_bytes_and_carried_when_it_is_asked_again() -> None:
    picture, other = read_picture(*PICTURES[1]), read_picture(*PICTURES[2])
    assert picture.name == read_picture(*PICTURES[1]).name != other.name
    renderer = Renderer()

    async def ask() -> None:
        rendered = prompts(renderer)
        await rendered.render(SHOWN, [picture])
        await rendered.render(SHOWN, [picture], is_again=True)

    asyncio.run(ask())
    assert [asked["carries"] for asked in renderer.asked] == [False, True]
    assert renderer.asked[0]["messages"][0]["content"][0]["uuid"] == picture.name


def test_a_picture_whose_rendering_is_given_up_is_forgotten_once_it_is_marked() -> None:
    picture, renderer = read_picture(*PICTURES[1]), Renderer(waits=True)
    forgotten = renderer.mm_processor_cache.forgotten

    async def in_thread_that_renders() -> None:
        await asyncio.wrap_future(renderer._mm_executor.submit(lambda: None))

    async def give_up() -> None:
        given_up = asyncio.create_task(prompts(renderer).render(SHOWN, [picture]))
        began = asyncio.create_task(renderer.began.wait())
        await asyncio.wait((given_up, began), return_when=asyncio.FIRST_COMPLETED)
        others = asyncio.all_tasks() - {given_up, began, asyncio.current_task()}
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await in_thread_that_renders()
        assert forgotten == []
        (rendering,) = others
        renderer.may_end.set()
        await rendering
        await asyncio.sleep(0)  # for what is called when it is done
        await in_thread_that_renders()

    asyncio.run(give_up())
    assert forgotten == [picture.name]


def test_a_mark_that_is_lost_while_it_is_looked_at_does_not_fail_its_row() -> None:
    renderer = Renderer(num_lost=1)
    asyncio.run(prompts(renderer).render(SHOWN, [read_picture(*PICTURES[1])]))
    assert [asked["carries"] for asked in renderer.asked] == [False, True]


@pytest.mark.parametrize(("has_picture", "num_asked"), [(True, 2), (False, 1)])
def test_a_rendering_that_fails_in_any_case_is_an_error(num_asked: int, *, has_picture: bool) -> None:
    renderer = Renderer(num_lost=9)
    with pytest.raises(AssertionError, match="Expected a cached item"):
        asyncio.run(
            prompts(renderer).render(*(SHOWN, [read_picture(*PICTURES[1])]) if has_picture else (request(), []))
        )
    assert len(renderer.asked) == num_asked


@pytest.mark.parametrize(("text", "is_at_once"), [("Why?", True), ("Why? " * 10_000, False)])
def test_a_short_text_is_rendered_at_once_and_a_long_one_in_a_thread(text: str, *, is_at_once: bool) -> None:
    renderer = Renderer(ranges=0)
    with pytest.raises(RowError, match="the text contains the token that stands for a picture"):
        asyncio.run(prompts(renderer).render(request(text), []))
    assert [asked.get("is_at_once", False) for asked in renderer.asked] == [is_at_once]


def test_a_lost_picture_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="placed 0 of 1 pictures"):
        asyncio.run(prompts(Renderer(ranges=0)).render(SHOWN, [read_picture(*PICTURES[1])]))


class Letters:
    """A tokenizer of letters; 7 stands for a picture."""

    def decode(self, tokens: list[int]) -> str:
        return "".join("<image>" if token == 7 else chr(token) for token in tokens)


@pytest.mark.parametrize(("rendered", "is_refused"), [("Look:<>why?", False), ("<>Look:why?", True)])
def test_a_picture_that_the_template_moves_is_an_error_of_its_row(rendered: str, *, is_refused: bool) -> None:
    tokens = [7 if letter in "<>" else ord(letter) for letter in rendered]
    placed = SimpleNamespace(get_num_embeds=lambda: 2, offset=tokens.index(7))
    renderer = Renderer()
    renderer.tokenizer = Letters()  # type: ignore[assignment]

    async def render_chat_async(*_: Any, **__: Any) -> Any:
        return None, [{"mm_placeholders": {"image": [placed]}, "prompt_token_ids": tokens}]

    renderer.render_chat_async = render_chat_async  # type: ignore[method-assign]
    shown, _ = show(request("Look:why?"), PICTURES[1], 5)
    asked = prompts(renderer)
    if not is_refused:
        asyncio.run(asked.render(shown, [read_picture(*PICTURES[1])]))
        return
    with pytest.raises(RowError, match="puts pictures before the text, and the prompt places them elsewhere"):
        asyncio.run(asked.render(shown, [read_picture(*PICTURES[1])]))
