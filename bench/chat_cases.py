"""Cases of `bench.replica_vs_chat`: how many requests of which kind, and the samples that ask them."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from eibench_ray.datasets.writer import DatasetWriter
from eibench_ray.rows.sample import Media, Sample

_SENTENCE = "Look at this person, and say in a few words what may have made them feel as they do today. "


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one kind to one checkpoint.

    Attributes:
        prefix_words: words that all prompts begin with.
        picture_px: width of the picture of each request; 0: there is none.
    """

    name: str
    checkpoint: str
    rows: int
    tokens: int  # of each reply, at most
    prefix_words: int = 0
    picture_px: int = 0


CASES = (
    Case("real text", "smollm2_135m", 64, 64),
    Case("real long output", "smollm2_135m", 16, 256),
    Case("real shared prefix", "smollm2_135m", 64, 16, prefix_words=400),
    Case("text", "tiny_llama", 256, 64),
    Case("short output", "tiny_llama", 1024, 8),
    Case("long output", "tiny_llama", 64, 512),
    Case("shared prefix", "tiny_llama", 1024, 32, prefix_words=200),
    Case("many", "tiny_llama", 4096, 32),
    Case("pictures", "tiny_idefics3", 64, 48, picture_px=200),
    Case("large pictures", "tiny_idefics3", 128, 8, picture_px=1024),
)


def write_samples(case: Case, turn: int, folder: Path) -> None:
    """Writes the dataset of one turn. Its texts and pictures are its own, so that no cache knows them from another."""
    chance = random.Random(f"{case.name} {turn}")
    with DatasetWriter(folder, "Synthetic requests") as writer:
        for number in range(case.rows):
            shared = f"Turn {turn}. " + " ".join((_SENTENCE * 99).split()[: case.prefix_words])
            question = f"{shared} {number}: {_SENTENCE[: 1 + 7 * number % len(_SENTENCE)]}".strip()
            pictures = (_draw(case.picture_px, chance),) if case.picture_px else ()
            media = tuple(Media(f"{number}.jpg") for _ in pictures)
            writer.add(Sample(f"{turn}/{number:05d}", {"question": question}, media=media), pictures)


def _draw(width: int, chance: random.Random) -> bytes:
    """A JPEG with an edge in it, of colours of its own."""
    picture = Image.new("RGB", (width, width * 3 // 4), tuple(chance.randbytes(3)))
    picture.paste(tuple(chance.randbytes(3)), (0, 0, width // 2, width // 3))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
