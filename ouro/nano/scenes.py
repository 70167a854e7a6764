"""The nano world: procedurally drawn 256 x 256 scenes with exact ground truth.

A scene holds 1 to 3 containers of distinct kinds (table, shelf, board, box), each in its own quadrant with
1 to 4 objects in a 2 x 2 arrangement and sometimes a sign with a printed word between the two rows; loose
objects lie on the floor of the free quadrants. Shapes and colours are distinct within a container and among
the loose objects, so that "the star on the table" is unambiguous. Light falls off from left to right over the
scene, and each container lies in warm light on its left and in cool light on its right: cues for horizontal
position (what they alone add was not measured apart).

Everything is drawn from a `numpy.random.Generator` that the caller passes. Boxes are xyxy, pixels, half-open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

SIZE = 256
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
PATTERNS = ("solid", "striped", "dotted")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40), "green": (44, 150, 60), "blue": (40, 80, 205), "yellow": (240, 205, 35),
    "purple": (125, 45, 160), "cyan": (60, 200, 215), "pink": (250, 140, 190), "black": (25, 25, 25),
}  # fmt: skip
CONTAINERS = ("table", "shelf", "board", "box")
WORDS = (
    "apple", "bread", "cake", "milk", "tea", "rice", "salt", "sugar", "fish", "soup",
    "open", "shop", "sale", "exit", "stop", "park", "bank", "hotel", "bus", "taxi",
    "book", "music", "film", "news", "game", "sport", "art", "map", "team", "club",
    "north", "south", "east", "west", "river", "lake", "hill", "moon", "sun", "wind",
)  # fmt: skip
SLOTS = ("top left", "top right", "bottom left", "bottom right")

Box = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One object: its attributes, box and slot ("top left" ... of its container or of the scene)."""

    shape: str
    color: str
    pattern: str
    box: Box
    slot: str

    @property
    def name(self) -> str:
        return f"{self.color} {self.pattern} {self.shape}"


@dataclass(frozen=True)
class Sign:
    """A printed word on a container."""

    word: str
    box: Box


@dataclass(frozen=True)
class Container:
    """A container in quadrant `slot` of the scene with its objects in reading order."""

    kind: str
    box: Box
    slot: str
    items: tuple[Item, ...]
    sign: Sign | None = None


