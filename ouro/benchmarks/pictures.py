"""The pictures of a benchmark, by Item.image: below its folder, or as the pipeline keeps those of a collection.

A picture lies where its path says, or wherever below the benchmark's folder the longest part of that path ends: many
benchmarks call every picture image.png or 1.png, so a bare file name says little. It counts only where no other picture
of the benchmark ends in it, and two different files that fit equally well are none.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ouro.core.images import load_image

if TYPE_CHECKING:
    import PIL.Image

MISSING, AMBIGUOUS = "missing_image", "ambiguous_image"
MAX_LISTED = 4  # files in a detail
Parts = tuple[str, ...]


class Absent(NamedTuple):
    """Why there is no picture: MISSING or AMBIGUOUS, and in words what was looked for and found."""

    reason: str
    detail: str


class Pictures(Protocol):
    """The pictures of a benchmark, by Item.image."""

    def digest(self, image: str) -> str:
        """Of the encoded picture; "" where there is none."""
        ...

    def absence(self, image: str) -> Absent:
        """Why `digest` is ""."""
        ...

    def open(self, image: str) -> PIL.Image.Image:
        """Decoded, RGB. Raises ImageError for one that cannot be."""
        ...


class FilePictures:
    """Pictures below a folder, by the longest common end of their paths.

    names: all pictures of the benchmark; read when a file's path has only a part of a picture's
    parts: how many parts of its path name a picture: 2 for 7/image.png
    """

    def __init__(
        self, folder: Path, max_pixels: int, names: Callable[[], Iterable[str]] = tuple, parts: int = 1
    ) -> None:
        self._folder, self._max_pixels, self._parts = folder, max_pixels, parts
        self._names = names
        self._files: dict[str, list[Parts]] | None = None
        self._folders: dict[str, set[str]] = {}  # by the ending of their files: names of folders
        self._named: list[Parts] | None = None
        self._ends: dict[int, Counter[Parts]] = {}
        self._found: dict[str, Path | Absent] = {}
        self._digests: dict[str, str] = {}

    def find(self, image: str) -> Path | Absent:
        """Where a picture lies. The folder is searched once when it is not where its path says."""
        if image not in self._found:
            self._found[image] = self._find(_parts(image))
        return self._found[image]

    def digest(self, image: str) -> str:
        if image not in self._digests:
            found = self.find(image)
            self._digests[image] = _sha256(found) if isinstance(found, Path) else ""
        return self._digests[image]

    def absence(self, image: str) -> Absent:
        found = self.find(image)
        assert isinstance(found, Absent)
        return found

    def open(self, image: str) -> PIL.Image.Image:
        found = self.find(image)
        assert isinstance(found, Path)  # `digest` found it
        return load_image(found, self._max_pixels)

    def _find(self, parts: Parts) -> Path | Absent:
        place = self._folder.joinpath(*parts)
        if parts and place.is_file():
            return place
        alike = self._below().get(parts[-1], []) if parts else []
        depth = max((_common(parts, one) for one in alike), default=0)
        candidates = [one for one in alike if _common(parts, one) == depth]
        doubt = self._doubt(parts, depth)
        if doubt:
            return Absent(MISSING, f"{'/'.join(parts)} is not below {self._folder}{doubt}{self._listed(candidates)}")
        places = [self._folder.joinpath(*one) for one in candidates]
        if len(places) > 1 and len({_sha256(one) for one in places}) > 1:
            return Absent(AMBIGUOUS, f"{'/'.join(parts)} may be any of{self._listed(candidates)}")
        return places[0]

    def _doubt(self, parts: Parts, depth: int) -> str:
        """Why files that share `depth` last parts of a picture's path are not it; "" where they are."""
        if not depth:
            return ": no file has its name"
        if depth == len(parts):
            return ""
        if depth < min(self._parts, len(parts)):
            return ", and its name alone says too little to take"
        if self._sharing(parts[-depth:]) > 1:
            return ", and other pictures of the benchmark have that name; not taken:"
        if parts[-depth - 1] in self._folders.get(PurePosixPath(parts[-1]).suffix, ()):
            return f", whose folder {parts[-depth - 1]} is there without it; not taken:"
        return ""

    def _listed(self, candidates: Sequence[Parts]) -> str:
        names = ["/".join(one) for one in candidates[:MAX_LISTED]]
        return f" {', '.join(names)}{', ...' if len(candidates) > MAX_LISTED else ''}" if names else ""

    def _sharing(self, end: Parts) -> int:
        """How many pictures of the benchmark end so."""
        if self._named is None:
            self._named = list({_parts(name) for name in self._names()})
        if len(end) not in self._ends:
            self._ends[len(end)] = Counter(name[-len(end) :] for name in self._named)
        return self._ends[len(end)][end]

    def _below(self) -> dict[str, list[Parts]]:
        """All files by their name, as the parts of their paths below the folder."""
        if self._files is None:
            self._files = {}
            for parts in _walk(self._folder):
                self._files.setdefault(parts[-1], []).append(parts)
                self._folders.setdefault(PurePosixPath(parts[-1]).suffix, set()).update(parts[:-1])
        return self._files


def _parts(image: str) -> Parts:
    """Of a path below a folder: what leads out of it is left out."""
    return tuple(part for part in PurePosixPath(image).parts if part not in ("/", "//", "..", "."))


def _common(a: Parts, b: Parts) -> int:
    """The number of last parts that two paths share."""
    same = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one != other:
            break
        same += 1
    return same


def _walk(folder: Path) -> Iterator[Parts]:
    """Files below a folder in order; links are followed, each folder is entered once, hidden ones are not."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = Path(root).relative_to(folder).parts
        yield from ((*above, name) for name in sorted(files))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
            self._digests[image] = _sha256(path)
        return self._digests[image]

    def absence(self, image: str) -> Absent:
        return Absent(
            MISSING, f"{self._files.get(image, image)} is not there; run `ouro annotate` or stage ingest again"
        )

    def open(self, image: str) -> PIL.Image.Image:
        return load_image(self._files[image], self._max_pixels)
