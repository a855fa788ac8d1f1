"""Control tokens in a row's texts: an engine that tokenizes a rendered template would take them for its own.

`<|im_end|>` in a question ends the turn, `</s>` the prompt; what follows is then asked by nobody. Where an engine
knows its tokenizer, it sends such a text with a blank behind the first character (`< |im_end|>`), which reads the same
and is none. Tokens that stand for pictures are left: a text may say where its picture belongs, and engines check them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)

_PICTURE_NAMES = ("image_token", "video_token", "audio_token", "boi_token", "eoi_token")


class ControlTokens:
    """The control tokens of one model."""

    def __init__(self, tokens: Iterable[str], source: str) -> None:
        self._source = source
        # A token of one character could not be broken, and one of blanks or letters is part of ordinary texts.
        known = sorted({token for token in tokens if len(token) > 2 and not token.isalnum()}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, known))) if known else None
        self._told: set[str] = set()

    def defuse(self, text: str) -> str:
        """The text with its control tokens as plain text; the log names each of them once."""
        if self._pattern is None:
            return text
        return self._pattern.sub(self._break, text)

    def _break(self, found: re.Match[str]) -> str:
        token = found.group()
        plain = f"{token[0]} {token[1:]}"
        if token not in self._told:
            self._told.add(token)
            log.warning(
                "a text holds %r, a control token of %s: it is sent as plain text, %r", token, self._source, plain
            )
        return plain


def control_tokens(tokenizer: Any, source: str, marks: Iterable[str] = ()) -> ControlTokens:
    """The control tokens that a tokenizer finds in any text.

    Args:
        tokenizer: of transformers.
        source: the checkpoint, for the log.
        marks: further texts that mean something to whoever reads prompts and replies: those of thinking.
    """
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    special = {str(token) for token in added.values() if getattr(token, "special", False)}
    special |= {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    # QWen's own tokenizer names its tokens here alone, those of pictures included, which no engine checks for it.
    own = getattr(tokenizer, "special_tokens", None)
    named = map(str, own) if isinstance(own, dict) else ()
    kept = {str(getattr(tokenizer, name, None)) for name in _PICTURE_NAMES}
    return ControlTokens((*(token for token in special - kept if not _is_picture(token)), *named, *marks), source)


def _is_picture(token: str) -> bool:
    """Whether a token's name says that it stands for a picture, or for what is beside one."""
    name = token.lower()
    return any(word in name for word in ("image", "img", "video", "vision", "audio", "patch"))
