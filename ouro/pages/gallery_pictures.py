"""The gallery's copies of the pictures: one to look at, one as a thumbnail.

A gallery can be moved and handed on, so it holds copies and never refers to the dataset. Their names are numbers:
nothing that the dataset says becomes part of a path that is written.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.files import ArtifactError
from ouro.core.images import ImageError, load_image
from ouro.core.pictures import stored_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image as Picture

    from ouro.core.records import Image

DISPLAY_SIDE, THUMB_SIDE = 1024, 240  # pixels of the longer side, at most
THREADS = 2  # Pillow lets go of the interpreter while it decodes; each holds one full picture
_LOSSLESS_PIXELS = 131_072  # up to here a copy is PNG: drawn scenes, icons; above JPEG


class Copies(NamedTuple):
    """Paths relative to the gallery; `problem` says why there are none."""

    display: str
    thumb: str
    problem: str


def copy_pictures(images: Sequence[Image], folder: Path, out: Path, first: int) -> Iterator[Copies]:
    """Write the copies of `images` (files below `folder`) into the gallery `out`; they are numbered from `first`."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(partial(_copy, folder, out), images, range(first, first + len(images)))


def _copy(folder: Path, out: Path, image: Image, number: int) -> Copies:
    try:
        picture = load_image(stored_file(folder, image), max(1, image.width) * max(1, image.height))
    except ArtifactError:
        return Copies("", "", f"its path leads out of the dataset: {image.path}")
    except ImageError as error:
        return Copies("", "", f"{error.reason}: {error.detail}")
    stem = f"pictures/{number // 1000:05d}/{number:07d}"
    picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    display = _save(picture, out, stem)
    if max(picture.size) <= THUMB_SIDE:
        return Copies(display, display, "")
    picture.thumbnail((THUMB_SIDE, THUMB_SIDE))
    return Copies(display, _save(picture, out, f"{stem}-small", lossless=display.endswith(".png")), "")


def _save(picture: Picture, out: Path, stem: str, lossless: bool | None = None) -> str:
    small = picture.width * picture.height <= _LOSSLESS_PIXELS if lossless is None else lossless
    name = f"{stem}.png" if small else f"{stem}.jpg"
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    if small:
        picture.save(out / name, "PNG", optimize=True)
    else:
        picture.save(out / name, "JPEG", quality=85)
    return name
