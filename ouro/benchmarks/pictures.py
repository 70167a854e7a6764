"""The pictures of a benchmark, by Item.image: below folders, or as the pipeline keeps those of a collection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ouro.core.images import load_image

if TYPE_CHECKING:
    import PIL.Image


class Pictures(Protocol):
    """The pictures of a benchmark, by Item.image."""

    def digest(self, image: str) -> str:
        """Of the encoded picture; "" when it is missing."""
        ...

    def open(self, image: str) -> PIL.Image.Image:
        """Decoded, RGB. Raises ImageError for one that cannot be."""
        ...


class FilePictures:
    """Pictures below folders, by their path there or by their file name."""

    def __init__(self, folders: Sequence[Path], max_pixels: int) -> None:
        self._folders, self._max_pixels = folders, max_pixels
        self._by_name: dict[str, Path] = {}
        self._digests: dict[str, str] = {}

    def path(self, image: str) -> Path | None:
        """Where a picture lies; the folders are searched once when it is not where its path says."""
        name = Path(image).name
        for folder in self._folders:
            for place in (folder / image, folder / "images" / image, folder / name, folder / "images" / name):
                if place.is_file():
                    return place
        if not self._by_name:
            files = (p for folder in self._folders for p in sorted(folder.rglob("*")) if p.is_file())
            self._by_name = {p.name: p for p in files} or {"": Path()}
        return self._by_name.get(name)

    def digest(self, image: str) -> str:
        if image not in self._digests:
            path = self.path(image)
            self._digests[image] = hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
        return self._digests[image]

    def open(self, image: str) -> PIL.Image.Image:
        path = self.path(image)
        assert path is not None  # `digest` found it
        return load_image(path, self._max_pixels)


class StoredPictures:
    """Pictures by their id, whose files are known."""

    def __init__(self, files: Mapping[str, Path], max_pixels: int) -> None:
        self._files, self._max_pixels = files, max_pixels
        self._digests: dict[str, str] = {}

    def digest(self, image: str) -> str:
        """Of the stored file; "" when there is none."""
        path = self._files.get(image)
        if path is None or not path.is_file():
            return ""
        if image not in self._digests:
            self._digests[image] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[image]

    def open(self, image: str) -> PIL.Image.Image:
        return load_image(self._files[image], self._max_pixels)
