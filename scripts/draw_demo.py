"""Draws the demo dataset: 24 small pictures of people who feel something for a reason that can be seen.

Run it as `python scripts/draw_demo.py [--out DIR] [--sheet FILE]`; the same libraries draw the same bytes every time.
Longer than other scripts because it is 24 drawings of a few lines each.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

import eibench_ray.data
from eibench_ray.data.triggers import number_triggers
from eibench_ray.data.writer import DatasetWriter
from eibench_ray.records import Sample

Emotion = Literal["angry", "happy", "sadness", "excitement"]
Point = tuple[float, float]

SIZE = 256
OVERSAMPLING = 4  # drawn four times as large and scaled down, which smooths every edge
COLOURS = 96  # of each PNG's palette: flat drawings lose nothing, and files stay at a few KB

INK = "#2b2b33"
WHITE = "#ffffff"
GRASS, EARTH, FLOOR = "#8cc26d", "#a9825a", "#c9a77c"
SKY, GREY_SKY, NIGHT, WALL = "#bfe3f7", "#a9b4c2", "#1e2350", "#f3e6d0"
RED, ORANGE, YELLOW, GREEN, BLUE, PURPLE, PINK = (
    "#d9413f",
    "#f08a3c",
    "#f6cf4a",
    "#4f9d5d",
    "#3f7fc4",
    "#8a5bb5",
    "#f2a0b5",
)
PALE, TAN, BROWN, DARK = "#f6d3b3", "#e0ac7e", "#b57a4f", "#7d4f33"  # skin
WATER, STEEL, WOOD = "#5aa9e6", "#9aa3ad", "#9b6a3f"
CONFETTI = (RED, YELLOW, BLUE, GREEN, PINK, PURPLE)


class Canvas:
    """A picture of 256 x 256 units, drawn larger."""

    def __init__(self, background: str) -> None:
        self._image = Image.new("RGB", (SIZE * OVERSAMPLING,) * 2, background)
        self._draw = ImageDraw.Draw(self._image)

    def rect(self, x: float, y: float, w: float, h: float, fill: str, line: float = 0, radius: float = 0) -> None:
        """Draws a box with its top left corner at (x, y)."""
        box = _scale([(x, y), (x + w, y + h)])
        outline = INK if line else None
        self._draw.rounded_rectangle(box, radius * OVERSAMPLING, fill, outline, round(line * OVERSAMPLING))

    def oval(self, x: float, y: float, rx: float, ry: float, fill: str | None, line: float = 0) -> None:
        """Draws an ellipse around (x, y)."""
        box = _scale([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(box, fill, INK if line else None, round(line * OVERSAMPLING))

    def shape(self, points: Iterable[Point], fill: str, line: float = 0) -> None:
        """Draws a polygon."""
        corners = list(points)
        self._draw.polygon(_scale(corners), fill)
        if line:
            self.stroke([*corners, corners[0]], line)

    def stroke(self, points: Iterable[Point], width: float, colour: str = INK) -> None:
        """Draws a line with round ends and joints."""
        corners = list(points)
        self._draw.line(_scale(corners), colour, round(width * OVERSAMPLING))
        for x, y in corners:
            self.oval(x, y, width / 2, width / 2, colour)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, width: float, colour: str = INK
    ) -> None:
        """Draws a part of an ellipse's edge; degrees clockwise from three o'clock."""
        steps = [math.radians(start + (end - start) * step / 24) for step in range(25)]
        self.stroke([(x + rx * math.cos(step), y + ry * math.sin(step)) for step in steps], width, colour)

    def slice(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: str) -> None:
        """Draws an ellipse's part between two angles, closed by a straight line."""
        self._draw.chord(_scale([(x - rx, y - ry), (x + rx, y + ry)]), start, end, fill)

    def star(self, x: float, y: float, radius: float, fill: str, corners: int = 5) -> None:
        """Draws a star."""
        turns = [math.pi * step / corners - math.pi / 2 for step in range(2 * corners)]
        radii = [radius if step % 2 == 0 else radius * 0.45 for step in range(2 * corners)]
        self.shape([(x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(radii, turns, strict=True)], fill)

    def text(self, x: float, y: float, text: str, size: float, colour: str) -> None:
        """Draws a text centred at (x, y)."""
        font = ImageFont.load_default(size * OVERSAMPLING)
        self._draw.text(_scale([(x, y)])[0], text, colour, font, anchor="mm")

    def to_png(self) -> bytes:
        """The picture as PNG."""
        small = self._image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def _scale(points: Iterable[Point]) -> list[Point]:
    return [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points]


@dataclass(frozen=True, slots=True)
class Look:
    """What a person looks like; `hair` None is bald."""

    skin: str
    hair: str | None
    shirt: str
    is_long_haired: bool = False


def draw_person(
    c: Canvas,
    x: float,
    y: float,
    r: float,
    look: Look,
    mood: Emotion,
    hands: tuple[Point, Point],
    waist: float = SIZE + 10,
    is_standing: bool = False,
) -> None:
    """Draws a person: head of radius r at (x, y), hands where they are said to be, torso down to the waist's y."""
    if look.is_long_haired and look.hair:
        c.rect(x - r * 1.12, y - r * 0.5, r * 2.24, r * 2.1, look.hair, radius=r * 0.5)
    c.rect(x - r * 0.25, y + r * 0.7, r * 0.5, r * 0.6, look.skin)
    if is_standing:
        for side in (-1, 1):
            c.rect(x + side * r * 0.46 - r * 0.36, waist - r * 0.5, r * 0.72, r * 2, "#33415c", 1, r * 0.12)
            c.rect(x + side * r * 0.5 - r * 0.44, waist + r * 1.3, r * 0.88, r * 0.32, INK, radius=r * 0.15)
    c.rect(x - r * 0.95, y + r * 1.15, r * 1.9, waist - y - r * 1.15, look.shirt, radius=r * 0.45)
    for side, (hand_x, hand_y) in zip((-1, 1), hands, strict=True):
        shoulder = (x + side * r * 0.72, y + r * 1.45)
        c.stroke([shoulder, (hand_x, hand_y)], r * 0.5 + 2.5, INK)
    for side, (hand_x, hand_y) in zip((-1, 1), hands, strict=True):
        shoulder = (x + side * r * 0.72, y + r * 1.45)
        c.stroke([shoulder, (hand_x, hand_y)], r * 0.5, look.shirt)
        c.oval(hand_x, hand_y, r * 0.27, r * 0.27, look.skin, 1)
    for side in (-1, 1):
        c.oval(x + side * r, y + r * 0.1, r * 0.17, r * 0.24, look.skin, 1)
    c.oval(x, y, r, r * 1.08, look.skin, 1.4)
    if look.hair:
        c.slice(x, y - r * 0.05, r * 1.06, r * 1.12, 195, 345, look.hair)
        if look.is_long_haired:
            c.shape([(x - r, y - r * 0.3), (x - r * 0.62, y - r * 0.4), (x - r * 0.95, y + r * 0.5)], look.hair)
            c.shape([(x + r, y - r * 0.3), (x + r * 0.62, y - r * 0.4), (x + r * 0.95, y + r * 0.5)], look.hair)
    _FACES[mood](c, x, y, r)


def _draw_angry(c: Canvas, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        c.oval(x + side * r * 0.58, y + r * 0.3, r * 0.2, r * 0.13, "#e8664f")
        c.oval(x + side * r * 0.37, y + r * 0.02, r * 0.17, r * 0.14, WHITE, 1)
        c.oval(x + side * r * 0.34, y + r * 0.04, r * 0.08, r * 0.09, INK)
        c.stroke([(x + side * r * 0.68, y - r * 0.38), (x + side * r * 0.16, y - r * 0.1)], r * 0.13)
    c.rect(x - r * 0.4, y + r * 0.42, r * 0.8, r * 0.3, WHITE, 1.4, r * 0.1)
    c.stroke([(x - r * 0.38, y + r * 0.57), (x + r * 0.38, y + r * 0.57)], 1.2)
    for step in (-0.2, 0, 0.2):
        c.stroke([(x + r * step, y + r * 0.44), (x + r * step, y + r * 0.7)], 1)
    for side in (-1, 1):  # steam
        for distance, size in ((1.42, 0.2), (1.72, 0.15), (1.94, 0.1)):
            c.oval(x + side * r * distance, y - r * (0.1 + 0.35 * (distance - 1.2)), r * size, r * size * 0.8, WHITE, 1)


def _draw_happy(c: Canvas, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        c.oval(x + side * r * 0.6, y + r * 0.3, r * 0.19, r * 0.13, PINK)
        c.arc(x + side * r * 0.37, y + r * 0.08, r * 0.18, r * 0.2, 195, 345, r * 0.09)
        c.arc(x + side * r * 0.38, y - r * 0.18, r * 0.24, r * 0.18, 215, 325, r * 0.07)
    c.slice(x, y + r * 0.3, r * 0.5, r * 0.46, 0, 180, "#8c2f39")
    c.rect(x - r * 0.42, y + r * 0.3, r * 0.84, r * 0.12, WHITE)
    c.arc(x, y + r * 0.3, r * 0.5, r * 0.46, 0, 180, r * 0.06)


def _draw_sadness(c: Canvas, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        c.oval(x + side * r * 0.37, y + r * 0.06, r * 0.15, r * 0.17, WHITE, 1)
        c.oval(x + side * r * 0.37, y + r * 0.13, r * 0.09, r * 0.09, INK)
        c.stroke([(x + side * r * 0.62, y - r * 0.14), (x + side * r * 0.2, y - r * 0.4)], r * 0.1)
        tear_x, tear_y = x + side * r * 0.48, y + r * 0.48
        c.shape([(tear_x - r * 0.1, tear_y), (tear_x + r * 0.1, tear_y), (tear_x, tear_y - r * 0.26)], WATER)
        c.oval(tear_x, tear_y + r * 0.02, r * 0.115, r * 0.12, WATER)
    c.arc(x, y + r * 0.88, r * 0.32, r * 0.28, 205, 335, r * 0.09)


def _draw_excitement(c: Canvas, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        c.oval(x + side * r * 0.64, y + r * 0.28, r * 0.18, r * 0.12, PINK)
        c.oval(x + side * r * 0.36, y - r * 0.06, r * 0.22, r * 0.25, WHITE, 1.2)
        c.oval(x + side * r * 0.36, y - r * 0.06, r * 0.12, r * 0.14, INK)
        c.oval(x + side * r * 0.36 + r * 0.05, y - r * 0.12, r * 0.05, r * 0.05, WHITE)
        c.arc(x + side * r * 0.38, y - r * 0.36, r * 0.25, r * 0.2, 205, 335, r * 0.08)
    c.oval(x, y + r * 0.58, r * 0.33, r * 0.36, "#8c2f39", 1.4)
    c.rect(x - r * 0.2, y + r * 0.25, r * 0.4, r * 0.1, WHITE, radius=1)
    c.slice(x, y + r * 0.72, r * 0.24, r * 0.2, 0, 360, "#e2707c")


_FACES: dict[Emotion, Callable[[Canvas, float, float, float], None]] = {
    "angry": _draw_angry,
    "happy": _draw_happy,
    "sadness": _draw_sadness,
    "excitement": _draw_excitement,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the demo, with all that its sample says."""

    name: str
    emotion: Emotion
    question: str
    caption: str
    triggers: tuple[str, ...]
    draw: Callable[[], Canvas]


PICTURES: list[Picture] = []


def picture(
    emotion: Emotion, question: str, caption: str, *triggers: str
) -> Callable[[Callable[[], Canvas]], Callable[[], Canvas]]:
    """A decorator that makes a drawing function one of the demo's pictures, named as the function is."""

    def register(draw: Callable[[], Canvas]) -> Callable[[], Canvas]:
        PICTURES.append(Picture(draw.__name__, emotion, question, caption, triggers, draw))
        return draw

    return register


def outdoors(sky: str = SKY, ground: str = GRASS, horizon: float = 190) -> Canvas:
    """A canvas with sky and ground."""
    c = Canvas(sky)
    c.rect(0, horizon, SIZE, SIZE - horizon, ground)
    return c


def indoors(wall: str = WALL, floor: str = FLOOR) -> Canvas:
    """A canvas with wall, skirting and floor."""
    c = Canvas(wall)
    c.rect(0, 196, SIZE, 60, floor)
    c.rect(0, 192, SIZE, 5, WHITE)
    return c


def draw_table(c: Canvas, top: float) -> None:
    """Draws a table across the picture's whole width."""
    c.rect(0, top, SIZE, 14, WOOD, 1.5)
    c.rect(0, top + 13, SIZE, SIZE - top, "#7f5531")


def scatter(count: int, bottom: float) -> list[Point]:
    """Points spread evenly and without a pattern over the picture down to `bottom` (the R2 sequence)."""
    return [(step * 0.7548776662 % 1 * SIZE, step * 0.5698402910 % 1 * bottom) for step in range(1, count + 1)]


def draw_confetti(c: Canvas, count: int, bottom: float) -> None:
    """Scatters paper over the picture, the same way every time."""
    for step, (x, y) in enumerate(scatter(count, bottom)):
        colour = CONFETTI[step % len(CONFETTI)]
        c.shape([(x, y), (x + 6, y + 2), (x + 5, y + 7), (x - 1, y + 5)], colour)


def draw_wheel(c: Canvas, x: float, y: float, radius: float) -> None:
    """Draws a wheel with a hub."""
    c.oval(x, y, radius, radius, INK)
    c.oval(x, y, radius * 0.55, radius * 0.55, STEEL)
    c.oval(x, y, radius * 0.15, radius * 0.15, INK)


@picture(
    "angry",
    "What could have made the man at the desk so furious?",
    "A man at a desk clenches his teeth; a tipped cup has spilled coffee over his papers and keyboard.",
    "The cup has tipped over.",
    "Coffee is running over his papers.",
    "His work is ruined.",
)
def spilled_coffee() -> Canvas:
    c = indoors("#dfe8ee")
    c.rect(176, 22, 58, 62, WHITE, 1.5)
    c.rect(182, 28, 46, 50, SKY)
    draw_person(c, 100, 84, 40, Look(PALE, "#5a3a22", BLUE), "angry", ((40, 168), (150, 158)))
    draw_table(c, 178)
    c.rect(22, 186, 78, 22, STEEL, 1.5, 4)
    for row in range(2):
        for key in range(8):
            c.rect(27 + key * 9, 190 + row * 8, 6, 5, WHITE)
    c.shape([(108, 196), (170, 190), (182, 232), (114, 240)], WHITE, 1.2)
    for row in range(4):
        c.stroke([(120, 204 + row * 8), (168, 200 + row * 8)], 1.2, STEEL)
    c.oval(168, 208, 42, 14, "#6b3f1f")
    c.oval(132, 218, 22, 8, "#6b3f1f")
    c.oval(120, 234, 8, 4, "#6b3f1f")
    c.shape([(196, 178), (232, 170), (238, 204), (204, 212)], RED, 1.5)
    c.oval(200, 195, 7, 17, "#6b3f1f", 1.5)
    c.arc(238, 186, 9, 10, -80, 100, 4, RED)
    return c


@picture(
    "angry",
    "Why might the woman be showing such irritation?",
    "A woman with red cheeks holds up a phone whose screen is full of cracks.",
    "The phone's screen is shattered.",
    "Something she needs is broken.",
    "A repair will be expensive.",
)
def broken_phone() -> Canvas:
    c = indoors("#f1dfe4")
    draw_person(c, 84, 92, 42, Look(TAN, "#3b2418", PURPLE, True), "angry", ((36, 216), (170, 196)))
    c.rect(156, 70, 72, 128, INK, radius=10)
    c.rect(162, 82, 60, 100, "#7fb6e6", radius=2)
    hub = (186, 122)
    for end in ((162, 92), (186, 82), (222, 88), (222, 128), (216, 182), (186, 182), (162, 160), (162, 124)):
        middle = ((hub[0] + end[0]) / 2 + 4, (hub[1] + end[1]) / 2 - 4)
        c.stroke([hub, middle, end], 1.8, WHITE)
    c.stroke([(174, 108), (194, 104), (206, 122), (198, 142), (176, 140), (170, 122), (174, 108)], 1.5, WHITE)
    c.shape([(186, 116), (194, 122), (186, 130), (180, 122)], INK)
    c.oval(192, 190, 4, 4, STEEL)
    c.oval(158, 178, 10, 8, TAN, 1)
    return c


@picture(
    "angry",
    "What seems to be the reason for the driver's bad temper?",
    "A man stands beside a red car at the roadside with clenched fists; its front tyre is completely flat.",
    "A tyre of the car is flat.",
    "He is stuck at the roadside.",
    "He will be late.",
    "The wheel has to be changed.",
)
def flat_tyre() -> Canvas:
    c = outdoors(ground="#7b7f86", horizon=176)
    c.rect(0, 168, SIZE, 10, GRASS)
    for x in (10, 80, 150, 220):
        c.rect(x, 240, 36, 5, WHITE)
    draw_person(
        c, 58, 82, 32, Look(BROWN, "#20140e", ORANGE), "angry", ((22, 150), (104, 144)), waist=184, is_standing=True
    )
    c.shape([(132, 148), (152, 112), (214, 112), (236, 148)], RED, 1.8)
    c.shape([(142, 146), (156, 118), (180, 118), (180, 146)], SKY, 1.2)
    c.shape([(186, 146), (186, 118), (210, 118), (226, 146)], SKY, 1.2)
    c.rect(106, 146, 150, 50, RED, 1.8, 10)
    c.oval(114, 162, 7, 8, YELLOW, 1)
    draw_wheel(c, 226, 198, 22)
    c.oval(144, 214, 34, 11, INK)
    c.oval(144, 200, 14, 13, STEEL)
    c.oval(144, 200, 4, 4, INK)
    for x in (98, 108, 182):
        c.arc(x, 216, 6, 4, 180, 360, 1.6, WHITE)
    return c


@picture(
    "angry",
    "What may have provoked the woman's anger?",
    "A woman glares at a dog that holds a chewed shoe; torn pieces of it lie on the carpet.",
    "The dog has chewed a shoe.",
    "Torn pieces lie on the carpet.",
    "The dog looks pleased with itself.",
)
def chewed_shoe() -> Canvas:
    c = indoors("#e7ead8")
    c.oval(150, 226, 100, 24, "#b8556b")
    draw_person(c, 70, 82, 38, Look(PALE, "#b5522b", GREEN, True), "angry", ((26, 176), (126, 132)))
    draw_dog(c, 178, 150, 1.0, "#c98f4e")
    c.shape([(146, 172), (176, 172), (186, 184), (206, 190), (206, 198), (146, 198)], BLUE, 1.5)
    c.shape([(146, 172), (152, 178), (158, 172), (164, 179), (170, 172), (176, 172), (176, 166), (146, 166)], "#c98f4e")
    c.rect(144, 196, 64, 6, WHITE, 1.2)
    for x, y in ((110, 226), (128, 238), (214, 232), (236, 222), (166, 244)):
        c.shape([(x, y), (x + 11, y - 4), (x + 9, y + 5)], BLUE, 1)
    return c


def draw_dog(c: Canvas, x: float, y: float, size: float, fur: str) -> None:
    """Draws a sitting dog with its head at (x, y)."""
    s = size
    c.arc(x + 44 * s, y + 56 * s, 18 * s, 22 * s, -60, 70, 8 * s, fur)
    c.oval(x + 8 * s, y + 56 * s, 34 * s, 36 * s, fur, 1.4)
    c.oval(x - 12 * s, y + 88 * s, 12 * s, 7 * s, fur, 1.2)
    c.oval(x + 26 * s, y + 88 * s, 12 * s, 7 * s, fur, 1.2)
    c.oval(x, y, 30 * s, 27 * s, fur, 1.4)
    for side in (-1, 1):
        c.oval(x + side * 28 * s, y - 2 * s, 9 * s, 20 * s, "#7a4f26", 1.2)
        c.oval(x + side * 11 * s, y - 6 * s, 4.5 * s, 5 * s, INK)
        c.oval(x + side * 11 * s + 1.4 * s, y - 8 * s, 1.6 * s, 1.6 * s, WHITE)
    c.oval(x, y + 11 * s, 14 * s, 11 * s, "#f3dfc0")
    c.oval(x, y + 6 * s, 5.5 * s, 4 * s, INK)
    c.arc(x - 5 * s, y + 11 * s, 5 * s, 5 * s, 10, 150, 1.6 * s)
    c.arc(x + 5 * s, y + 11 * s, 5 * s, 5 * s, 30, 170, 1.6 * s)


@picture(
    "angry",
    "What could explain why the old man looks so cross?",
    "A bald man in front of his house shakes a fist; a football has smashed his window.",
    "His window is smashed.",
    "A football flew into it.",
    "Glass lies on the ground.",
    "Children were careless.",
)
def smashed_window() -> Canvas:
    c = outdoors("#d98e6a", GRASS, 212)
    for row in range(11):
        for brick in range(-1, 7):
            c.rect(brick * 44 + (row % 2) * 22, row * 20, 42, 18, "#c97a58")
    c.rect(128, 40, 112, 108, WHITE, 2)
    c.rect(136, 48, 96, 92, "#cfeaf8")
    jagged = [(14, 0.9), (38, 0.5), (30, 0.1), (44, -0.3), (26, -0.7), (42, -1.1), (28, -1.6), (44, -2.0), (26, -2.5)]
    jagged += [(42, -2.9), (28, -3.4), (40, -3.8), (24, -4.3), (40, -4.8), (26, -5.1)]
    c.shape([(184 + r * math.cos(t), 94 + r * math.sin(t)) for r, t in jagged[1:]], "#2f3a4a", 1.4)
    c.rect(181, 48, 5, 92, WHITE)
    c.oval(186, 100, 20, 20, WHITE, 1.8)
    c.shape([(186 + 8 * math.cos(t), 100 + 8 * math.sin(t)) for t in (0.3, 1.56, 2.8, 4.1, 5.3)], INK)
    for turn in (0.3, 1.56, 2.8, 4.1, 5.3):
        c.stroke(
            [
                (186 + 8 * math.cos(turn), 100 + 8 * math.sin(turn)),
                (186 + 19 * math.cos(turn), 100 + 19 * math.sin(turn)),
            ],
            1.4,
        )
    draw_person(c, 68, 108, 36, Look(PALE, None, "#6d7a52"), "angry", ((30, 210), (118, 84)))
    for side in (-1, 1):
        c.oval(68 + side * 34, 104, 6, 12, "#dcdcdc")
    for x, y in ((140, 232), (166, 222), (192, 236), (214, 224), (236, 238)):
        c.shape([(x, y), (x + 12, y - 8), (x + 14, y + 3)], "#cfeaf8", 1)
    return c


@picture(
    "angry",
    "What is likely to have upset the shopkeeper?",
    "A shopkeeper in an apron stands before her wall, which someone has covered with spray paint.",
    "Her wall is covered with graffiti.",
    "A spray can was left behind.",
    "She will have to clean it.",
)
def graffiti() -> Canvas:
    c = outdoors("#efe7da", "#b9b4aa", 206)
    for row in range(5):
        c.stroke([(0, row * 42 + 20), (SIZE, row * 42 + 20)], 1, "#dacfbd")
    c.stroke([(128, 40), (146, 20), (160, 58), (176, 22), (190, 56), (206, 26), (226, 54), (240, 30)], 7, RED)
    c.stroke([(136, 84), (160, 108), (136, 130)], 7, PURPLE)
    c.stroke([(160, 84), (136, 108), (162, 132)], 7, PURPLE)
    c.star(202, 104, 30, YELLOW)
    c.arc(150, 172, 26, 20, 0, 360, 6, GREEN)
    c.stroke([(190, 158), (204, 184), (218, 158), (232, 186)], 6, BLUE)
    for x, y, colour in ((146, 20, RED), (190, 56, RED), (226, 54, RED), (162, 132, PURPLE), (204, 184, BLUE)):
        c.stroke([(x, y), (x, y + 16)], 3, colour)
    draw_person(c, 66, 88, 38, Look(DARK, "#1b1210", "#c9739a", True), "angry", ((24, 190), (110, 186)))
    c.rect(44, 140, 44, 90, "#3f6f5b", 1.2, 6)
    c.rect(148, 214, 20, 32, BLUE, 1.5, 3)
    c.rect(153, 206, 10, 8, WHITE, 1.2)
    c.rect(150, 224, 16, 10, YELLOW)
    c.oval(186, 240, 16, 4, BLUE)
    return c


@picture(
    "sadness",
    "Why does the child seem close to despair?",
    "A crying child stretches an arm after a red balloon that is floating away into the sky.",
    "The balloon is floating away.",
    "The string slipped out of the child's hand.",
    "It cannot be reached any more.",
)
def lost_balloon() -> Canvas:
    c = outdoors()
    for x, y in ((40, 46), (118, 30)):
        for step, size in ((-18, 12), (0, 17), (18, 12)):
            c.oval(x + step, y, size, size * 0.75, WHITE)
    draw_person(c, 84, 132, 38, Look(TAN, "#2f1d12", YELLOW), "sadness", ((44, 220), (150, 120)))
    c.oval(202, 54, 29, 34, RED, 1.6)
    c.oval(191, 42, 6, 9, "#f08f8a")
    c.shape([(202, 87), (195, 97), (209, 97)], RED, 1.2)
    c.stroke([(202, 97), (196, 112), (206, 126), (197, 142), (204, 156)], 1.6)
    for x in (178, 226):
        c.stroke([(x, 118), (x, 134)], 2, WHITE)
        c.stroke([(x, 142), (x, 150)], 2, WHITE)
    return c


@picture(
    "sadness",
    "What has probably made the woman so downcast?",
    "A woman sits on a picnic blanket in heavy rain, her food getting wet beside her.",
    "It is raining heavily.",
    "The picnic is spoiled.",
    "Her food is getting wet.",
    "She is alone.",
)
def rainy_picnic() -> Canvas:
    c = outdoors(GREY_SKY, "#6f9a5c", 168)
    for x, y, size in ((36, 20, 30), (82, 14, 36), (136, 20, 34), (188, 14, 38), (232, 22, 30)):
        c.oval(x, y, size, size * 0.6, "#6b7686")
    c.shape([(20, 212), (70, 184), (250, 184), (238, 246), (8, 250)], WHITE)
    for step in range(5):
        c.shape([(16 + step * 48, 250), (38 + step * 48, 250), (82 + step * 38, 184), (64 + step * 38, 184)], "#dd6a67")
    draw_person(c, 88, 102, 36, Look(PALE, "#7b4a21", "#4f8fb0", True), "sadness", ((56, 204), (122, 204)))
    c.oval(88, 228, 56, 20, "#4f8fb0", 1.4)
    c.rect(156, 186, 70, 42, "#c08a4b", 1.6, 6)
    for step in range(5):
        c.stroke([(158, 194 + step * 8), (224, 194 + step * 8)], 1, "#8a5d2a")
    c.arc(191, 188, 26, 34, 180, 360, 4, "#8a5d2a")
    c.oval(150, 236, 20, 7, WHITE, 1.2)
    c.shape([(138, 234), (150, 222), (162, 234)], "#f0c987", 1.2)
    for drop_x, drop_y in scatter(60, 246):
        c.stroke([(drop_x, drop_y), (drop_x - 4, drop_y + 13)], 1.8, "#4f7fae")
    return c


@picture(
    "sadness",
    "What could the girl be grieving about?",
    "A girl looks down in tears at a flower vase that lies in pieces on the floor.",
    "The vase is broken.",
    "The flowers lie on the floor.",
    "She may have dropped it.",
    "She fears a scolding.",
)
def broken_vase() -> Canvas:
    c = indoors("#e3e1f0")
    c.rect(184, 118, 64, 8, WOOD, 1.4)
    c.rect(192, 126, 8, 76, WOOD, 1.2)
    c.rect(232, 126, 8, 76, WOOD, 1.2)
    draw_person(c, 78, 88, 40, Look(BROWN, "#1d120c", PINK, True), "sadness", ((46, 190), (110, 190)))
    c.oval(176, 234, 66, 12, WATER)
    c.shape([(120, 236), (126, 206), (146, 202), (154, 214), (148, 240)], BLUE, 1.6)
    c.shape([(160, 240), (168, 218), (186, 226), (182, 243)], BLUE, 1.6)
    c.shape([(196, 238), (198, 212), (212, 206), (226, 216), (222, 240)], BLUE, 1.6)
    c.shape([(232, 244), (240, 228), (250, 242)], BLUE, 1.4)
    c.stroke([(130, 218), (146, 214)], 3, WHITE)
    c.stroke([(202, 222), (220, 222)], 3, WHITE)
    for x, y, colour in ((150, 194, RED), (182, 204, YELLOW), (212, 192, RED)):
        c.stroke([(x, y), (x + 20, y + 26)], 3, GREEN)
        for turn in range(5):
            c.oval(x + 8 * math.cos(turn * 1.257), y + 8 * math.sin(turn * 1.257), 6, 6, colour, 0.8)
        c.oval(x, y, 5, 5, ORANGE)
    return c


@picture(
    "sadness",
    "What might be behind the traveller's gloomy mood?",
    "A man with a suitcase stands alone at a bus stop while the bus drives away.",
    "The bus is leaving without him.",
    "He came too late.",
    "He is left alone with his suitcase.",
)
def missed_bus() -> Canvas:
    c = outdoors("#d7dde8", "#7b7f86", 196)
    c.rect(0, 188, SIZE, 12, "#b9b4aa")
    c.rect(150, 84, 104, 96, YELLOW, 2, 8)
    c.rect(160, 96, 84, 38, SKY, 1.5, 4)
    c.rect(182, 88, 40, 7, INK)
    c.text(202, 91.5, "CITY", 7, YELLOW)
    c.rect(158, 146, 14, 12, RED, 1)
    c.rect(232, 146, 14, 12, RED, 1)
    c.rect(184, 160, 36, 10, WHITE, 1)
    draw_wheel(c, 172, 186, 14)
    draw_wheel(c, 234, 186, 14)
    for x, y, size in ((140, 190, 10), (124, 182, 8), (112, 176, 5)):
        c.oval(x, y, size, size * 0.8, "#c3c7cd", 1)
    c.rect(18, 34, 5, 190, STEEL, 1)
    c.rect(4, 22, 34, 34, BLUE, 1.5, 4)
    c.text(21, 39, "BUS", 12, WHITE)
    draw_person(
        c, 80, 86, 34, Look(PALE, "#8a8a8a", "#55697d"), "sadness", ((50, 176), (112, 182)), waist=188, is_standing=True
    )
    c.arc(116, 190, 9, 9, 180, 360, 3)
    c.rect(98, 192, 40, 50, "#8c5a3c", 1.6, 5)
    c.stroke([(98, 206), (138, 206)], 2, "#5e3a25")
    return c


@picture(
    "sadness",
    "What may have caused the pupil's unhappiness?",
    "A pupil at a school desk cries over an exam that is marked with a large red F.",
    "The exam has a very bad mark.",
    "Many answers are crossed out in red.",
    "The pupil has failed.",
)
def failed_exam() -> Canvas:
    c = Canvas("#dfe9df")
    c.rect(112, 10, 134, 70, "#3d6b56", 3)
    c.text(178, 34, "7 x 8 = 56", 18, WHITE)
    c.stroke([(130, 58), (222, 58)], 2, WHITE)
    draw_person(c, 84, 102, 40, Look(TAN, "#241610", RED), "sadness", ((44, 186), (138, 192)))
    draw_table(c, 190)
    c.shape([(128, 116), (222, 106), (236, 218), (142, 228)], WHITE, 1.6)
    c.text(206, 136, "F", 44, RED)
    c.arc(206, 137, 21, 24, 0, 360, 2.6, RED)
    for row in range(5):
        y = 152 + row * 14
        c.stroke([(146 + row, y), (184 + row, y - 4)], 2, STEEL)
        c.stroke([(202 + row * 2, y + 12), (212 + row * 2, y + 20)], 2.2, RED)
        c.stroke([(212 + row * 2, y + 11), (202 + row * 2, y + 21)], 2.2, RED)
    c.oval(138, 196, 10, 9, TAN, 1)
    return c


@picture(
    "sadness",
    "Why could the little boy be in tears?",
    "A boy in tears holds an empty cone; his ice cream is melting on the pavement.",
    "The ice cream has fallen down.",
    "The cone in his hand is empty.",
    "It is melting on the ground.",
)
def dropped_ice_cream() -> Canvas:
    c = outdoors(SKY, "#c7bfb1", 186)
    c.oval(222, 34, 24, 24, YELLOW)
    c.rect(0, 182, SIZE, 6, "#9e978b")
    draw_person(c, 92, 92, 42, Look(PALE, "#d9a441", GREEN), "sadness", ((48, 196), (150, 148)))
    c.shape([(140, 132), (172, 132), (156, 180)], "#d9a25a", 1.6)
    c.stroke([(148, 134), (162, 160)], 1.2, WOOD)
    c.stroke([(164, 134), (150, 160)], 1.2, WOOD)
    c.oval(156, 132, 16, 5, "#9b6a3f", 1.2)
    c.oval(150, 156, 10, 9, PALE, 1)
    c.oval(196, 232, 50, 12, PINK)
    c.oval(166, 238, 16, 6, PINK)
    c.slice(196, 230, 30, 30, 180, 360, PINK)
    c.oval(196, 230, 34, 8, PINK)
    c.arc(196, 230, 30, 30, 185, 355, 1.4)
    c.oval(188, 212, 6, 4, WHITE)
    for x, y, colour in ((180, 222, RED), (204, 208, BLUE), (212, 224, YELLOW), (196, 222, GREEN)):
        c.stroke([(x, y), (x + 5, y + 2)], 2.4, colour)
    return c


@picture(
    "happy",
    "What is giving the girl such joy?",
    "A laughing girl sits on the grass next to a puppy with a red bow.",
    "She has a puppy.",
    "The puppy wears a bow: it may be a present.",
    "They are playing outdoors in the sun.",
)
def puppy() -> Canvas:
    c = outdoors(horizon=172)
    c.oval(34, 32, 22, 22, YELLOW)
    draw_person(c, 84, 98, 40, Look(TAN, "#4a2c18", "#f2c14e", True), "happy", ((40, 190), (138, 168)))
    c.oval(84, 232, 58, 20, "#f2c14e", 1.4)
    draw_dog(c, 178, 148, 1.05, "#e2b878")
    c.shape([(178, 184), (158, 174), (158, 196)], RED, 1.2)
    c.shape([(178, 184), (198, 174), (198, 196)], RED, 1.2)
    c.oval(178, 185, 6, 6, RED, 1.2)
    c.shape([(173, 168), (183, 168), (183, 176), (178, 180), (173, 176)], "#e2707c")
    for x, y in ((20, 214), (234, 222), (216, 246), (130, 248)):
        c.oval(x, y, 5, 5, WHITE)
        c.oval(x, y, 2, 2, YELLOW)
    return c


@picture(
    "happy",
    "What is the most likely reason for the boy's cheerful face?",
    "A boy in a party hat beams at a birthday cake with burning candles.",
    "It is his birthday.",
    "There is a cake with candles.",
    "He wears a party hat.",
    "Balloons decorate the room.",
)
def birthday_cake() -> Canvas:
    c = indoors("#fbe9c9")
    for x, y, colour in ((34, 50, RED), (222, 46, BLUE), (200, 88, GREEN)):
        c.stroke([(x, y + 22), (x + 4, y + 60)], 1.2)
        c.oval(x, y, 18, 22, colour, 1.4)
    draw_person(c, 122, 98, 38, Look(BROWN, "#22140d", BLUE), "happy", ((62, 186), (186, 184)))
    c.shape([(98, 68), (146, 68), (122, 12)], PURPLE, 1.6)
    c.stroke([(106, 50), (138, 52)], 4, YELLOW)
    c.oval(122, 12, 6, 6, YELLOW, 1.2)
    draw_table(c, 222)
    c.rect(66, 178, 124, 46, "#f3c6d2", 1.8, 6)
    c.rect(66, 178, 124, 12, WHITE, 1.4, 5)
    for step in range(6):
        c.oval(76 + step * 21, 192, 8, 8, WHITE)
        c.oval(76 + step * 21, 212, 5, 5, RED)
    for step in range(5):
        x = 82 + step * 23
        c.rect(x - 2.5, 158, 5, 21, (BLUE, GREEN, ORANGE, PURPLE, RED)[step], 1)
        c.oval(x, 151, 3.6, 6.5, ORANGE)
        c.oval(x, 153, 1.8, 3.5, YELLOW)
    return c


@picture(
    "happy",
    "What could have brightened the woman's day?",
    "A smiling woman holds a large bouquet with a card that shows a heart.",
    "She was given a bouquet.",
    "A card with a heart comes with it.",
    "Somebody thinks of her.",
)
def bouquet() -> Canvas:
    c = indoors("#dcebe4")
    draw_person(c, 88, 94, 42, Look(DARK, "#160e0b", "#e8863f", True), "happy", ((46, 198), (152, 200)))
    c.shape([(126, 152), (214, 150), (176, 232), (158, 232)], "#f4efe2", 1.6)
    for x, y in ((140, 138), (160, 150), (186, 150), (206, 138)):
        c.stroke([(x, y), (168, 204)], 2.4, GREEN)
    flowers = ((136, 132, RED), (158, 116, YELLOW), (184, 112, PINK), (206, 130, RED), (152, 144, PINK))
    for x, y, colour in (*flowers, (176, 138, PURPLE), (198, 150, YELLOW)):
        for turn in range(6):
            c.oval(x + 8 * math.cos(turn * 1.047), y + 8 * math.sin(turn * 1.047), 6.4, 6.4, colour, 0.8)
        c.oval(x, y, 5, 5, ORANGE if colour != YELLOW else WOOD)
    c.oval(160, 206, 11, 10, DARK, 1)
    c.rect(192, 184, 42, 32, WHITE, 1.4, 2)
    for side in (-1, 1):
        c.oval(213 + side * 5, 196, 6, 6, RED)
    c.shape([(202.5, 199), (223.5, 199), (213, 211)], RED)
    return c


@picture(
    "happy",
    "Why is the child in the picture smiling?",
    "A child in a woolly hat stands in the snow beside a finished snowman.",
    "There is fresh snow.",
    "The snowman is finished.",
    "The child plays outdoors.",
)
def snowman() -> Canvas:
    c = outdoors("#9cc8ea", "#f4f9fd", 182)
    c.shape([(0, 182), (50, 120), (100, 182)], "#dcecf7")
    c.shape([(70, 182), (150, 104), (236, 182)], "#e6f2fa")
    draw_person(c, 78, 106, 36, Look(PALE, "#6a3d1f", RED), "happy", ((36, 178), (124, 156)))
    c.slice(78, 92, 38, 36, 180, 360, BLUE)
    c.rect(38, 86, 80, 12, WHITE, 1.2, 6)
    c.oval(78, 54, 9, 9, WHITE, 1.2)
    c.rect(56, 142, 44, 12, YELLOW, 1.2, 5)
    c.rect(86, 150, 12, 34, YELLOW, 1.2, 3)
    c.oval(186, 214, 44, 36, WHITE, 1.8)
    c.oval(186, 156, 32, 28, WHITE, 1.8)
    c.oval(186, 110, 23, 22, WHITE, 1.8)
    c.rect(160, 84, 52, 7, INK)
    c.rect(168, 58, 36, 28, INK)
    c.rect(168, 78, 36, 6, RED)
    c.oval(178, 106, 3, 3, INK)
    c.oval(194, 106, 3, 3, INK)
    c.shape([(186, 110), (162, 117), (186, 117)], ORANGE, 1)
    c.arc(187, 115, 10, 9, 30, 130, 2)
    for y in (146, 158, 170):
        c.oval(186, y, 3, 3, INK)
    c.stroke([(214, 150), (240, 124), (250, 126)], 3, WOOD)
    c.stroke([(240, 124), (242, 112)], 3, WOOD)
    for flake_x, flake_y in scatter(44, 200):
        c.oval(flake_x, flake_y, 2.4, 2.4, WHITE)
    return c


@picture(
    "happy",
    "What makes the man look so content?",
    "A man with sunglasses on his forehead laughs at the beach beside an umbrella, a cold drink in his hand.",
    "He is on holiday.",
    "The sun shines on the sea.",
    "He has a cold drink.",
    "He can rest under an umbrella.",
)
def beach() -> Canvas:
    c = outdoors("#aee0f7", "#f1d9a0", 170)
    c.rect(0, 116, SIZE, 56, "#3f9fc9")
    for step in range(6):
        c.arc(20 + step * 46, 144, 14, 5, 180, 360, 2.4, WHITE)
    c.oval(36, 38, 24, 24, YELLOW)
    for turn in range(10):
        a = turn * 0.628
        c.stroke(
            [(36 + 29 * math.cos(a), 38 + 29 * math.sin(a)), (36 + 37 * math.cos(a), 38 + 37 * math.sin(a))], 3, YELLOW
        )
    c.rect(204, 40, 6, 190, WOOD, 1)
    c.slice(206, 66, 66, 46, 180, 360, RED)
    c.slice(206, 66, 40, 46, 180, 360, WHITE)
    c.slice(206, 66, 16, 46, 180, 360, RED)
    draw_person(c, 110, 116, 36, Look(TAN, "#3c2415", "#4fb0a5"), "happy", ((66, 196), (166, 178)))
    c.rect(82, 84, 24, 13, INK, 1, 5)
    c.rect(114, 84, 24, 13, INK, 1, 5)
    c.stroke([(104, 88), (116, 88)], 3)
    c.shape([(152, 150), (182, 150), (178, 194), (156, 194)], ORANGE, 1.5)
    c.stroke([(170, 152), (184, 128)], 2.6, GREEN)
    c.oval(152, 152, 9, 9, YELLOW, 1.2)
    c.oval(156, 178, 9, 9, TAN, 1)
    c.star(36, 230, 15, ORANGE)
    c.oval(226, 238, 14, 9, PINK, 1.2)
    return c


@picture(
    "happy",
    "What has presumably pleased the boy so much?",
    "A boy with raised hand smiles next to a shining new bicycle with a gift ribbon.",
    "He has a new bicycle.",
    "The ribbon shows that it is a present.",
    "He can go for a ride.",
)
def new_bicycle() -> Canvas:
    c = outdoors(horizon=186)
    c.rect(0, 206, SIZE, 50, "#c7bfb1")
    draw_person(
        c, 64, 86, 36, Look(BROWN, "#1d120c", ORANGE), "happy", ((22, 60), (112, 140)), waist=186, is_standing=True
    )
    for x in (132, 216):
        c.arc(x, 206, 30, 30, 0, 360, 5)
        c.arc(x, 206, 26, 26, 0, 360, 1.4, STEEL)
        for turn in range(6):
            a = turn * 0.524
            dx, dy = 25 * math.cos(a), 25 * math.sin(a)
            c.stroke([(x - dx, 206 - dy), (x + dx, 206 + dy)], 0.9, STEEL)
    c.stroke([(132, 206), (152, 158), (198, 158), (172, 208), (152, 158)], 6, RED)
    c.stroke([(216, 206), (196, 146)], 6, RED)
    c.stroke([(132, 206), (172, 208)], 6, RED)
    c.stroke([(152, 158), (147, 144)], 5, STEEL)
    c.rect(132, 137, 32, 9, INK, radius=4)
    c.stroke([(196, 146), (192, 134), (176, 130)], 5, STEEL)
    c.stroke([(178, 130), (170, 130)], 7)
    c.oval(172, 208, 8, 8, STEEL, 1.4)
    for side in (-1, 1):
        c.shape([(206, 152), (206 + side * 22, 138), (206 + side * 22, 164)], BLUE, 1.4)
        c.shape([(206, 152), (206 + side * 8, 184), (206 + side * 16, 180)], BLUE, 1.2)
    c.oval(206, 152, 6, 6, BLUE, 1.4)
    return c


@picture(
    "excitement",
    "What could be thrilling the athlete?",
    "An athlete lifts a golden trophy above her head while confetti falls.",
    "She has won a trophy.",
    "Confetti is falling.",
    "She wears a medal.",
    "She stands on the first place.",
)
def trophy() -> Canvas:
    c = Canvas("#34508c")
    for x in (60, 196):
        c.shape([(x, 0), (x - 54, 256), (x + 54, 256)], "#43639f")
    draw_confetti(c, 54, 236)
    draw_person(c, 128, 128, 32, Look(DARK, "#160e0b", RED), "excitement", ((94, 84), (162, 84)))
    c.stroke([(114, 170), (128, 192), (142, 170)], 4, BLUE)
    c.oval(128, 196, 11, 11, YELLOW, 1.4)
    c.text(128, 196, "1", 14, INK)
    c.arc(98, 38, 14, 16, 0, 360, 5, "#d9a92c")
    c.arc(158, 38, 14, 16, 0, 360, 5, "#d9a92c")
    c.rect(100, 16, 56, 18, YELLOW)
    c.slice(128, 30, 28, 38, 0, 180, YELLOW)
    c.oval(128, 16, 28, 6, "#d9a92c")
    c.rect(123, 64, 10, 12, "#d9a92c")
    c.rect(104, 76, 48, 11, WOOD, 1.4, 2)
    c.star(128, 42, 12, WHITE)
    c.rect(72, 232, 112, 24, STEEL, 1.5)
    c.text(128, 244, "1", 20, INK)
    return c


@picture(
    "excitement",
    "What is the occasion for the young woman's enthusiasm?",
    "A young woman in a gown throws her arms up with a diploma; graduation caps fly in the air.",
    "She is graduating.",
    "She holds her diploma.",
    "Caps are thrown into the air.",
)
def graduation() -> Canvas:
    c = outdoors(horizon=206)
    c.rect(28, 100, 200, 108, "#e9dfcb", 1.5)
    c.shape([(18, 100), (128, 54), (238, 100)], "#d8c9ab", 1.5)
    for x in (40, 78, 166, 204):
        c.rect(x, 108, 14, 98, WHITE, 1.2)
    draw_person(c, 128, 124, 34, Look(TAN, "#3a2113", "#262a45", True), "excitement", ((62, 86), (194, 86)))
    c.shape([(112, 164), (128, 200), (144, 164)], WHITE)
    c.stroke([(112, 164), (128, 256)], 5, YELLOW)
    c.stroke([(144, 164), (128, 256)], 5, YELLOW)
    for x, y, tilt in ((56, 34, 8), (128, 22, -6), (204, 36, -10)):
        c.rect(x - 14, y, 28, 15, "#262a45", radius=3)
        c.shape([(x - 32, y + tilt), (x, y - 12), (x + 32, y - tilt), (x, y + 11)], "#262a45", 1.2)
        c.stroke([(x, y), (x + 22, y + 6), (x + 24, y + 24)], 2.2, YELLOW)
    c.shape([(174, 72), (222, 62), (226, 80), (178, 92)], "#f8efd8", 1.6)
    c.oval(224, 71, 5, 9, "#e6d7b0", 1.2)
    c.shape([(194, 66), (204, 64), (208, 86), (198, 88)], RED)
    c.oval(190, 88, 8, 8, TAN, 1)
    return c


@picture(
    "excitement",
    "What might have stirred up the two friends in the image?",
    "Two people with arms in the air race down the track of a roller coaster.",
    "They ride a roller coaster.",
    "The track goes down steeply.",
    "They throw their arms up.",
    "They share the thrill.",
)
def roller_coaster() -> Canvas:
    c = outdoors(horizon=228)
    for x, y, size in ((206, 40, 16), (226, 46, 13), (188, 47, 12)):
        c.oval(x, y, size, size * 0.7, WHITE)
    for x, top in ((24, 92), (72, 128), (124, 170), (178, 206), (232, 216)):
        c.stroke([(x, top), (x, 228)], 4, STEEL)
        c.stroke([(x - 12, 228), (x + 12, 228)], 4, STEEL)
    track = [(0, 84), (40, 104), (90, 148), (140, 186), (196, 210), (256, 218)]
    for (x, y), (next_x, next_y) in itertools.pairwise(track):
        for part in range(4):
            px, py = x + (next_x - x) * part / 4, y + (next_y - y) * part / 4
            c.stroke([(px - 4, py + 10), (px + 6, py - 2)], 3, WOOD)
    c.stroke(track, 5, RED)
    c.stroke([(x - 6, y + 11) for x, y in track], 4, RED)
    draw_person(c, 76, 78, 25, Look(PALE, "#c9652c", GREEN, True), "excitement", ((42, 44), (100, 28)), waist=130)
    draw_person(c, 146, 110, 25, Look(DARK, "#17100c", PURPLE), "excitement", ((118, 58), (188, 68)), waist=164)
    c.shape([(34, 106), (124, 116), (112, 156), (52, 118)], YELLOW, 1.8)
    c.shape([(104, 128), (192, 150), (198, 184), (178, 196), (112, 160)], YELLOW, 1.8)
    c.star(158, 162, 11, RED)
    c.star(82, 124, 9, RED)
    for x, y in ((64, 124), (124, 172), (178, 200)):
        c.oval(x, y, 8, 8, INK)
    for x, y in ((8, 36), (20, 56), (4, 64)):
        c.stroke([(x, y), (x + 24, y + 12)], 2.4, WHITE)
    return c


@picture(
    "excitement",
    "What do you think has the fan so worked up?",
    "A fan with raised arms stands before a stage where a guitarist plays in bright spotlights.",
    "A concert is taking place.",
    "A guitarist plays on the stage.",
    "Spotlights flash.",
    "The fan is close to the stage.",
)
def concert() -> Canvas:
    c = Canvas("#20183d")
    for x, colour in ((60, "#4a3a8c"), (128, "#7c3a7c"), (206, "#2f5f93")):
        c.shape([(x, 0), (x - 48, 150), (x + 48, 150)], colour)
        c.rect(x - 10, 0, 20, 9, STEEL)
    c.rect(0, 140, SIZE, 14, WOOD)
    c.rect(0, 154, SIZE, 102, "#15102b")
    for x in (8, 214):
        c.rect(x, 74, 36, 66, INK, 1.5, 3)
        c.oval(x + 18, 92, 10, 10, STEEL, 1.5)
        c.oval(x + 18, 120, 14, 14, STEEL, 1.5)
    c.rect(168, 106, 9, 36, "#33415c")
    c.rect(184, 106, 9, 36, "#33415c")
    c.rect(162, 66, 36, 46, RED, 1.2, 10)
    c.oval(180, 50, 16, 17, PALE, 1.2)
    c.slice(180, 46, 18, 18, 170, 370, "#e0b030")
    c.rect(162, 44, 6, 26, "#e0b030", radius=3)
    c.rect(192, 44, 6, 26, "#e0b030", radius=3)
    c.oval(174, 52, 2, 2, INK)
    c.oval(186, 52, 2, 2, INK)
    c.slice(180, 56, 6, 6, 0, 180, "#8c2f39")
    c.stroke([(176, 96), (126, 70)], 5, WOOD)
    c.oval(182, 98, 17, 12, ORANGE, 1.4)
    c.oval(182, 98, 5, 5, INK)
    c.stroke([(166, 78), (146, 84)], 7, RED)
    c.oval(144, 82, 5, 5, PALE)
    for x, y in ((44, 40), (76, 66), (230, 44)):
        c.oval(x, y + 10, 5, 4, YELLOW)
        c.stroke([(x + 4, y + 9), (x + 4, y - 8), (x + 11, y - 4)], 2.4, YELLOW)
    draw_person(c, 88, 164, 36, Look(BROWN, "#241610", "#3fb08f", True), "excitement", ((34, 112), (148, 118)))
    for x in (14, 176, 216, 248):
        c.oval(x, 240, 22, 26, "#0c081d")
    return c


@picture(
    "excitement",
    "What has just happened that could electrify the supporter?",
    "A supporter with a striped scarf cheers as the ball hits the back of the net.",
    "The ball is in the net.",
    "A goal was scored.",
    "The supporter's team is playing.",
    "The crowd is cheering.",
)
def goal() -> Canvas:
    c = outdoors("#5c6f8f", "#5fae57", 150)
    for row in range(4):
        for seat in range(22):
            colour = (*CONFETTI, WHITE)[(row * 5 + seat * 3) % 7]
            c.oval(seat * 12 + (row % 2) * 6, 14 + row * 17, 5, 6, colour)
    c.rect(0, 78, SIZE, 5, WHITE)
    for step in range(4):
        c.rect(step * 72, 150, 36, 106, "#6cba63")
    c.rect(130, 92, 118, 82, "#49597a")
    for step in range(11):
        c.stroke([(132 + step * 11.4, 92), (132 + step * 11.4, 172)], 0.9, WHITE)
        c.stroke([(130, 92 + step * 8), (248, 92 + step * 8)], 0.9, WHITE)
    c.stroke([(130, 176), (130, 90), (248, 90), (248, 176)], 6, WHITE)
    c.oval(208, 128, 17, 17, WHITE, 1.8)
    pentagon = (0.3, 1.56, 2.8, 4.1, 5.3)
    c.shape([(208 + 7 * math.cos(t), 128 + 7 * math.sin(t)) for t in pentagon], INK)
    for t in pentagon:
        c.stroke(
            [(208 + 7 * math.cos(t), 128 + 7 * math.sin(t)), (208 + 16 * math.cos(t), 128 + 16 * math.sin(t))], 1.3
        )
    for y in (116, 126, 136):
        c.stroke([(152, y + 6), (184, y)], 2, YELLOW)
    draw_person(c, 74, 146, 36, Look(PALE, "#4b2d18", BLUE), "excitement", ((22, 92), (128, 92)))
    for step in range(8):
        c.rect(42 + step * 8, 180, 8, 15, RED if step % 2 else WHITE)
    for step in range(5):
        c.rect(84, 194 + step * 9, 16, 9, WHITE if step % 2 else RED)
    return c


@picture(
    "excitement",
    "What in the scene might fascinate the child so much?",
    "A child with wide eyes and raised arms watches colourful fireworks over a city at night.",
    "Fireworks light up the sky.",
    "They are colourful and loud.",
    "It is a celebration at night.",
)
def fireworks() -> Canvas:
    c = Canvas(NIGHT)
    for x, y in scatter(40, 160):
        c.oval(x, y, 1.1, 1.1, WHITE)
    for x, y, size, colour in ((58, 56, 46, RED), (150, 40, 36, YELLOW), (214, 84, 38, "#63d297")):
        for turn in range(14):
            a = turn * 0.4488
            near, far = size * 0.3, size * (1 if turn % 2 else 0.8)
            c.stroke(
                [(x + near * math.cos(a), y + near * math.sin(a)), (x + far * math.cos(a), y + far * math.sin(a))],
                2.6,
                colour,
            )
            c.oval(x + (far + 4) * math.cos(a), y + (far + 4) * math.sin(a), 2.4, 2.4, WHITE)
        c.star(x, y, 8, WHITE)
    for x, w, h in ((0, 30, 62), (32, 24, 84), (58, 30, 52), (160, 26, 60), (188, 34, 92), (224, 32, 66)):
        c.rect(x, 232 - h, w, h + 24, "#141633")
        for row in range(h // 16):
            for column in range(w // 10):
                if (row * 3 + column + x) % 4:
                    c.rect(x + 4 + column * 9, 240 - h + row * 15, 4, 6, "#e9c95c")
    c.rect(0, 236, SIZE, 20, "#0d0f26")
    draw_person(c, 124, 160, 38, Look(PALE, "#8a4b21", PINK), "excitement", ((64, 116), (184, 116)))
    return c


def to_sample(item: Picture) -> Sample:
    """The sample of a picture."""
    return Sample(
        sample_id=f"demo/{item.emotion}/{item.name}",
        question=item.question,
        emotion=item.emotion,
        reference=number_triggers(item.triggers),
        triggers=item.triggers,
        image_path=f"demo/{item.emotion}/{item.name}.png",
        caption=item.caption,
        source="demo",
    )


def draw_demo(out: Path) -> None:
    """Writes the demo dataset to a folder."""
    with DatasetWriter(out, "Demo: drawn people with a visible reason to feel as they do") as writer:
        for item in PICTURES:
            writer.add(to_sample(item), item.draw().to_png())


def draw_sheet(file: Path, columns: int = 6) -> None:
    """Writes all pictures side by side into one."""
    rows = math.ceil(len(PICTURES) / columns)
    sheet = Image.new("RGB", (columns * SIZE, rows * SIZE), WHITE)
    for number, item in enumerate(PICTURES):
        tile = Image.open(io.BytesIO(item.draw().to_png()))
        sheet.paste(tile, (number % columns * SIZE, number // columns * SIZE))
    sheet.save(file)


def main() -> None:
    """Draws as the command line says."""
    parser = argparse.ArgumentParser(description="Draw the demo dataset.")
    package = Path(eibench_ray.data.__file__).parent
    parser.add_argument("--out", type=Path, default=package / "demo", help="folder to write (default: the package's)")
    parser.add_argument("--sheet", type=Path, help="also write all pictures side by side into this PNG")
    args = parser.parse_args()
    draw_demo(args.out)
    if args.sheet:
        draw_sheet(args.sheet)


if __name__ == "__main__":
    main()