@dataclass(frozen=True)
class Scene:
    """The ground truth of one drawn scene. `texture` seeds the background noise."""

    containers: tuple[Container, ...]
    loose: tuple[Item, ...]
    texture: int = 0
    items: tuple[Item, ...] = field(init=False)

    def __post_init__(self) -> None:
        contents = tuple(i for c in self.containers for i in c.items)
        object.__setattr__(self, "items", contents + self.loose)


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random scene: containers by quadrant in reading order, then loose objects."""
    kinds = list(rng.permutation(CONTAINERS)[: rng.integers(1, 4)])
    quadrants = sorted(rng.permutation(4)[: len(kinds)])
    containers = tuple(_container(rng, str(k), int(q)) for k, q in zip(kinds, quadrants, strict=True))
    free = [q for q in range(4) if q not in quadrants]
    n_loose = int(rng.integers(0 if len(kinds) > 1 else 1, 4))
    spots = [int(rng.choice(free)) for _ in range(n_loose)]
    return Scene(containers, _loose(rng, sorted(set(spots))), int(rng.integers(1 << 30)))


def _container(rng: np.random.Generator, kind: str, quadrant: int) -> Container:
    w, h = int(rng.integers(106, 119)), int(rng.integers(110, 121))
    x0 = (quadrant % 2) * 128 + int(rng.integers(3, 128 - w - 2))
    y0 = (quadrant // 2) * 128 + int(rng.integers(3, 128 - h - 2))
    slots = sorted(rng.permutation(4)[: rng.integers(1, 5)])
    looks = _distinct(rng, len(slots))
    items: list[Item] = []
    for slot, (shape, color, pattern) in zip(slots, looks, strict=True):
        size = int(rng.integers(28, 37))
        cx = x0 + (0.26 if slot % 2 == 0 else 0.74) * w + rng.integers(-4, 5)
        cy = y0 + (0.21 if slot < 2 else 0.79) * h + rng.integers(-2, 3)
        items.append(Item(shape, color, pattern, _square(cx, cy, size), SLOTS[slot]))
    sign = None
    if rng.random() < 0.5:
        word = str(rng.choice(WORDS))
        ww, hh = word_size(word)
        sx = int(x0 + w / 2 - ww / 2 + rng.integers(-8, 9))
        sy = int(y0 + h / 2 - hh / 2 + rng.integers(-1, 2))
        sign = Sign(word, (sx, sy, sx + ww, sy + hh))
    return Container(kind, (x0, y0, x0 + w, y0 + h), SLOTS[quadrant], tuple(items), sign)


def _loose(rng: np.random.Generator, quadrants: list[int]) -> tuple[Item, ...]:
    items: list[Item] = []
    for q, (shape, color, pattern) in zip(quadrants, _distinct(rng, len(quadrants)), strict=True):
        cx = (q % 2) * 128 + 64 + (-1 if q % 2 == 0 else 1) * int(rng.integers(-8, 30))
        cy = (q // 2) * 128 + 64 + (-1 if q < 2 else 1) * int(rng.integers(-8, 30))
        items.append(Item(shape, color, pattern, _square(cx, cy, int(rng.integers(28, 37))), SLOTS[q]))
    return tuple(items)


def _distinct(rng: np.random.Generator, n: int) -> list[tuple[str, str, str]]:
    shapes, colors = rng.permutation(SHAPES)[:n], rng.permutation(list(COLORS))[:n]
    return [(str(s), str(c), str(rng.choice(PATTERNS))) for s, c in zip(shapes, colors, strict=True)]


def _square(cx: float, cy: float, size: int) -> Box:
    x0, y0 = round(cx - size / 2), round(cy - size / 2)
    return (x0, y0, x0 + size, y0 + size)


# ---- drawing -------------------------------------------------------------------------------------------------

_SS = 4  # supersampling of sprites
TINT = 0.16  # red rises and blue falls by this share at a container's left edge, the other way at its right


@lru_cache(maxsize=4096)
def shape_mask(shape: str, size: int) -> NDArray[np.float32]:
    """(size, size) float32 coverage in 0..1 of a shape that fills its box."""
    n = size * _SS
    img = PILImage.new("L", (n, n), 0)
    d = ImageDraw.Draw(img)
    m = n * 0.04
    lo, hi, mid = m, n - 1 - m, (n - 1) / 2
    if shape == "circle":
        d.ellipse((lo, lo, hi, hi), fill=255)
    elif shape == "square":
        d.rectangle((lo + m, lo + m, hi - m, hi - m), fill=255)
    elif shape == "triangle":
        d.polygon([(mid, lo), (hi, hi), (lo, hi)], fill=255)
    elif shape == "star":
        r = [(hi - lo) / 2 * (1.05 if k % 2 == 0 else 0.45) for k in range(10)]
        a = [np.pi * k / 5 - np.pi / 2 for k in range(10)]
        d.polygon([(mid + ri * np.cos(t), mid + ri * np.sin(t)) for ri, t in zip(r, a, strict=True)], fill=255)
    elif shape == "cross":
        t = (hi - lo) * 0.18
        d.rectangle((mid - t, lo, mid + t, hi), fill=255)
        d.rectangle((lo, mid - t, hi, mid + t), fill=255)
    elif shape == "ring":
        d.ellipse((lo, lo, hi, hi), fill=255)
        t = (hi - lo) * 0.3
        d.ellipse((lo + t, lo + t, hi - t, hi - t), fill=0)
    elif shape == "heart":
        r = (hi - lo) * 0.27
        for cx in (mid - r * 0.95, mid + r * 0.95):
            d.ellipse((cx - r, lo + m, cx + r, lo + m + 2 * r), fill=255)
        d.polygon([(lo + m * 0.2, lo + m + r * 1.35), (hi - m * 0.2, lo + m + r * 1.35), (mid, hi)], fill=255)
    elif shape == "diamond":
        d.polygon([(mid, lo), (hi - n * 0.12, mid), (mid, hi), (lo + n * 0.12, mid)], fill=255)
    else:
        raise ValueError(f"unknown shape {shape!r}: expected one of {', '.join(SHAPES)}")
    return np.asarray(img.resize((size, size), PILImage.Resampling.BOX), dtype=np.float32) / np.float32(255)


@lru_cache(maxsize=512)
def _pattern(pattern: str, color: str, size: int) -> NDArray[np.float32]:
    """(size, size, 3) float32 paint in 0..255."""
    base = np.array(COLORS[color], dtype=np.float32)
    other = np.array((245, 245, 245), dtype=np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    if pattern == "striped":
        light = (((x + y) % 11) < 4.2).astype(np.float32)
    elif pattern == "dotted":
        light = ((((x + 1) % 9 - 4.5) ** 2 + ((y + 1) % 9 - 4.5) ** 2) < 6.5).astype(np.float32)
    else:
        light = np.zeros_like(x)
    return np.asarray(base + light[..., None] * (other - base), dtype=np.float32)


def paste_item(canvas: NDArray[np.float32], item: Item) -> None:
    """Paint one object onto `canvas`, (H, W, 3) float32, in place; its box must lie inside."""
    x0, y0, x1, y1 = item.box
    mask = shape_mask(item.shape, x1 - x0)[..., None]
    view = canvas[y0:y1, x0:x1]
    view += mask * (_pattern(item.pattern, item.color, x1 - x0) - view)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(16)  # the face that ships inside Pillow: no system fonts needed
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@lru_cache(maxsize=256)
def word_size(word: str) -> tuple[int, int]:
    """Width and height in pixels of a sign that carries `word`."""
    x0, _, x1, _ = _font().getbbox(word)
    return int(x1 - x0) + 8, 22


@lru_cache(maxsize=256)
def _sign(word: str) -> Pixels:
    w, h = word_size(word)
    img = PILImage.new("RGB", (w, h), (252, 252, 252))
    d = ImageDraw.Draw(img)
    d.rectangle((0, 0, w - 1, h - 1), outline=(90, 90, 90))
    d.text((4, 0), word, fill=(10, 10, 10), font=_font())
    return np.asarray(img)


@lru_cache(maxsize=2048)
def _body(kind: str, w: int, h: int) -> Pixels:
    """(h, w, 3) picture of an empty container of this kind."""
    img = PILImage.new("RGB", (w, h))
    d = ImageDraw.Draw(img)
    if kind == "table":  # a brown cloth-covered top seen from above, with four leg ends
        d.rectangle((0, 0, w, h), fill=(205, 170, 125), outline=(120, 80, 45), width=4)
        for x, y in ((0, 0), (w - 9, 0), (0, h - 9), (w - 9, h - 9)):
            d.rectangle((x, y, x + 8, y + 8), fill=(95, 60, 30))
    elif kind == "shelf":  # two boards under the rows, open back
        d.rectangle((0, 0, w, h), fill=(224, 224, 216), outline=(110, 110, 100), width=2)
        for y in (int(h * 0.39), h - 6):
            d.rectangle((0, y, w, y + 5), fill=(110, 85, 60))
    elif kind == "board":  # a pale blue-grey panel in a double frame
        d.rectangle((0, 0, w, h), fill=(70, 90, 120))
        d.rectangle((5, 5, w - 6, h - 6), fill=(200, 214, 230), outline=(150, 165, 190), width=2)
    elif kind == "box":  # cardboard with flaps and a tape line
        d.rectangle((0, 0, w, h), fill=(232, 205, 160), outline=(150, 110, 60), width=2)
        d.polygon([(0, 0), (12, 12), (12, h - 12), (0, h)], fill=(190, 150, 100))
        d.polygon([(w, 0), (w - 12, 12), (w - 12, h - 12), (w, h)], fill=(190, 150, 100))
    else:
        raise ValueError(f"unknown container {kind!r}: expected one of {', '.join(CONTAINERS)}")
    return np.asarray(img)


@lru_cache(maxsize=256)
def tint(width: int) -> NDArray[np.float32]:
    """(1, width, 3) float32 factors of warm light on the left and cool light on the right."""
    ramp = np.linspace(TINT, -TINT, width, dtype=np.float32)[None, :, None]
    return 1 + ramp * np.array((1.0, 0.0, -1.0), dtype=np.float32)


@lru_cache(maxsize=4)
def _light(width: int) -> NDArray[np.float32]:
    return np.linspace(1.0, 0.72, width, dtype=np.float32)[None, :, None]


def render(scene: Scene) -> Pixels:
    """(256, 256, 3) uint8 RGB picture of a scene. Same scene, same bytes."""
    noise = np.random.default_rng(scene.texture)
    wall = noise.uniform(222, 240)
    canvas = np.full((SIZE, SIZE, 3), wall, dtype=np.float32)
    canvas[:, :, 2] -= 8
    for c in scene.containers:
        x0, y0, x1, y1 = c.box
        canvas[y0:y1, x0:x1] = _body(c.kind, x1 - x0, y1 - y0)
        for item in c.items:
            paste_item(canvas, item)
        if c.sign is not None:
            sx0, sy0, sx1, sy1 = c.sign.box
            canvas[sy0:sy1, sx0:sx1] = _sign(c.sign.word)
        canvas[y0:y1, x0:x1] *= tint(x1 - x0)
    for item in scene.loose:
        paste_item(canvas, item)
    canvas *= _light(SIZE)
    canvas += noise.standard_normal((SIZE // 2, SIZE // 2, 1), dtype=np.float32).repeat(2, 0).repeat(2, 1) * 2.5
    return np.clip(canvas, 0, 255).astype(np.uint8)
