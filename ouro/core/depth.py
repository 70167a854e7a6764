"""Pictures of more than 8 bits a sample become 8 bits, by the depth of what is there.

Scanners and cameras put 10- or 12-bit samples into 16-bit files, whose top bits are then empty: taken by the full
range such a picture is black. So the range is that of the smallest usual depth that holds the largest sample, and
a depth under 16 bits is noted in the picture's `info` under NOTE.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

NOTE = "bits"  # key of a picture's info: bits a sample where they were fewer than its file has
DEPTHS = (8, 10, 12, 14, 16)
_STRIP = 2**21  # samples that are converted at once


def depth_of(largest: int) -> int:
    """The smallest usual depth that holds a sample: 1023 -> 10, 1024 -> 12."""
    return next(bits for bits in DEPTHS if largest < 2**bits)


def to_bytes(values: NDArray[Any]) -> tuple[NDArray[np.uint8], int]:
    """(H, W) or (H, W, C) integers or floats to uint8, and the depth by which they were read.

    Integers from 0 to 65,535 by their depth; anything else from min to max, without NaN and infinities (depth 16).
    """
    low, high, bits = _range(values)
    out = np.empty(values.shape, np.uint8)
    for rows in _strips(values):
        scaled = (_finite(values[rows]) - low) * (255.0 / max(high - low, 1e-12))
        out[rows] = np.rint(scaled)
    return out, bits


def _range(values: NDArray[Any]) -> tuple[float, float, int]:
    bounds = [(float(part.min()), float(part.max())) for part in (_finite(values[rows]) for rows in _strips(values))]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if values.dtype.kind in "iu" and low >= 0 and high <= 65_535:
        bits = depth_of(int(high)) if high else 16
        return 0.0, 2.0**bits - 1, bits
    return low, high, 16


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _strips(values: NDArray[Any]) -> Iterator[slice]:
    """Slices of rows, each of about _STRIP samples."""
    n = max(1, _STRIP // max(1, int(np.prod(values.shape[1:]))))
    return (slice(start, start + n) for start in range(0, len(values), n))


def low_bytes_mode(image: PILImage.Image) -> str | None:
    """The raw mode that reads the low byte of each sample of a picture that was opened and not loaded, whose decoder
    keeps the high bytes alone (16-bit colour); None for others."""
    tiles = cast("list[Any]", getattr(image, "tile", []))
    arguments: Any = tiles[0][3] if len(tiles) == 1 else None
    mode: Any = arguments if isinstance(arguments, str) else arguments[0] if arguments else None
    if image.mode not in ("RGB", "RGBA", "RGBX") or not isinstance(mode, str) or mode[-3:] not in ("16B", "16L"):
        return None
    return mode[:-1] + ("L" if mode.endswith("B") else "B")


def replace_mode(image: Any, mode: str) -> None:
    """Let a picture that was opened and not loaded be decoded in another raw mode."""
    decoder, extents, offset, arguments = image.tile[0]
    image.tile = [(decoder, extents, offset, mode if isinstance(arguments, str) else (mode, *arguments[1:]))]


def top_bits_are_empty(image: PILImage.Image) -> bool:
    """Whether no colour of a picture of high bytes uses the upper two bits, and there is a colour at all."""
    extrema = cast("list[tuple[int, int]]", image.getextrema())[:3]
    return max(high for _, high in extrema) < 2**6


def join_bytes(high: PILImage.Image, low: PILImage.Image) -> PILImage.Image:
    """The picture of two halves of 16-bit samples, with its depth as a note; transparency keeps its full range."""
    upper, lower = np.asarray(high), np.asarray(low)
    colours, bits = to_bytes(upper[..., :3].astype(np.uint16) * 256 + lower[..., :3])
    picture = PILImage.fromarray(np.concatenate([colours, upper[..., 3:]], axis=2))
    if bits < 16:
        picture.info[NOTE] = bits
    return picture
