r"""Thinking in a reply's text, split from the answer by its marks. Pure.

>>> split_thinking("<think>Clouds?</think>\n\nRain.")
SplitReply(thinking='Clouds?', answer='Rain.')
>>> split_thinking("Clouds?</think>Rain.")  # the prompt had opened it
SplitReply(thinking='Clouds?', answer='Rain.')
>>> split_thinking("<think>Clouds? Or")  # the limit of tokens came first
SplitReply(thinking='Clouds? Or', answer='')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# How a reply's thinking is told from its answer: `auto` by what the checkpoint or the reply shows, `none` not at all.
Reasoning = Literal["auto", "none"]


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """Texts between which a model thinks."""

    start: str = "<think>"
    end: str = "</think>"

    def strip(self, text: str) -> str:
        """The text without the marks, which a model may write once too often."""
        return text.replace(self.start, "").replace(self.end, "")


TAGS = ThinkingMarks()
# Tokens at a prompt's end in which its last mark is looked for.
_TAIL = 32


@dataclass(frozen=True, slots=True)
class SplitReply:
    """A reply's text in two parts."""

    thinking: str | None  # None: it has none
    answer: str


def split_thinking(text: str, marks: ThinkingMarks = TAGS, *, is_open: bool = False) -> SplitReply:
    """The thinking and the answer of a reply; all is thinking where it is begun and not ended.

    Args:
        text: of the reply.
        marks: the model's.
        is_open: whether the prompt had begun the thinking, so that the text lacks the first mark.
    """
    thoughts, answers, rest = list[str](), list[str](), text
    start, end = text.find(marks.start), text.find(marks.end)
    if is_open or (end >= 0 and not 0 <= start < end):
        thought, ended, rest = text.partition(marks.end)
        thoughts.append(thought.removeprefix(marks.start))
        rest = rest if ended else ""
    while rest:
        answer, begun, rest = rest.partition(marks.start)
        answers.append(answer)
        if begun:
            thought, _, rest = rest.partition(marks.end)
            thoughts.append(thought)
    if not thoughts:
        return SplitReply(None, text)
    thinking = "\n\n".join(filter(None, map(str.strip, thoughts)))
    return SplitReply(thinking or None, marks.strip("".join(answers)).strip())


@dataclass(frozen=True, slots=True)
class ThinkingReply:
    """A reply in two parts, with the tokens of the first."""

    thinking: str | None
    answer: str
    thinking_tokens: int | None = None  # None where it has no thinking


class TagSplitter:
    """Splits the replies of a model that runs here by its marks."""

    def __init__(self, tokenizer: Any, marks: ThinkingMarks = TAGS) -> None:
        self.marks = marks
        self._tokenizer = tokenizer

    def split(self, prompt: Sequence[int], text: str, tokens: Sequence[int]) -> ThinkingReply:
        """The parts of a reply to a prompt.

        Args:
            prompt: its tokens.
            text: the reply's.
            tokens: the reply's.
        """
        tail = self._tail(prompt)
        if tail.endswith(self.marks.end):
            return ThinkingReply(None, self.marks.strip(text))
        split = split_thinking(text, self.marks, is_open=tail.endswith(self.marks.start))
        return ThinkingReply(split.thinking, split.answer, self.count(tokens) if split.thinking else None)

    def is_open(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt leaves the thinking open, so that the reply begins within it."""
        return self._tail(prompt).endswith(self.marks.start)

    def is_closed(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt has ended the thinking, so that the reply is the answer."""
        return self._tail(prompt).endswith(self.marks.end)

    def count(self, tokens: Sequence[int]) -> int:
        """Tokens of a reply up to the end of its thinking, that mark included."""
        end = list(self._tokenizer.encode(self.marks.end, add_special_tokens=False))
        places = range(len(tokens) - len(end) + 1)
        return next((n + len(end) for n in places if list(tokens[n : n + len(end)]) == end), len(tokens))

    def _tail(self, prompt: Sequence[int]) -> str:
        # The marks may be of several tokens, with blank lines behind them.
        return str(self._tokenizer.decode(list(prompt[-_TAIL:]))).rstrip()
