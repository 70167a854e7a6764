"""Image files of the collection: find, decode, verify, orient, limit, and store as PNG under a content id.

Every file of a folder or manifest is either stored or rejected with a reason:

    empty_file       zero bytes
    not_an_image     no format that Ouro decodes (FORMATS)
    truncated        the data ends early
    too_many_pixels  more than `max_pixels`, read from the header: a decompression bomb is never decoded
    too_small        a side under MIN_SIDE pixels
    too_thin         one side over MAX_ASPECT times the other: VLM processors refuse it
    outside_folder   the path, or a link on it, leads out of the collection's folder
    unreadable       missing, a folder behind a link, no permission, damaged otherwise
    duplicate        the same pixels as an earlier file

CMYK, 16-bit, floating-point, palette and transparent pictures become RGB; of an animation the first frame is
taken; EXIF orientation is applied. Colour profiles are not (CMYK is converted naively).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from ouro.artifacts import prune_shards, write_shard
from ouro.manifest import Entry, ManifestError, read_manifest
from ouro.records import Image, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ouro.params import Ingest

__all__ = [
    "CHUNK_PIXELS", "FORMATS", "Entry", "ImageError", "ManifestError", "content_id", "encode_png", "find_images",
    "ingest_files", "load_image", "read_manifest", "shard_stem",
]  # fmt: skip

# Decoders that are tried (JPEG covers MPO). Others of Pillow's are left out: EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
MIN_SIDE = 8  # pixels
MAX_ASPECT = 200  # Qwen2-VL's image processor raises beyond
CHUNK_PIXELS = 200_000_000  # decoded pixels that a task holds at once: 0.6 GB of RGB

_ORIENTATION = 0x0112  # EXIF tag
_TURNS: dict[object, PILImage.Transpose] = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A file or collection that cannot be used: `reason` in snake_case, `detail` for the person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# ---- one file --------------------------------------------------------------------------------------


def load_image(path: Path, max_pixels: int, root: Path | None = None) -> PILImage.Image:
    """Decode one file to upright RGB. With `root`, files outside of it are refused, through links too.

    Raises ImageError with one of the reasons at the top of this file.
    """
    try:
        if root is not None and not path.resolve().is_relative_to(root.resolve()):
            raise ImageError("outside_folder", f"leads to {_shown(path.resolve())}, outside of {_shown(root)}")
        if not path.is_file():
            what = "not a regular file" if path.exists() else "not found, or a broken link"
            raise ImageError("unreadable", f"{what}; expected an image file")
        if path.stat().st_size == 0:
            raise ImageError("empty_file", "0 bytes; expected an image file")
        with path.open("rb") as stream:
            return _decode(stream, max_pixels)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise ImageError("unreadable", f"{type(error).__name__}: {error}") from error


def _decode(stream: io.BufferedReader, max_pixels: int) -> PILImage.Image:
    try:
        with PILImage.open(stream, formats=_formats()) as image:
            _check_size(image.size, max_pixels)
            image.load()
            turn = _TURNS.get(_orientation(image))
            return _to_rgb(image if turn is None else image.transpose(turn))
    except ImageError:
        raise
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError("not_an_image", f"expected one of {', '.join(_formats())}") from error
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged data
        early = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise ImageError("truncated" if early else "unreadable", f"{type(error).__name__}: {error}") from error


def _orientation(image: PILImage.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing against the pixels: they are taken as they lie
        return None


def _formats() -> list[str]:
    PILImage.init()
    return [name for name in FORMATS if name in PILImage.OPEN]


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """`size` is (width, height) as the header says. Raises ImageError."""
    short, long = sorted(size)
    shown = f"{size[0]} x {size[1]} pixels"
    if short * long > max_pixels:
        raise ImageError("too_many_pixels", f"{shown}; at most {max_pixels} in all (ingest.max_pixels)")
    if short < MIN_SIDE:
        raise ImageError("too_small", f"{shown}; expected at least {MIN_SIDE} a side")
    if long > MAX_ASPECT * short:
        raise ImageError("too_thin", f"{shown}; expected sides within 1:{MAX_ASPECT}")


def _to_rgb(image: PILImage.Image) -> PILImage.Image:
    """Any decoded picture as RGB without metadata; transparent parts over white."""
    if image.mode.startswith(("I", "F")):
        image = PILImage.fromarray(_to_bytes(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = PILImage.new("RGBA", layer.size, (255, 255, 255, 255))
        image = PILImage.alpha_composite(paper, layer)
    rgb = image.convert("RGB")
    rgb.info.clear()
    return rgb


def _to_bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(H, W) integers or floats to (H, W) uint8: 16-bit by its full range, anything else from min to max."""
    scaled = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(scaled.min()), float(scaled.max())
    if values.dtype.kind in "iu" and low >= 0 and high <= 65_535:
        low, high = 0.0, 65_535.0
    return np.rint((scaled - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def encode_png(picture: PILImage.Image) -> bytes:
    """The stored form of a picture: PNG without metadata. Same pixels, same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def content_id(stored: bytes) -> str:
    """The image id: the first 16 hex digits of the SHA-256 of the stored file."""
    return hashlib.sha256(stored).hexdigest()[:16]


# ---- collections -----------------------------------------------------------------------------------


def find_images(folder: Path) -> list[Path]:
    """All files under a folder, sorted, hidden ones (".name") left out. Whether they are images shows later.

    Links to folders are not followed but listed, and so rejected with a reason. Raises ImageError
    (no_folder, empty_folder).
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise ImageError("no_folder", f"{folder}: got {got}; expected a folder of images: correct the path")
    found: list[Path] = []
    blocked: list[Path] = []  # folders without permission: listed, too

    def note(error: OSError) -> None:
        blocked.append(Path(error.filename))

    for base, folders, files in os.walk(folder, onerror=note):
        links = [name for name in folders if Path(base, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
        found += [Path(base, name) for name in (*files, *links) if not name.startswith(".")]
    if not found and not blocked:
        raise ImageError("empty_folder", f"{folder}: got no files; expected images ({', '.join(_formats())})")
    return sorted(found + blocked, key=lambda p: p.relative_to(folder).as_posix())


def ingest_files(
    paths: Iterable[Path | Entry],
    root: Path,
    out: Path,
    params: Ingest,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Store files as shards: `out`/shard-00000.parquet of Image records and shard-00000/<image id>.png.

    Every file is kept or rejected (duplicates over all shards, too); a shard holds up to
    `params.shard_images` kept ones. Shards of an earlier run in `out` are removed when the first image is kept.
    `progress(1)` is called per file. Returns the shards; raises ImageError (no_images), with `out` as it was,
    when nothing could be kept.
    """
    writer = _Writer(out, params.shard_images)
    for entry in (p if isinstance(p, Entry) else Entry(p) for p in paths):
        source = _name(entry.path, root)
        try:
            writer.keep(entry, source, load_image(entry.path, params.max_pixels, root))
        except ImageError as error:
            writer.reject(Rejected("ingest", source, error.reason, error.detail))
        if progress is not None:
            progress(1)
    if not writer.seen:
        reasons = Counter(r.reason for r in writer.rejected)
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        expected = f"expected images ({', '.join(_formats())}): correct the path"
        raise ImageError("no_images", f"{root}: got {reasons.total()} files, no image ({counts}); {expected}")
    return writer.close()


def shard_stem(number: int) -> str:
    """7 -> shard-00007."""
    return f"shard-{number:05d}"


class _Writer:
    """Fills one shard after the other. A shard is finished when the next one gets its first image, so that
    rejected records never make a shard of their own."""

    def __init__(self, out: Path, shard_images: int) -> None:
        self.out, self.shard_images = out, shard_images
        self.seen: dict[str, str] = {}  # image id -> source
        self.kept: list[Image] = []
        self.rejected: list[Rejected] = []
        self.shards: list[Path] = []

    def keep(self, entry: Entry, source: str, picture: PILImage.Image) -> None:
        """Store a picture. Raises ImageError (duplicate)."""
        stored = encode_png(picture)
        image_id = content_id(stored)
        if image_id in self.seen:
            raise ImageError("duplicate", f"same pixels as {self.seen[image_id]}")
        if not self.seen:
            self.out.mkdir(parents=True, exist_ok=True)
            prune_shards(self.out, keep=())
        if len(self.kept) == self.shard_images:
            self.close()
        path = f"{shard_stem(len(self.shards))}/{image_id}.png"
        (self.out / path).parent.mkdir(exist_ok=True)
        (self.out / path).write_bytes(stored)
        self.seen[image_id] = source
        self.kept.append(Image(image_id, path, picture.width, picture.height, source, entry.split, entry.captions))

    def reject(self, record: Rejected) -> None:
        self.rejected.append(record)

    def close(self) -> list[Path]:
        """Finish the current shard; all shards so far."""
        path = self.out / f"{shard_stem(len(self.shards))}.parquet"
        n_in = len(self.kept) + len(self.rejected)
        write_shard(path, Image, self.kept, n_in=n_in, rejected=self.rejected)
        self.shards.append(path)
        self.kept, self.rejected = [], []
        return self.shards


def _name(path: Path, root: Path) -> str:
    """The path relative to `root` where it lies in it."""
    absolute, base = path.absolute(), root.absolute()
    return _shown(absolute.relative_to(base) if absolute.is_relative_to(base) else path)


def _shown(path: Path) -> str:
    """A path as text that any file can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
