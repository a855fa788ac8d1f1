"""The section of the engine that embeds the sentences of answers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from eibench_ray.config.engine_section import EngineSection, Identity, Tuning
from eibench_ray.config.section import PathText

# The splitter that needs no pipeline: spaCy's rule over punctuation.
SENTENCIZER = "sentencizer"


class EmbeddingSection(EngineSection):
    """A text encoder that says how alike adjacent sentences of an answer are; its reply is a small JSON text.

    A sentence that is longer than the encoder's window is cut to it.

    Attributes:
        pooling: a sentence's embedding: `cls` takes the first token's last hidden state, `mean` the mean over all.
        splitter: what cuts an answer into sentences: an installed spaCy pipeline by its name, e.g. `en_core_web_sm`, or
            `sentencizer`.
        num_gpus: GPUs that one replica owns where engines run on GPUs; 0 leaves them to others and computes on cores.
    """

    says_words: ClassVar[bool] = False

    kind: Literal["embedding"]
    source: Identity[PathText]  # a Hugging Face id, a folder, or `checkpoint:NAME`
    revision: Identity[str | None] = None  # the hub's commit or tag; None for a folder
    dtype: Identity[Literal["float32", "bfloat16", "float16"]] = "float32"
    pooling: Identity[Literal["cls", "mean"]]
    splitter: Identity[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]]
    max_num_seqs: Tuning[PositiveInt] = 64  # answers that are embedded together
    num_gpus: Tuning[Annotated[int, Field(ge=0, le=1)]] = 1
