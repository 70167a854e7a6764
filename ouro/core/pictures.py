"""The pictures of a shard, decoded when they are asked for, in runs that fit into memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ouro.core.files import ArtifactError, remedy
from ouro.core.images import CHUNK_PIXELS, ImageError, chunks, load_image

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.records import Image


class Pictures(Mapping[str, "PILImage.Image"]):
    """image_id -> decoded picture, decoded when asked for. Up to CHUNK_PIXELS, at least one, stay open.

    Raises ArtifactError for a record whose path leads out of `folder`, and as `load_stored`.
    """

    def __init__(self, images: Sequence[Image], folder: Path, max_pixels: int) -> None:
        self._files = {image.image_id: stored_file(folder, image) for image in images}
        self._max_pixels = max_pixels
        self._open: OrderedDict[str, PILImage.Image] = OrderedDict()  # the least recently used first
        self._pixels = 0  # of all open ones

    def __getitem__(self, image_id: str) -> PILImage.Image:
        if image_id in self._open:
            self._open.move_to_end(image_id)
            return self._open[image_id]
        picture = self._open[image_id] = load_stored(self._files[image_id], self._max_pixels)
        self._pixels += picture.width * picture.height
        while self._pixels > CHUNK_PIXELS and len(self._open) > 1:
            _, oldest = self._open.popitem(last=False)
            self._pixels -= oldest.width * oldest.height
        return picture

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def stored_file(folder: Path, image: Image) -> Path:
    """Where an image of `folder` is stored. Raises ArtifactError when its path leads out of the folder.

    Links are followed: DVC may keep a folder's files elsewhere and put links in their place.
    """
    return stored_path(folder, image.image_id, image.path)


def stored_path(folder: Path, image_id: str, path: str) -> Path:
    """`stored_file` of an image of which only id and path are known."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise ArtifactError(
            f"{folder}: image {image_id}: the path {path!r} leads out of the folder; expected one below it; "
            f"{remedy(folder, 'ingest')}"
        )
    return folder / relative


def load_stored(file: Path, max_pixels: int) -> PILImage.Image:
    """Decode a stored picture. Raises ArtifactError for one that is missing, empty or damaged, ImageError for one of
    more than `max_pixels`."""
    try:
        return load_image(file, max_pixels)
    except ImageError as error:
        if error.reason == "too_many_pixels":
            raise ImageError(error.reason, f"{file}: {error.detail}") from error
        raise ArtifactError(
            f"{file}: {error.detail}; expected the picture of an image record; {remedy(file, 'ingest')}"
        ) from error


def say_absence(file: Path) -> str:
    """What is wrong with a stored picture that is missing or empty, told without opening it; else ""."""
    if not file.is_file():
        return f"{file}: not found"
    return "" if file.stat().st_size else f"{file}: empty"


def chunk_images(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Runs of images whose decoded pixels fit into CHUNK_PIXELS; the order is kept, no image is lost."""
    return chunks(images, lambda image: image.width * image.height, CHUNK_PIXELS)
