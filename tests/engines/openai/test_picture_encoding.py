"""Pictures within an endpoint's limits: as they are where they may be, else re-encoded alike for every engine."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from asking import encode
from PIL import Image

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.openai.openai_section import PictureLimits
from eibench_ray.engines.openai.picture_encoding import to_data_uri
from eibench_ray.engines.picture_decoding import decode_picture
from eibench_ray.rows.completion import RowErrorKind

RED, BLUE = (250, 10, 10), (10, 10, 250)


def halves(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, BLUE)
    picture.paste(RED, (0, 0, size[0] // 2, size[1]))
    return picture


def noise(side: int) -> Image.Image:
    return Image.effect_noise((side, side), 80).convert("RGB")


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def deep_png() -> bytes:
    """Red with 16 bits per channel, which Pillow reads as 8 and cannot write."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress((b"\0" + struct.pack(">HHH", 0xFA00, 0x0A00, 0x0A00) * 4) * 4)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def sent(content: bytes, **limits: Any) -> tuple[str, bytes]:
    uri = to_data_uri(content, PictureLimits.model_validate(limits))
    head, _, data = uri.partition(";base64,")
    return head.removeprefix("data:image/"), base64.b64decode(data)


@pytest.mark.parametrize(
    ("content", "kind", "limits"),
    [
        (encode(halves()), "png", {}),
        (encode(halves(), "JPEG"), "jpeg", {}),
        (encode(halves().convert("L")), "png", {}),
        (encode(halves(), "WEBP"), "webp", {"formats": ["jpeg", "webp"]}),
        (encode(halves()), "png", {"max_side_px": 64}),
        (encode(halves()), "png", {"max_bytes": len(encode(halves()))}),
    ],
    ids=["png", "jpeg", "grey", "webp", "just_wide_enough", "just_small_enough"],
)
def test_what_an_endpoint_takes_goes_as_it_is(content: bytes, kind: str, limits: dict[str, Any]) -> None:
    assert sent(content, **limits) == (kind, content)


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        (encode(halves(), "BMP"), {}),
        (encode(halves(), "WEBP"), {}),
        (encode(halves()), {"formats": ["jpeg"]}),
        (encode(halves(), "JPEG", exif=turned()), {}),
        (encode(halves().convert("RGBA")), {}),
        (encode(halves().convert("P", palette=Image.Palette.ADAPTIVE)), {}),
        (encode(halves().convert("CMYK"), "JPEG"), {}),
        (encode(halves(), "PNG", save_all=True, append_images=[Image.new("RGB", (64, 48))]), {}),
        (encode(Image.new("I;16", (8, 8), 0x8000)), {}),
        (deep_png(), {}),
        (encode(halves(), transparency=RED), {}),
    ],
    ids=["bmp", "webp", "png", "turned", "rgba", "palette", "cmyk", "moving", "deep_grey", "deep", "see_through"],
)
def test_what_it_does_not_take_is_encoded_as_every_engine_sees_it(content: bytes, limits: dict[str, Any]) -> None:
    kind, made = sent(content, **limits)
    assert kind == "jpeg"
    with Image.open(io.BytesIO(made)) as opened:
        assert (opened.format, opened.mode) == ("JPEG", "RGB")
        expected = decode_picture(content)
        assert opened.size == expected.size
        for at in ((1, 1), (expected.width - 2, expected.height - 2)):
            assert all(
                abs(one - other) < 24 for one, other in zip(opened.getpixel(at), expected.getpixel(at), strict=True)
            )


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png", "gif"])
@pytest.mark.parametrize("max_bytes", [60_000, 5_000])
def test_a_picture_is_made_small_enough(kind: str, max_bytes: int) -> None:
    got, made = sent(encode(noise(400)), formats=[kind], max_bytes=max_bytes)
    assert got == kind
    assert 0 < len(made) <= max_bytes
    assert decode_picture(made).width >= 16


def test_sides_are_kept_in_proportion() -> None:
    _, made = sent(encode(halves((400, 100))), max_side_px=80)
    assert decode_picture(made).size == (80, 20)
    _, made = sent(encode(halves((400, 2))), max_side_px=80)
    assert decode_picture(made).size == (80, 1)


def test_the_same_picture_is_sent_in_the_same_bytes() -> None:
    content = encode(noise(200))
    assert sent(content, max_bytes=9_000) == sent(content, max_bytes=9_000)


@pytest.mark.parametrize("content", [b"", b"text", encode(noise(64), "JPEG")[:900], encode(noise(64))[:900]])
def test_what_is_no_picture_is_an_error_of_its_row(content: bytes) -> None:
    with pytest.raises(RowError, match="cannot be decoded") as caught:
        sent(content)
    assert caught.value.kind is RowErrorKind.IMAGE


def test_a_limit_that_nothing_meets_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="cannot be made small enough for max_bytes=40 as jpeg") as caught:
        sent(encode(noise(64)), max_bytes=40)
    assert caught.value.kind is RowErrorKind.IMAGE


def test_a_picture_with_broken_metadata_is_sent_as_every_engine_sees_it() -> None:
    cases = Path(__file__).parents[4] / "shared" / "cases" / "pictures"
    if not cases.is_dir():
        pytest.skip("the cases are not beside the checkout, in ../shared/cases")
    for name in ("neg_rational_o6.jpg", "png_raw_exif.png"):
        content = (cases / name).read_bytes()
        kind, data = sent(content, formats=["png"])
        decoded = decode_picture(content)
        assert (kind, decode_picture(data).tobytes()) == ("png", decoded.tobytes())
        assert data != content, "others may not read its metadata"
