"""The pictures of a shard, decoded when they are asked for, in runs that fit into memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ouro.core.files import ArtifactError
from ouro.core.images import CHUNK_PIXELS, chunks, load_image

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.records import Image


class Pictures(Mapping[str, "PILImage.Image"]):
    """image_id -> decoded picture, decoded when asked for. Up to CHUNK_PIXELS, at least one, stay open.

    Raises ArtifactError for a record whose path leads out of `folder`.
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
        picture = self._open[image_id] = load_image(self._files[image_id], self._max_pixels)
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
    path = PurePosixPath(image.path)
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactError(
            f"{folder}: image {image.image_id}: the path {image.path!r} leads out of the folder; expected one below "
            "it; rerun the stage that wrote it"
        )
    return folder / path


def chunk_images(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Runs of images whose decoded pixels fit into CHUNK_PIXELS; the order is kept, no image is lost."""
    return chunks(images, lambda image: image.width * image.height, CHUNK_PIXELS)
