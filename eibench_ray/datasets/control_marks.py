"""Texts of samples that hold what models take for control tokens: counted and named when a dataset is prepared."""

from __future__ import annotations

import re
from collections import Counter

from eibench_ray.rows.sample import Sample
from eibench_ray.visible_text import shorten

# `<|im_end|>`, `</s>`, `[INST]`, `<<SYS>>`, `<start_of_turn>`, `<image>` and the like, of published models.
_MARK = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<\uff5c[^\uff5c<>]{1,40}\uff5c>|</?s>|\[/?(?:INST|SYSTEM_PROMPT|IMG|AVAILABLE_TOOLS|TOOL_CALLS)\]"
    r"|<</?SYS>>|<(?:bos|eos|pad|unk|mask|image|video|audio|img|im_start|im_end|end_of_utterance|fake_token_around_image"
    r"|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token)>"
)
_SHOWN = 5


class ControlMarks:
    """Counts the samples of one dataset that hold such marks."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._num_samples = 0
        self._first = ""

    def watch(self, sample: Sample) -> None:
        """Looks at a sample's texts."""
        known = (value for value in sample.metadata.values() if isinstance(value, str))
        texts = (*sample.inputs.values(), *sample.targets, *known)
        found = {mark for text in texts if "<" in text or "[" in text for mark in _MARK.findall(text)}
        if found:
            self._counts.update(found)
            self._num_samples += 1
            self._first = self._first or sample.sample_id

    @property
    def notes(self) -> tuple[str, ...]:
        """One paragraph for the user; none where no sample holds a mark."""
        if not self._num_samples:
            return ()
        listed = ", ".join(f"{mark} in {count}" for mark, count in self._counts.most_common(_SHOWN))
        rest = len(self._counts) - _SHOWN
        more = f", and {rest} more kinds" if rest > 0 else ""
        return (
            f"{self._num_samples} samples hold what models take for control tokens ({listed}{more}; the first is "
            f"{shorten(self._first)}): vLLM and transformers get those of their model as plain text, with a blank in "
            f"them; endpoints get all as they are",
        )
