"""Pictures as engines get them: RGB, upright, on white; or an error of their row alone."""

from __future__ import annotations

import io
import random
import struct
import zlib

import pytest
from PIL import Image, ImageCms, features

from eibench_ray.engines.base import RowError
from eibench_ray.engines.pictures import decode_picture
from eibench_ray.records import RowErrorKind

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def left_red() -> Image.Image:
    """A picture, 4 wide and 2 high, red on the left and green on the right."""
    picture = Image.new("RGB", (4, 2), GREEN)
    picture.paste(RED, (0, 0, 2, 2))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_a_picture_comes_back_as_it_is(kind: str) -> None:
    decoded = decode_picture(encode(left_red(), kind))
    assert decoded.mode == "RGB"
    assert decoded.tobytes() == left_red().tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_back_nearly_as_it_is(kind: str) -> None:
    decoded = decode_picture(encode(Image.new("RGB", (16, 16), (200, 40, 40)), kind))
    assert all(abs(one - other) < 8 for one, other in zip(decoded.getpixel((8, 8)), (200, 40, 40), strict=True))


@pytest.mark.parametrize(
    ("orientation", "size", "top_left"), [(1, (4, 2), RED), (3, (4, 2), GREEN), (6, (2, 4), RED), (8, (2, 4), GREEN)]
)
def test_a_picture_is_turned_upright(orientation: int, size: tuple[int, int], top_left: tuple[int, ...]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_picture(encode(left_red(), "PNG", exif=exif))
    assert decoded.size == size
    assert decoded.getpixel((0, 0)) == top_left


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 255)), RED),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (2, 2), (0, 0)), WHITE),
        (Image.new("L", (2, 2), 100), (100, 100, 100)),
        (Image.new("1", (2, 2), 1), WHITE),
        (left_red().convert("P", palette=Image.Palette.ADAPTIVE), RED),
    ],
    ids=["transparent", "opaque", "half", "grey_transparent", "grey", "bits", "palette"],
)
def test_every_mode_becomes_rgb_on_white(picture: Image.Image, expected: tuple[int, ...]) -> None:
    decoded = decode_picture(encode(picture))
    assert decoded.mode == "RGB"
    assert decoded.getpixel((0, 0)) == expected


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    picture = left_red().convert("P", palette=Image.Palette.ADAPTIVE)
    content = encode(picture, "GIF", transparency=picture.getpixel((0, 0)))
    assert decode_picture(content).getpixel((0, 0)) == WHITE
    assert decode_picture(content).getpixel((3, 0)) == GREEN


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (Image.new("P", (2, 2), 0), {"transparency": 0}),
        (Image.new("L", (2, 2), 100), {"transparency": 100}),
        (Image.new("RGB", (2, 2), (1, 2, 3)), {"transparency": (1, 2, 3)}),
        (Image.new("1", (2, 2), 0), {"transparency": 0}),
    ],
    ids=["palette", "grey", "rgb", "bits"],
)
def test_a_colour_that_stands_for_nothing_is_white(picture: Image.Image, options: dict[str, object]) -> None:
    assert decode_picture(encode(picture, **options)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    content = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    assert (b"Adobe" in content) == (kind == "JPEG"), "Adobe's JPEG holds its four colours inverted"
    assert decode_picture(content).getpixel((4, 4)) == RED


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_spaces_become_rgb(mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 40, 40))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    decoded = decode_picture(encode(picture if mode == "LAB" else picture.convert(mode), "TIFF"))
    assert all(abs(one - other) < 4 for one, other in zip(decoded.getpixel((4, 4)), (200, 40, 40), strict=True))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_a_moving_picture_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)
    content = encode(first, kind, save_all=True, append_images=[second], duration=100)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert all(abs(one - other) < 4 for one, other in zip(decode_picture(content).getpixel((4, 4)), RED, strict=True))


def png_of_16_bits(*channels: int) -> bytes:
    """A PNG of one pixel with 16 bits per channel, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)]
    header = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    row = b"\0" + struct.pack(f">{len(channels)}H", *channels)
    end = chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((0x8000,), (128, 128, 128)),
        ((0, 0x8000), (127, 127, 127)),
        ((0x4000, 0x8000, 0xFFFF), (64, 128, 255)),
        ((0xFFFF, 0, 0, 0xFFFF), RED),
        ((0xFFFF, 0, 0, 0), WHITE),
    ],
)
def test_16_bits_per_channel_become_8(channels: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert decode_picture(png_of_16_bits(*channels)).getpixel((0, 0)) == expected


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_shades(kind: str) -> None:
    picture = Image.new("I;16", (4, 1))
    for column, grey in enumerate((0, 0x4000, 0x8000, 0xFFFF)):
        picture.putpixel((column, 0), grey)
    decoded = decode_picture(encode(picture, kind))
    assert [decoded.getpixel((column, 0))[0] for column in range(4)] == [0, 0x40, 0x80, 0xFF]


def truncated(kind: str) -> bytes:
    content = encode(Image.effect_noise((64, 64), 80).convert("RGB"), kind)
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "content",
    [b"", b"just text", b"\x00" * 64, b"<html><body>404</body></html>", truncated("PNG"), truncated("JPEG")],
    ids=["nothing", "text", "zeros", "html", "half_png", "half_jpeg"],
)
def test_what_is_no_picture_is_an_error_of_its_row(content: bytes) -> None:
    with pytest.raises(RowError, match=rf"the picture \({len(content)} bytes\) cannot be decoded: ") as caught:
        decode_picture(content)
    assert caught.value.kind is RowErrorKind.IMAGE
    assert " at 0x" not in str(caught.value), "the same picture has the same reason in every run"


def test_a_decompression_bomb_is_an_error_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(RowError, match="exceeds limit"):
        decode_picture(encode(Image.new("RGB", (64, 64))))


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then reads all the same
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_damage_never_raises_anything_else(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    content = encode(left_red().resize((32, 24)), kind, **options)
    chooser = random.Random(0)
    num_refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chooser.randint(1, 6)):
            damaged[chooser.randrange(len(damaged))] = chooser.randrange(256)
        try:
            assert decode_picture(bytes(damaged)).mode == "RGB"
        except RowError:
            num_refused += 1
    assert num_refused
