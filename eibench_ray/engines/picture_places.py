"""Whether a chat template shows pictures where a prompt places them: some put all of them before the text."""

from __future__ import annotations

from collections.abc import Sequence

# Letters and digits of a text by whose end it is known again: tokenizers change blanks, and what else is rare.
_TAIL = 24


def are_misplaced(content: Sequence[str | int], before: Sequence[str]) -> bool:
    """Whether a text that stands before a picture does not stand before it once the template was rendered.

    >>> are_misplaced(("Look:", 0, "Why?"), ["User: Look:", "User: Look:<image>Why?"])
    False
    >>> are_misplaced(("Look:", 0, "Why?"), ["User: ", "User: <image>Look:Why?"])
    True

    Args:
        content: of the request.
        before: the rendered text before each picture, and the whole text last.
    """
    *starts, whole = map(_letters, before)
    text = ""
    for piece in content:
        if isinstance(piece, str):
            text = _letters(piece)[-_TAIL:] or text
        # What is not there at all was lost by the tokenizer.
        elif text not in starts[piece] and text in whole:
            return True
    return False


def no_places(source: str) -> str:
    """The message for a row whose pictures a template does not show where the prompt places them."""
    return (
        f"the chat template of {source} puts pictures before the text, and the prompt places them elsewhere with "
        f"image(): leave that out, or set engine.chat_template to a file that keeps the order"
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
