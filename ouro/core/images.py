"""One image file: decode, verify, orient, limit, and encode as PNG under a content id.

What cannot be used is refused with a reason:

    empty_file       zero bytes
    not_an_image     no format that Ouro decodes (FORMATS)
    truncated        pixels are missing, and how many rows; a file that lost no pixel with its end is taken
    too_many_pixels  more than `max_pixels`, read from the header: a decompression bomb is never decoded
    too_many_scans   a JPEG of more than MAX_SCANS scans: each takes as long as the whole picture
    too_small        a side under MIN_SIDE pixels
    too_thin         one side over MAX_ASPECT times the other: VLM processors refuse it
    outside_folder   the path, or a link on it, leads out of the collection's folder (ouro/core/links.py)
    unreadable       missing, a folder behind a link, no permission, damaged otherwise

CMYK, 10- to 16-bit (ouro/core/depth.py), floating-point, palette and transparent pictures become RGB; of an
animation the first frame is taken; EXIF orientation is applied. Damaged or outsized metadata is dropped
(ouro/core/mending.py). Colour profiles are not (CMYK is converted naively).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from ouro.core.depth import NOTE, join_bytes, low_bytes_mode, replace_mode, to_bytes, top_bits_are_empty
from ouro.core.errors import OuroError
from ouro.core.links import leads_outside
from ouro.core.mending import JPEG, bytes_missing, read_png_header, say_missing, strip_jpeg, strip_png, tails

# Decoders that are tried (JPEG covers MPO). Others of Pillow's are left out: EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
MIN_SIDE = 8  # pixels
MAX_ASPECT = 200  # Qwen2-VL's image processor raises beyond
CHUNK_PIXELS = 200_000_000  # decoded pixels that a task holds at once: 0.6 GB of RGB
MAX_SCANS = 100  # of a JPEG; progressive ones have about 10
_SCAN = b"\xff\xda"  # never part of a scan's own data

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

_FOLLOW = "; if links may lead anywhere: --set ingest.links=follow"

T = TypeVar("T")


class ImageError(OuroError, ValueError):
    """A file or collection that cannot be used: `reason` in snake_case, `detail` for the person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return ImageError, (self.reason, self.detail)  # travels between processes


# ---- one file --------------------------------------------------------------------------------------


def load_image(path: Path, max_pixels: int, root: Path | None = None, follow: bool = False) -> PILImage.Image:
    """Decode one file to upright RGB. With `root`, files outside of it are refused, through links too.

    Links into the store of contents of the same collection are followed (ouro/core/links.py), and with `follow` all.
    Raises ImageError with one of the reasons at the top of this file.
    """
    try:
        if root is not None and leads_outside(path, root, follow):
            fix = "" if follow or not path.absolute().is_relative_to(root.absolute()) else _FOLLOW
            where = f"leads to {_printable(path.resolve())}, outside of {_printable(root)}"
            raise ImageError("outside_folder", where + fix)
        if not path.is_file():
            what = "not a regular file" if path.exists() else "not found, or a broken link"
            raise ImageError("unreadable", f"{what}; expected an image file")
        if path.stat().st_size == 0:
            raise ImageError("empty_file", "0 bytes; expected an image file")
        with path.open("rb") as stream:
            return _decode(stream, max_pixels)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise ImageError("unreadable", f"{type(error).__name__}: {error}") from error


def decode_image(data: bytes, max_pixels: int) -> PILImage.Image:
    """Decode an encoded picture to upright RGB. Raises ImageError."""
    if not data:
        raise ImageError("empty_file", "0 bytes; expected an image file")
    return _decode(io.BytesIO(data), max_pixels)


def _decode(stream: IO[bytes], max_pixels: int) -> PILImage.Image:
    try:
        return _decode_as_it_is(stream, max_pixels)
    except ImageError as error:
        if error.reason not in ("truncated", "unreadable", "not_an_image"):
            raise
        try:
            mended = _decode_mended(stream, max_pixels, error)
        except MemoryError as memory:
            raise ImageError("unreadable", f"MemoryError: {memory}") from memory
        if mended is None:
            raise
        return mended


