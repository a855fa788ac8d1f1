"""Tokenizer of a tiny QWen: a token per byte, and the special tokens of its authors. A file of the checkpoint.

Its tokens are bytes, the special ones texts; it knows no end of a text, and takes special tokens in any text for such.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar, Literal

import tiktoken
from transformers import PreTrainedTokenizer

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"),
    *("<img>", "</img>", "<imgpad>"),
)
Token = bytes | str


class QWenTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """A tiktoken encoding behind the interface of transformers 4."""

    vocab_files_names: ClassVar = {"vocab_file": "qwen.tiktoken"}

    def __init__(self, vocab_file: str, errors: str = "replace", **kwargs: Any) -> None:
        lines = [line.split() for line in Path(vocab_file).read_bytes().splitlines()]
        self.errors = errors
        self.image_start_tag, self.image_end_tag, self.image_pad_tag = SPECIAL_TOKENS[-3:]
        self.mergeable_ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        self.special_tokens = {token: len(lines) + index for index, token in enumerate(SPECIAL_TOKENS)}
        self.decoder: dict[int, Token] = {rank: token for token, rank in self.mergeable_ranks.items()}
        self.decoder |= {index: token for token, index in self.special_tokens.items()}
        self.tokenizer = tiktoken.Encoding(
            "qwen", pat_str=r"[\s\S]+", mergeable_ranks=self.mergeable_ranks, special_tokens=self.special_tokens
        )
        super().__init__(**kwargs)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.tokenizer.n_vocab

    def __len__(self) -> int:
        return self.tokenizer.n_vocab

    def get_vocab(self) -> dict[Any, int]:
        """Ids of the tokens that are bytes."""
        return dict(self.mergeable_ranks)

    def tokenize(
        self,
        text: str,
        allowed_special: Literal["all"] | AbstractSet[str] = "all",
        disallowed_special: Literal["all"] | Collection[str] = (),
        **kwargs: Any,  # noqa: ARG002 - transformers passes more
    ) -> list[Any]:
        """The tokens of a text."""
        ids = self.tokenizer.encode(text, allowed_special=allowed_special, disallowed_special=disallowed_special)
        return [self.decoder[index] for index in ids]

    def convert_tokens_to_string(self, tokens: Sequence[Token]) -> str:
        """The text of some tokens."""
        parts = [token if isinstance(token, bytes) else token.encode() for token in tokens]
        return b"".join(parts).decode("utf-8", errors=self.errors)

    def _add_tokens(self, new_tokens: Sequence[Any], special_tokens: bool = False) -> int:  # noqa: ARG002 - it has its own
        return 0

    def _convert_token_to_id(self, token: Token) -> int:
        return self.special_tokens[token] if isinstance(token, str) else self.mergeable_ranks[token]

    def convert_tokens_to_ids(self, tokens: Token | Sequence[Token]) -> Any:
        """The id of a token, or of each of some."""
        if isinstance(tokens, bytes | str):
            return self._convert_token_to_id(tokens)
        return [self._convert_token_to_id(token) for token in tokens]

    def _convert_id_to_token(self, index: int) -> Token:
        return self.decoder[index]

    def _decode(self, token_ids: int | list[int], errors: str | None = None, **_: Any) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        return self.tokenizer.decode(ids, errors=errors or self.errors)
