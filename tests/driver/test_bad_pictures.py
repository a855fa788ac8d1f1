"""Pictures that are none: the run says why, row by row, and goes on; the next run does not ask them again."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from eibench_ray.engines.engine import EngineFacts
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.rows.request import Reply, Request

if TYPE_CHECKING:
    from conftest import Sweeps


class Looking:
    """An engine that decodes its pictures as all do, and answers with their size."""

    async def start(self) -> EngineFacts:
        """Facts; there is nothing to load."""
        return EngineFacts("looking", 8)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """The picture's size; the verdicts' prompts have none."""
        if not images:
            return Reply(f"nothing of {request.sample_id}", "stop", 1, 1)
        picture = await asyncio.to_thread(decode_picture, images[0])
        return Reply(f"{picture.width} x {picture.height}", "stop", 1, 1)

    async def stop(self) -> None:
        """Nothing: nothing was started."""


def encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def claim(width: int, height: int) -> bytes:
    """A PNG that is small and says that it is large."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BAD = {
    1: (b"", "the picture (0 bytes) cannot be decoded: it has none of the known formats"),
    3: (b"<html>404</html>", "it has none of the known formats"),
    4: (encode(Image.effect_noise((64, 64), 80), "JPEG")[:600], "truncated"),
    6: (claim(20_000, 20_000), "exceeds limit"),
}
GOOD = {0: Image.new("CMYK", (9, 7)), 2: Image.new("RGBA", (9, 7)), 5: Image.new("I;16", (9, 7))}


def test_each_bad_picture_costs_its_row_alone(sweeps: Sweeps) -> None:
    images = {number: content for number, (content, _) in BAD.items()}
    images |= {number: encode(picture, "TIFF") for number, picture in GOOD.items()}
    sweeps.write_dataset(range(7), images=images)
    config = sweeps.config()
    sweep = sweeps.plan(config)
    sweeps.ask(sweep, Looking())
    rows = {int(sample_id[1:]): row for sample_id, row in sweeps.rows(sweep, "answer").items()}
    assert {number: row.text for number, row in rows.items() if row.text} == dict.fromkeys(GOOD, "9 x 7")
    for number, (_, reason) in BAD.items():
        assert rows[number].error_kind == "image"
        assert reason in (rows[number].error or "")
    assert not any(work.todo for work in sweeps.plan(config).work.values())