def _decode_as_it_is(stream: IO[bytes], max_pixels: int) -> PILImage.Image:
    try:
        with PILImage.open(stream, formats=formats()) as image:
            _check_size(image.size, max_pixels)
            _check_scans(image, stream)
            low_mode = low_bytes_mode(image)
            image.load()
            turn = _TURNS.get(_orientation(image))
            picture = _join(image, low_mode, stream) if low_mode and top_bits_are_empty(image) else image
            return _to_rgb(picture if turn is None else picture.transpose(turn))
    except ImageError:
        raise
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
        raise ImageError("too_many_pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError("not_an_image", f"expected one of {', '.join(formats())}") from error
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged data
        early = isinstance(error, EOFError) or "truncated" in str(error).lower() or "not enough" in str(error).lower()
        raise ImageError("truncated" if early else "unreadable", f"{type(error).__name__}: {error}") from error


def _decode_mended(stream: IO[bytes], max_pixels: int, error: ImageError) -> PILImage.Image | None:
    """The picture of a file of which only metadata or the end is damaged; None when that is not so.

    Raises ImageError (truncated) that says how much of the pixels is missing.
    """
    if header := read_png_header(stream):
        _check_size(header.size, max_pixels)
        data, missing = strip_png(stream, header)
        if missing and error.reason != "not_an_image":
            raise ImageError("truncated", missing)
        return _try(data, max_pixels)
    stream.seek(0)
    data = stream.read(16 * max_pixels + 2**24)  # twice what 8 bytes a pixel take, and metadata
    if data.startswith(JPEG) and error.reason != "truncated":
        for with_exif in (True, False):
            stripped = strip_jpeg(data, with_exif)
            try:
                return _decode_as_it_is(io.BytesIO(stripped), max_pixels)
            except ImageError as second:
                if second.reason == "truncated":
                    return _decode_cut(stripped, max_pixels)
        return None
    if (missing := bytes_missing(data)) and error.reason == "not_an_image":
        raise ImageError("truncated", missing)
    picture = None if error.reason == "not_an_image" else _decode_cut(data, max_pixels)
    if picture is None and missing:
        raise ImageError("truncated", missing)
    return picture


def _decode_cut(data: bytes, max_pixels: int) -> PILImage.Image | None:
    """The picture of a file without its last bytes when all pixels are there. Raises ImageError (truncated)."""
    kind = _format(data)
    first, second = (_try(form, max_pixels) for form in tails(data, kind))
    if first is None or second is None or first.size != second.size:
        return None
    rows = np.flatnonzero((np.asarray(first) != np.asarray(second)).any(axis=(1, 2)))
    if not len(rows):
        return first
    last = first.height - 1 if kind in ("JPEG", "MPO") else int(rows[-1])  # a JPEG's rest is grey in both
    raise ImageError("truncated", say_missing(last + 1 - int(rows[0]), first.height))


def _format(data: bytes) -> str:
    try:
        with PILImage.open(io.BytesIO(data), formats=formats()) as image:
            return image.format or ""
    except Exception:  # damaged data: any type
        return ""


def _try(data: bytes, max_pixels: int) -> PILImage.Image | None:
    try:
        return _decode_as_it_is(io.BytesIO(data), max_pixels)
    except ImageError:
        return None


def _join(image: PILImage.Image, low_mode: str, stream: IO[bytes]) -> PILImage.Image:
    """The picture of 16-bit colour with the low bytes that its decoder left out, from a second look at the file."""
    stream.seek(0)
    with PILImage.open(stream, formats=formats()) as again:
        replace_mode(again, low_mode)
        again.load()
        return join_bytes(image, again)


def _orientation(image: PILImage.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing against the pixels: they are taken as they lie
        return None


def formats() -> list[str]:
    """The formats that this Pillow decodes, of FORMATS."""
    PILImage.init()
    return [name for name in FORMATS if name in PILImage.OPEN]


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """`size` is (width, height) as the header says. Raises ImageError."""
    short, long = sorted(size)
    dimensions = f"{size[0]} x {size[1]} pixels"
    if short * long > max_pixels:
        raise ImageError("too_many_pixels", f"{dimensions}; at most {max_pixels} in all (ingest.max_pixels)")
    if short < MIN_SIDE:
        raise ImageError("too_small", f"{dimensions}; expected at least {MIN_SIDE} a side")
    if long > MAX_ASPECT * short:
        raise ImageError("too_thin", f"{dimensions}; expected sides within 1:{MAX_ASPECT}")


def _check_scans(image: PILImage.Image, stream: IO[bytes]) -> None:
    """Raise ImageError for a JPEG of very many scans, each of which is decoded over the whole picture."""
    if image.format not in ("JPEG", "MPO"):
        return
    at, scans, last = stream.tell(), 0, b""
    stream.seek(0)
    while scans <= MAX_SCANS and (part := stream.read(2**20)):
        scans += (last + part).count(_SCAN)
        last = part[-1:] if part.endswith(_SCAN[:1]) else b""
    stream.seek(at)
    if scans > MAX_SCANS:
        raise ImageError("too_many_scans", f"a JPEG of more than {MAX_SCANS} scans; expected about 10. Save it again")


def _to_rgb(image: PILImage.Image) -> PILImage.Image:
    """Any decoded picture as RGB without metadata; transparent parts over white. `info` keeps a note of its depth."""
    bits = image.info.get(NOTE, 16)
    if image.mode.startswith(("I", "F")):
        values, bits = to_bytes(np.asarray(image))
        image = PILImage.fromarray(values)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = PILImage.new("RGBA", layer.size, (255, 255, 255, 255))
        image = PILImage.alpha_composite(paper, layer)
    rgb = image.convert("RGB")
    rgb.info.clear()
    if bits < 16:
        rgb.info[NOTE] = bits
    return rgb


def encode_png(picture: PILImage.Image) -> bytes:
    """The stored form of a picture: PNG without metadata. Same pixels, same bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def content_id(stored: bytes) -> str:
    """The image id: the first 16 hex digits of the SHA-256 of the stored file."""
    return hashlib.sha256(stored).hexdigest()[:16]


def _printable(path: Path) -> str:
    """A path as text that any file can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def chunks(items: Iterable[T], pixels: Callable[[T], int], limit: int = CHUNK_PIXELS) -> Iterator[list[T]]:
    """Runs of items whose pixels together fit into `limit`, each of one item at least; the order is kept, none is lost.

    The items are taken one by one: an iterator that opens pictures lazily holds one picture more than a run.
    """
    chunk: list[T] = []
    total = 0
    for item in items:
        size = pixels(item)
        if chunk and total + size > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk
