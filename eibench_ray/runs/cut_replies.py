r"""Cuts the words of explanations out of many replies in their bytes: a quarter of the time that cutting each takes.

>>> cut = cut_replies(pa.chunked_array([['{"explanation": "Rain.", "correct": true}', '{"correct": true}', None]]))
>>> cut.rests, cut.codes
(['{"explanation": "", "correct": true}', '{"correct": true}', ''], array([0, 1, 2]))
>>> cut.all_words()
['Rain.', None, None]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from eibench_ray.scoring.judged.json_reply import KEY, SPACED, TIGHT, cut_explanation


@dataclass(frozen=True, slots=True)
class CutReplies:
    """Replies as `cut_explanation` cuts each.

    Attributes:
        rests: the replies without the words of their explanations, nearly all of them once.
        codes: (replies,) the place of each in `rests`.
    """

    rests: list[str]
    codes: NDArray[np.intp]
    _pieces: pa.StringArray  # of each three; its words, where it was cut in its bytes, are the second
    _odd_words: dict[int, str | None]  # those of the others, by place

    def words_of(self, place: int) -> str | None:
        """The words that were cut out of a reply; None where none were."""
        words: str | None = self._odd_words[place] if place in self._odd_words else self._pieces[3 * place + 1].as_py()
        return words

    def all_words(self) -> list[str | None]:
        """Those of each."""
        found: list[str | None] = self._pieces.take(pa.array(range(1, len(self._pieces), 3), pa.int64())).to_pylist()
        for place, words in self._odd_words.items():
            found[place] = words
        return found


def cut_replies(texts: pa.ChunkedArray) -> CutReplies:
    """Cuts replies; one that is missing counts as empty."""
    replies = texts.combine_chunks().fill_null("")
    if not len(replies):
        return CutReplies([], np.zeros(0, np.intp), replies, {})
    _, offsets, content = replies.buffers()
    edges = np.frombuffer(offsets, np.int32)[replies.offset : replies.offset + len(replies) + 1].astype(np.int64)
    starts, ends = _find_words(replies, np.frombuffer(content or b"", np.uint8)[: edges[-1]], edges)
    # Of each reply what stands before its words, the words, and the rest: the same bytes between other edges.
    cuts = np.append(np.column_stack((edges[:-1], starts, ends)).ravel(), edges[-1]).astype(np.int32)
    pieces = pa.StringArray.from_buffers(len(cuts) - 1, pa.py_buffer(cuts), content or pa.py_buffer(b""))
    places = np.arange(0, len(pieces), 3)
    heads, tails = (pieces.take(pa.array(places + piece)).dictionary_encode() for piece in (0, 2))
    num_tails = len(tails.dictionary)
    pairs = heads.indices.to_numpy().astype(np.intp) * num_tails + tails.indices.to_numpy()
    is_odd = starts == edges[:-1]
    known = pa.array(pairs, mask=is_odd).dictionary_encode()
    codes = known.indices.fill_null(0).to_numpy().astype(np.intp)
    halves = (divmod(pair, num_tails) for pair in known.dictionary.to_pylist())
    rests = [heads.dictionary[head].as_py() + tails.dictionary[tail].as_py() for head, tail in halves]
    odd_words: dict[int, str | None] = {}
    for place in np.flatnonzero(is_odd).tolist():
        rest, odd_words[place] = cut_explanation(replies[place].as_py())
        codes[place] = len(rests)
        rests.append(rest)
    return CutReplies(rests, codes, pieces, odd_words)


def _find_words(
    replies: pa.StringArray, content: NDArray[np.uint8], edges: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges of the words in the replies' bytes; both are a reply's own beginning where its text is to be looked at.

    Args:
        replies: the replies.
        content: all of their bytes.
        edges: of each in them.
    """
    has_key = _find(replies, KEY) >= 0
    # One that reaches from a reply into the next is counted, too, and hides at most one: equal, so each has one.
    if content[edges[0] :].tobytes().count(KEY.encode()) != np.count_nonzero(has_key):
        has_key = pc.count_substring(replies, KEY).to_numpy() == 1
    starts = _find(replies, SPACED)
    if (has_key & (starts < 0)).any():
        starts = np.where(starts < 0, _find(replies, TIGHT), starts)
    quotes = np.append(np.flatnonzero(content == ord('"')), len(content))
    starts = np.where(starts < 0, 0, starts) + edges[:-1]
    ends = quotes[np.searchsorted(quotes, starts)]
    is_cut = has_key & (starts > edges[:-1]) & (ends < edges[1:])
    is_cut[np.searchsorted(edges, np.flatnonzero(content == ord("\\")), "right") - 1] = False
    return np.where(is_cut, starts, edges[:-1]), np.where(is_cut, ends, edges[:-1])


def _find(replies: pa.StringArray, words: str) -> NDArray[np.int64]:
    """(replies,) where some words end in each, in bytes; -1 where they are not there."""
    found = pc.find_substring(replies, words).to_numpy().astype(np.int64)
    return np.where(found < 0, -1, found + len(words))
