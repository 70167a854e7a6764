"""Pictures of a data set whose rows name files: resolved as `datasets` does, and never outside of the data set.

`datasets` gives an absolute path for the files of a folder (imagefolder, metadata.jsonl), `zip://a.jpg::/x/photos.zip`
for those in an archive, and `hf://datasets/NAME@REVISION/a.jpg` on the hub. A relative path in a Parquet or JSON lines
file is one below the folder of a data file, or below the data set's own. `ingest.links=follow` takes absolute paths
and links that lead elsewhere, as for a folder of images.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.hf_folders import DATA
from ouro.core.images import ImageError, decode_image, load_image
from ouro.core.links import leads_outside

if TYPE_CHECKING:
    from PIL import Image as PILImage

ARCHIVES = ("zip://", "tar://")
_NONE = "the row holds no picture; expected its bytes, or the path of a file of the data set"


class Origin(NamedTuple):
    """Where a row comes from: the data set's name, and its folder, None for one of the hub."""

    name: str
    folder: Path | None


def load_loose(path: str, origin: Origin | None, max_pixels: int, follow: bool) -> PILImage.Image:
    """The picture that a row names, as upright RGB. Raises ImageError, as ouro.core.images.load_image."""
    if not path or origin is None:
        raise ImageError("unreadable", _NONE)
    if "://" in path:
        return decode_image(_read_url(path, origin, max_pixels, follow), max_pixels)
    if origin.folder is None:
        raise ImageError("unreadable", f"the row names {path!r}, which is no file of {origin.name} on the hub")
    file = find_file(path, origin.folder)
    anywhere = follow and Path(path).is_absolute()
    return load_image(file, max_pixels, None if anywhere else origin.folder, follow)


def find_file(path: str, folder: Path) -> Path:
    """The file of a path in a row, which need not exist. Raises ImageError where two different files fit."""
    places = [folder / path] if Path(path).is_absolute() else [base / path for base in _bases(folder)]
    found = {place.resolve(): place for place in places if place.is_file()}
    if len(found) > 1:
        listed = ", ".join(map(str, found.values()))
        raise ImageError("unreadable", f"the row names {path!r}, which may be {listed}; expected one file")
    return next(iter(found.values()), places[0])


@lru_cache(maxsize=8)
def _bases(folder: Path) -> tuple[Path, ...]:
    """The data set's folder, and those below it that hold data files."""
    return (folder, *(Path(at) for at, _, names in os.walk(folder) if at != str(folder) and _has_data(names)))


def _has_data(names: list[str]) -> bool:
    return any(name.endswith(DATA) for name in names)


def _read_url(url: str, origin: Origin, max_pixels: int, follow: bool) -> bytes:
    """The bytes of a file in an archive or on the hub, of no more than a picture can need. Raises ImageError."""
    from datasets.utils.file_utils import xopen

    *inner, last = url.split("::")
    if not (_is_own(last, origin, follow) and all(part.startswith(ARCHIVES) for part in inner)):
        raise ImageError("outside_folder", f"leads to {url}, outside of the data set {origin.name}")
    try:
        with xopen(url, "rb") as stream:
            return stream.read(16 * max_pixels + 2**24)
    except Exception as error:  # of the network, the hub's library, or an archive's reader
        raise ImageError("unreadable", f"{url}: {type(error).__name__}: {str(error)[:300]}") from error


def _is_own(place: str, origin: Origin, follow: bool) -> bool:
    if "://" not in place:
        inside = origin.folder is not None and not leads_outside(Path(place), origin.folder, follow)
        return inside or (follow and origin.folder is not None and Path(place).is_absolute())
    return origin.folder is None and place.startswith(
        (f"hf://datasets/{origin.name}@", f"hf://datasets/{origin.name}/")
    )
