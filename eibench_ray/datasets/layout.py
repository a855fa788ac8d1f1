"""Layout of a dataset's folder: its files, Arrow schema and digests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import pyarrow as pa

from eibench_ray.rows.sample import Sample

# What a dataset's card says of its layout. 1 had a column each for what one benchmark's samples have.
LAYOUT = 2

PACKAGE_PREFIX = "package:"  # of the path of a dataset that the package brings
SAMPLES_FILE = "samples.parquet"
CARD_FILE = "dataset.json"
PROTOCOL_FILE = "protocol.yaml"

# A slice of a step reads only the row groups that it touches, so these are about as long as a slice. 64 pictures of
# 100 KB are 6 MB in memory; rows without one are small, and 1,024 of them are read in the time of a few groups of 64.
ROW_GROUP_PICTURES = 64
ROW_GROUP_ROWS = 1024
ROW_GROUP_BYTES = 256 << 20  # of pictures: what reads a group holds all of it

_MEDIA = pa.struct([("kind", pa.string()), ("path", pa.string()), ("digest", pa.string()), ("bytes", pa.binary())])
# As JSON: which columns a table has, and of which types, is known only when all of its rows have been read.
JSON_COLUMNS = ("inputs", "target", "metadata")
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("media", pa.list_(_MEDIA)),
        *((name, pa.string()) for name in JSON_COLUMNS),
        ("row_digest", pa.string()),
    ]
)

# What reading a damaged Parquet file raises; ValueError: texts that are no UTF-8.
PARQUET_ERRORS = (OSError, ValueError, pa.ArrowException)

# What the writer calls the rows' file, in a folder and in a bucket: a card names nothing else.
_SAMPLES_NAME = re.compile(r"samples(?:-[0-9a-f]{8})?\.parquet")

_encode_sorted = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def digest_bytes(content: bytes) -> str:
    """The digest of a picture, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_text(text: str) -> str:
    """The digest of a text, 32 hexadecimal digits; any text has one, also one that is no valid Unicode."""
    return digest_bytes(text.encode(errors="surrogatepass"))


def digest_sample(sample: Sample) -> str:
    """The digest of all that a sample says, with the digests of its pictures for them."""
    media = [(one.kind, one.path, one.digest) for one in sample.media]
    said = (sample.sample_id, dict(sample.inputs), media, sample.target, dict(sample.metadata))
    return digest_text(_encode_sorted(said))


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
