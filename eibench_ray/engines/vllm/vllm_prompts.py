"""Requests as vLLM takes them: rendered by a chat template, with their pictures. Beside vllm.py, it imports vllm."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from eibench_ray.engines.chat_templates import is_plain, no_template, template_variables
from eibench_ray.engines.control_tokens import control_tokens
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.vllm.vllm_versions import carrying, forgetful_cache, no_template_error
from eibench_ray.errors import EngineError
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request


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
    return Picture(decode_picture(content), hashlib.blake2b(content, digest_size=16).hexdigest())


class Prompts:
    """Renders requests, and keeps straight which pictures vLLM's other process has.

    vLLM sends a picture to its EngineCore once: it is marked as sent when it is rendered, and the next request with it
    carries the mark alone. Where the first request then never gets there, since it is refused or given up, the next
    one ends with `error`. So whoever gives a request up calls `forget`, and what is asked again carries its picture.
    """

    def __init__(self, llm: Any, template: str | None, source: str) -> None:
        self._renderer = llm.renderer
        self._template = template
        self._source = source
        checkpoint = llm.model_config.hf_config
        self._image_token = getattr(checkpoint, "image_token_id", getattr(checkpoint, "image_token_index", None))
        self._control = control_tokens(self._renderer.tokenizer, source)
        self._variables = template_variables(template, self._renderer.tokenizer)
        self._carrying = carrying(self._renderer)

    async def check(self) -> None:
        """Returns where a plain question can be rendered; all rows would fail otherwise.

        Raises:
            EngineError: the model has no chat template, or one that cannot be used.
        """
        try:
            await self._renderer.render_messages_async(_messages("Why?", None, None), self._params())
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
        messages = _messages("Why?", None, Picture(Image.new("RGB", (32, 32)), "check"))
        try:
            await self._renderer.render_messages_async(messages, self._params())
        except Exception:
            return False
        return True

    async def render(self, request: Request, picture: Picture | None, *, is_again: bool = False) -> Any:
        """The prompt for `AsyncLLM.generate`.

        Raises:
            RowError: the prompt cannot be used.
        """
        try:
            prompt = await self._render(request, picture, is_again=is_again)
        except AssertionError:
            # Where EngineCore lacks a picture, vLLM takes its mark back in the event loop, perhaps just between the
            # two looks that its rendering thread takes at the mark. A request that carries its picture has no mark.
            if picture is None or is_again:
                raise
            prompt = await self._render(request, picture, is_again=True)
        self._check_placeholders(prompt, num_pictures=int(picture is not None))
        return prompt

    async def _render(self, request: Request, picture: Picture | None, *, is_again: bool) -> Any:
        defuse = self._control.defuse
        rendering = asyncio.ensure_future(
            self._renderer.render_chat_async(
                [_messages(defuse(request.user), defuse(request.system or "") or None, picture)],
                self._params(),
                self._renderer.default_chat_tok_params,
                **(self._carrying if is_again else {}),
            )
        )
        try:
            # What is given up is rendered to its end all the same, in a thread, and marks its picture only then.
            _, prompts = await asyncio.shield(rendering)
        except asyncio.CancelledError:
            rendering.add_done_callback(lambda done: self._forget_late(done, picture))
            raise
        return prompts[0]

    def forget(self, picture: Picture | None) -> None:
        """Takes a picture for one that the engine does not have; to send it once more costs little."""
        cache = forgetful_cache(self._renderer)
        if picture is None or cache is None:
            return
        # In the thread that renders: an entry that goes while it is looked up fails the row that does.
        thread = getattr(self._renderer, "_mm_executor", None)
        if thread is None:
            cache.invalidate(picture.name)
        else:
            thread.submit(cache.invalidate, picture.name)

    def _forget_late(self, done: asyncio.Future[Any], picture: Picture | None) -> None:
        if not done.cancelled():
            done.exception()  # looked at, so that asyncio does not complain of it
        self.forget(picture)

    def _params(self) -> Any:
        from vllm.renderers.params import ChatParams

        return ChatParams(
            chat_template=self._template,
            # As a text, the model's own class places its picture; a plain template does not know how.
            chat_template_content_format="string" if is_plain(self._template) else "auto",
            chat_template_kwargs={"add_generation_prompt": True, "tokenize": True, **self._variables},
        )

    def _check_placeholders(self, prompt: Any, num_pictures: int) -> None:
        """Refuses a prompt whose picture was lost, or whose text holds the model's picture token: vLLM answers both."""
        ranges = (prompt.get("mm_placeholders") or {}).get("image", [])
        if len(ranges) != num_pictures:
            raise RowError(
                RowErrorKind.PROMPT,
                f"the chat template of {self._source} placed {len(ranges)} of {num_pictures} pictures",
            )
        if self._image_token is not None:
            num_tokens = list(prompt["prompt_token_ids"]).count(self._image_token)
            if num_tokens != sum(placed.get_num_embeds() for placed in ranges):
                raise RowError(RowErrorKind.PROMPT, "the text contains the token that stands for a picture")


def _messages(user: str, system: str | None, picture: Picture | None) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "text", "text": user}]
    if picture is not None:
        content.insert(0, {"type": "image_pil", "image_pil": picture.image, "uuid": picture.name})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    return [{"role": "system", "content": system}, *messages] if system else messages
