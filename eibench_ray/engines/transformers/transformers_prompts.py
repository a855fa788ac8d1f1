"""Requests as a transformers model takes them: its processor, its chat template, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import transformers as hf

from eibench_ray.engines.chat_template_check import check_variables
from eibench_ray.engines.chat_templates import no_template, template_file, template_variables
from eibench_ray.engines.control_tokens import control_tokens
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.engines.picture_places import are_misplaced, no_places
from eibench_ray.engines.reasoning_parsers import opens_thinking
from eibench_ray.engines.sent_prompt import SentPrompt, sent_tokens
from eibench_ray.engines.thinking import TagSplitter
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.errors import EngineError
from eibench_ray.rows.request import Request
from eibench_ray.weights.node_weights import Weights


class ChatPrompts:
    """The processor of a checkpoint, with the template by which it is asked. No weights are loaded.

    Attributes:
        source: arguments of transformers' `from_pretrained`.
        settings: the checkpoint's configuration.
        tags: tell its thinking from its answers; None where nothing does.
        thinks: whether its template begins the thinking.

    Raises:
        EngineError: it cannot be used as configured.
    """

    def __init__(self, config: TransformersSection, weights: Weights) -> None:
        self._config = config
        self.source = {
            "pretrained_model_name_or_path": weights.source,
            "revision": weights.revision or "main",
            "trust_remote_code": config.trust_remote_code,
        }
        self._processor = hf.AutoProcessor.from_pretrained(**self.source)
        self.tokenizer = getattr(self._processor, "tokenizer", self._processor)
        self._template = self._read_template()
        check_variables(config.chat_template_kwargs, self._template, config.source)
        self._variables = template_variables(self._template, self.tokenizer) | config.chat_template_kwargs
        self.tags = TagSplitter(self.tokenizer) if config.reasoning == "auto" else None
        self.thinks = self.tags is not None and opens_thinking(self._template, self.tags.marks.start)
        self.marks = (self.tags.marks.start, self.tags.marks.end) if self.thinks and self.tags else ()
        self._control = control_tokens(self.tokenizer, config.source, marks=self.marks)
        self.settings = hf.AutoConfig.from_pretrained(**self.source)
        visual = (getattr(self.settings, f"{kind}_token_id", None) for kind in ("image", "video"))
        self._visual_tokens = {token for token in visual if token is not None}

    def make(self, request: Request, pictures: Sequence[Any]) -> Any:
        """The tensors that its processor makes of a request with its pictures (RGB), by name; of a batch of one.

        Raises:
            ValueError: the prompt cannot be used; so may what a template or a processor raises.
        """
        defuse = self._control.defuse
        user = [defuse(piece) if isinstance(piece, str) else pictures[piece] for piece in request.content]
        messages = [{"role": "user", "content": self._content(user)}]
        if request.system:
            messages.insert(0, {"role": "system", "content": self._content([defuse(request.system)])})
        self._check_text(f"{request.system or ''}\n{request.user}")
        self._check_places(messages, request)
        made = self._processor.apply_chat_template(
            messages,
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            **self._variables,
        )
        has_picture = bool(self._visual_tokens & set(made["input_ids"].flatten().tolist()))
        if self._visual_tokens and has_picture != bool(pictures):
            raise ValueError(f"the chat template of {self._config.source} lost the picture")
        return made

    def _content(self, pieces: Sequence[Any]) -> str | list[dict[str, Any]]:
        """A message's content: in parts for a model that sees, else the plain text that its template expects."""
        if self._processor is self.tokenizer:
            if any(not isinstance(piece, str) for piece in pieces):
                raise ValueError(f"{self._config.source} takes no pictures: set model.sees_image to false")
            return "".join(pieces)
        return [
            {"type": "text", "text": piece} if isinstance(piece, str) else {"type": "image", "image": piece}
            for piece in pieces
        ]

    def _check_places(self, messages: list[dict[str, Any]], request: Request) -> None:
        """Refuses a prompt whose template loses a picture or moves it: some processors do not notice."""
        mark = getattr(self._processor, "image_token", None)
        if not request.images or not isinstance(mark, str):
            return
        text = self._processor.apply_chat_template(
            messages, chat_template=self._template, add_generation_prompt=True, tokenize=False, **self._variables
        )
        pieces = text.split(mark)
        if len(pieces) - 1 != len(request.images):
            raise ValueError(
                f"the chat template of {self._config.source} placed {len(pieces) - 1} of {len(request.images)} pictures"
            )
        before = ["".join(pieces[:number]) for number in range(1, len(pieces) + 1)]
        if any(image.at for image in request.images) and are_misplaced(request.content, before):
            raise ValueError(no_places(self._config.source))

    def _check_text(self, text: str) -> None:
        if self._visual_tokens & set(self.tokenizer(text, add_special_tokens=False)["input_ids"]):
            raise ValueError("the text contains the token that stands for a picture")

    def _read_template(self) -> str:
        if self._config.chat_template:
            return template_file(self._config.chat_template).read_text(encoding="utf-8")
        template = self._processor.chat_template or self.tokenizer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if not template:
            raise EngineError(no_template(self._config.source))
        return str(template)


def show_prompts(
    config: TransformersSection, weights: Weights, asked: Sequence[tuple[Request, Sequence[bytes]]]
) -> list[SentPrompt]:
    """The prompts of requests, each with the bytes of its pictures.

    Raises:
        EngineError: they cannot be made here.
    """
    try:
        prompts = ChatPrompts(config, weights)
        made = [prompts.make(request, [decode_picture(image) for image in images]) for request, images in asked]
    except Exception as error:  # transformers raises what its files, templates and processors do
        if isinstance(error, EngineError):
            raise
        raise EngineError(f"transformers cannot render it here: {' '.join(str(error).split())}") from error
    return [sent_tokens(one["input_ids"][0].tolist(), prompts.tokenizer.decode) for one in made]
