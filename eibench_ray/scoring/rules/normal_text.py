"""Texts as they are compared: SQuAD's normalisation, in parts that can be left out."""

from __future__ import annotations

import re
import string
from unicodedata import category, normalize

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal_text(
    text: str, *, ignore_case: bool = True, ignore_articles: bool = True, ignore_punctuation: str = "ascii"
) -> str:
    """The text in lower case, without punctuation, English articles and spare white space, as SQuAD's script has it.

    A text that has nothing else keeps what would leave it empty: "A" and "The" stay two things.

    Args:
        text: any text.
        ignore_case: compare in lower case.
        ignore_articles: leave out a, an and the, whatever their case.
        ignore_punctuation: `ascii` as SQuAD's script does it, `all` that Unicode calls so (MLQA's does), or `none`.
    """
    text = normalize("NFC", text)
    if ignore_case:
        text = text.lower()
    if ignore_punctuation == "ascii":
        text = text.translate(_PUNCTUATION).strip() or text
    elif ignore_punctuation == "all":
        text = "".join(char for char in text if not category(char).startswith("P")).strip() or text
    if ignore_articles:
        text = (_ARTICLES if ignore_case else _ANY_ARTICLES).sub(" ", text).strip() or text
    return " ".join(text.split())


_ANY_ARTICLES = re.compile(_ARTICLES.pattern, re.IGNORECASE)
