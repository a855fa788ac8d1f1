"""Layout of a dataset's folder: its files, Arrow schema and digests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields

import pyarrow as pa

from eibench_ray.rows.sample import Sample

SAMPLES_FILE = "samples.parquet"
CARD_FILE = "dataset.json"
PROTOCOL_FILE = "protocol.yaml"

# A slice of a step reads only the row groups that it touches, so these are about as long as a slice. 64 pictures of
# 100 KB are 6 MB in memory; rows without one are small, and 1,024 of them are read in the time of a few groups of 64.
ROW_GROUP_PICTURES = 64
ROW_GROUP_ROWS = 1024
ROW_GROUP_BYTES = 256 << 20  # of pictures: what reads a group holds all of it

# `image` has the shape of Hugging Face's Image feature, so that `datasets` shows the pictures without being told.
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("image_digest", pa.string()),
        ("question", pa.string()),
        ("emotion", pa.string()),
        ("reference", pa.string()),
        ("triggers", pa.list_(pa.string())),
        ("caption", pa.string()),
        ("source", pa.string()),
        ("row_digest", pa.string()),
    ]
)

# What reading a damaged Parquet file raises; ValueError: texts that are no UTF-8.
PARQUET_ERRORS = (OSError, ValueError, pa.ArrowException)

# What the writer calls the rows' file, in a folder and in a bucket: a card names nothing else.
_SAMPLES_NAME = re.compile(r"samples(?:-[0-9a-f]{8})?\.parquet")

_SAMPLE_FIELDS = tuple(field.name for field in fields(Sample))
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def digest_bytes(content: bytes) -> str:
    """The digest of a picture, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_text(text: str) -> str:
    """The digest of a text, 32 hexadecimal digits; any text has one, also one that is no valid Unicode."""
    return digest_bytes(text.encode(errors="surrogatepass"))


def digest_sample(sample: Sample) -> str:
    """The digest of all that a sample says, with its picture's digest for the picture."""
    return digest_text(_encode({name: getattr(sample, name) for name in _SAMPLE_FIELDS}))


def is_samples_name(name: str) -> bool:
    """Whether the writer calls the rows' file so."""
    return _SAMPLES_NAME.fullmatch(name) is not None


def name_of_samples(card: Mapping[str, object]) -> str:
    """The name of the rows' file that lies beside a card.

    Raises:
        ValueError: the card names something else, such as a file elsewhere, which must neither be read nor deleted.
    """
    name = card.get("samples", SAMPLES_FILE)
    if not (isinstance(name, str) and is_samples_name(name)):
        raise ValueError(f"{CARD_FILE} names the rows' file {str(name)[:80]!r}, and it is always {SAMPLES_FILE!r}")
    return name
