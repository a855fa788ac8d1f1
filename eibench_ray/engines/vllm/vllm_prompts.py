"""Requests as vLLM takes them: rendered by a chat template, with their pictures. Beside vllm.py, it imports vllm."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from eibench_ray.engines.chat_templates import is_plain, no_template, template_variables
from eibench_ray.engines.control_tokens import control_tokens
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.picture_places import are_misplaced, no_places
from eibench_ray.engines.vllm.shared_picture import share
from eibench_ray.engines.vllm.vllm_versions import carrying, forgetful_cache, no_template_error
from eibench_ray.errors import EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request

# Characters of a row without pictures that is rendered in the event loop: vLLM's own way there and back, over two tasks
# and its thread, takes longer than the rendering.
_SHORT_TEXT = 8192


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and the name by which vLLM knows it again: a digest of its bytes."""

    image: Image.Image
    name: str


def read_picture(content: bytes) -> Picture:
    """The picture in a row's bytes.

    Raises:
        RowError: it cannot be decoded.
    """
    return Picture(share(decode_picture(content)), hashlib.blake2b(content, digest_size=16).hexdigest())


class Prompts:
    """Renders requests, and keeps straight which pictures vLLM's other process has.

    vLLM sends a picture to its EngineCore once: it is marked as sent when it is rendered, and the next request with it
    carries the mark alone. Where the first request then never gets there, since it is refused or given up, the next
    one ends with `error`. So whoever gives a request up calls `forget`, and what is asked again carries its picture.
    """

    def __init__(
        self,
        llm: Any,
        template: str | None,
        source: str,
        variables: Mapping[str, Any] = {},
        marks: Iterable[str] = (),
    ) -> None:
        """Prompts of an engine.

        Args:
            llm: vLLM's.
            template: the text of the chat template; None: the checkpoint's own.
            source: the checkpoint, for errors.
            variables: of the chat template.
            marks: texts of thinking, which no row's text may bring.
        """
        self._renderer = llm.renderer
        self._source = source
        checkpoint = llm.model_config.hf_config
        self._image_token = getattr(checkpoint, "image_token_id", getattr(checkpoint, "image_token_index", None))
        self._control = control_tokens(self._renderer.tokenizer, source, marks=marks)
        self._params = _chat_params(template, {**template_variables(template, self._renderer.tokenizer), **variables})
        self._carrying = carrying(self._renderer)

    async def check(self) -> None:
        """Returns where a plain question can be rendered; all rows would fail otherwise.

        Raises:
            EngineError: the model has no chat template, or one that cannot be used.
        """
        try:
            await self._renderer.render_messages_async(_messages(["Why?"], None), self._params)
        except no_template_error() as error:
            raise EngineError(no_template(self._source)) from error
        except Exception as error:
            if "default chat template is no longer allowed" in " ".join(str(error).split()):
                raise EngineError(no_template(self._source)) from error
            if await self._wants_picture():
                return
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EngineError(
                f"the chat template of {self._source} cannot render a plain question ({reason}): set "
                f"engine.chat_template of the model to a Jinja file that can"
            ) from error

    async def _wants_picture(self) -> bool:
        """Whether the template renders a question with a picture."""
        messages = _messages([Picture(Image.new("RGB", (32, 32)), "check"), "Why?"], None)
        try:
            await self._renderer.render_messages_async(messages, self._params)
        except Exception:
            return False
        return True

    async def render(self, request: Request, pictures: Sequence[Picture], *, is_again: bool = False) -> Any:
        """The prompt for `AsyncLLM.generate`.

        Raises:
            RowError: the prompt cannot be used.
        """
        try:
            prompt = await self._render_with_pictures(request, pictures, is_again=is_again)
            self._check_placeholders(prompt, request)
        except Exception:  # one that is cancelled is forgotten once it is through
            self.forget([picture.name for picture in pictures])
            raise
        return prompt

    async def _render_with_pictures(self, request: Request, pictures: Sequence[Picture], *, is_again: bool) -> Any:
        try:
            return await self._render(request, pictures, is_again=is_again)
        except AssertionError:
            # Where EngineCore lacks a picture, vLLM takes its mark back in the event loop, perhaps just between the
            # two looks that its rendering thread takes at the mark. A request that carries its picture has no mark.
            if not pictures or is_again:
                raise
            return await self._render(request, pictures, is_again=True)

    async def _render(self, request: Request, pictures: Sequence[Picture], *, is_again: bool) -> Any:
        defuse = self._control.defuse
        content = [defuse(piece) if isinstance(piece, str) else pictures[piece] for piece in request.content]
        system = defuse(request.system or "") or None
        asked = ([_messages(content, system)], self._params, self._renderer.default_chat_tok_params)
        if not pictures and len(request.user) + len(request.system or "") <= _SHORT_TEXT:
            _, prompts = self._renderer.render_chat(*asked)
            return prompts[0]
        rendering = asyncio.ensure_future(
            self._renderer.render_chat_async(*asked, **(self._carrying if is_again else {}))
        )
        try:
            # What is given up is rendered to its end all the same, in a thread, and marks its picture only then.
            _, prompts = await asyncio.shield(rendering)
        except asyncio.CancelledError:
            names = [picture.name for picture in pictures]
            rendering.add_done_callback(lambda done: self._forget_late(done, names))
            raise
        return prompts[0]

    def forget(self, names: Iterable[str]) -> None:
        """Takes pictures for such as the engine does not have; to send them once more costs little."""
        cache = forgetful_cache(self._renderer)
        if cache is None:
            return
        # In the thread that renders: an entry that goes while it is looked up fails the row that does.
        thread = getattr(self._renderer, "_mm_executor", None)
        for name in names:
            if thread is None:
                cache.invalidate(name)
            else:
                thread.submit(cache.invalidate, name)

    def _forget_late(self, done: asyncio.Future[Any], names: Sequence[str]) -> None:
        if not done.cancelled():
            done.exception()  # looked at, so that asyncio does not complain of it
        self.forget(names)

    def _check_placeholders(self, prompt: Any, request: Request) -> None:
        """Refuses what vLLM answers all the same: a picture was lost or moved, the text holds a picture's token."""
        ranges = (prompt.get("mm_placeholders") or {}).get("image", [])
        if len(ranges) != len(request.images):
            raise RowError(
                RowErrorKind.PROMPT,
                f"the chat template of {self._source} placed {len(ranges)} of {len(request.images)} pictures",
            )
        tokens = list(prompt["prompt_token_ids"])
        if any(image.at for image in request.images):
            decode = self._renderer.tokenizer.decode
            before = [decode(tokens[: placed.offset]) for placed in sorted(ranges, key=lambda one: one.offset)]
            if are_misplaced(request.content, [*before, decode(tokens)]):
                raise RowError(RowErrorKind.PROMPT, no_places(self._source))
        if self._image_token is not None:
            num_tokens = tokens.count(self._image_token)
            if num_tokens != sum(placed.get_num_embeds() for placed in ranges):
                raise RowError(RowErrorKind.PROMPT, "the text contains the token that stands for a picture")


def _chat_params(template: str | None, variables: Mapping[str, Any]) -> Any:
    from vllm.renderers.params import ChatParams

    return ChatParams(
        chat_template=template,
        # As a text, the model's own class places its picture; a plain template does not know how.
        chat_template_content_format="string" if is_plain(template) else "auto",
        chat_template_kwargs={"add_generation_prompt": True, "tokenize": True, **variables},
    )


def _messages(content: Sequence[str | Picture], system: str | None) -> list[dict[str, Any]]:
    parts = [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "image_pil", "image_pil": piece.image, "uuid": piece.name}
        for piece in content
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
    return [{"role": "system", "content": system}, *messages] if system else messages
