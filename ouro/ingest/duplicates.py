"""Finds duplicate pictures of a collection: the same pixels, or the same picture encoded again.

A picture that was saved again with loss (JPEG after JPEG, another quality) has other pixels and another content id.
It is found in three steps, each narrower: a key of its size and of nine coarse grey means; a 30 x 30 thumbnail, no
cell of which may differ by more than CELL grey levels; and the stored pixels, no 8 x 8 block of which may differ by
more than BLOCK on average. So a form with one changed digit is another picture, and a copy at another size is not
found. Pictures whose samples differ by at most CELL (constant ones) are not compared. The method is ours:
perceptual hashes (dHash, pHash) report different pages of text as duplicates.
"""

from __future__ import annotations

import io
import sqlite3
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = 30  # cells of a thumbnail's side
STEP, NOISE = 8.0, 0.75  # grey levels: the width of the key's bins, and how far encoding again moves a mean
CELL, BLOCK = 8, 24.0
MOST_KEYS = 512  # 2^9, all neighbours of a key
MOST_COMPARED = 20  # full-size comparisons per picture: nearly blank pages all have similar thumbnails

Pixels = NDArray[np.uint8]


class Signature(NamedTuple):
    """A picture's size (width, height), its thumbnail, (30, 30, 3) uint8, and whether it has one colour all over."""

    size: tuple[int, int]
    thumbnail: Pixels
    constant: bool = False


def compute_signature(picture: PILImage.Image) -> Signature:
    """The signature of an RGB picture."""
    small = picture.resize((SIDE, SIDE), PILImage.Resampling.BOX)
    ranges = cast("tuple[tuple[int, int], ...]", picture.getextrema())
    constant = all(high - low <= CELL for low, high in ranges)
    return Signature(picture.size, np.asarray(small, dtype=np.uint8), constant)


def signature_keys(signature: Signature) -> Iterator[str]:
    """The key of a signature first, then those that re-encoded copies of the picture can have."""
    third = SIDE // 3
    means = signature.thumbnail.mean(axis=2).reshape(3, third, 3, third).mean(axis=(1, 3)).ravel()
    bins = np.floor(means / STEP).astype(int)
    choices = [
        [b, *({int(np.floor((m - NOISE) / STEP)), int(np.floor((m + NOISE) / STEP))} - {int(b)})]
        for b, m in zip(bins, means, strict=True)
    ]
    for key_bins in islice(product(*choices), MOST_KEYS):
        yield " ".join(map(str, (*signature.size, *key_bins)))


def is_same_picture(a: bytes, b: bytes) -> bool:
    """Whether two stored PNG files of one size show the same picture."""
    return bool(_block_means(np.abs(_read_grey(a) - _read_grey(b))).max() <= BLOCK)


def _read_grey(stored: bytes) -> NDArray[np.float32]:
    with PILImage.open(io.BytesIO(stored), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float32)


def _block_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over 8 x 8 blocks of (H, W); the last ones repeat the edge."""
    padded = np.pad(values, [(0, -side % 8) for side in values.shape], mode="edge")
    height, width = padded.shape
    return padded.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))


class PictureIndex:
    """An index of the pictures kept so far, in a temporary database on disk that is deleted on close."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file without a name
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE picture (id TEXT PRIMARY KEY, source TEXT, path TEXT, key TEXT, signature BLOB)")
        self._db.execute("CREATE INDEX by_key ON picture (key)")
        self._db.execute("BEGIN")

    def __enter__(self) -> PictureIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def same(self, image_id: str) -> str:
        """The source of the kept picture with this id, or ""."""
        row: Any = self._db.execute("SELECT source FROM picture WHERE id = ?", (image_id,)).fetchone()
        return row[0] if row else ""

    def near(self, signature: Signature, stored: bytes, folder: Path) -> str:
        """The source of the kept picture that this one is a copy of, or ""; kept files are in `folder`.

        A constant picture is a copy of none and none of it: all that two of them share is that nothing is to be seen.
        """
        if signature.constant:
            return ""
        candidate_keys = list(signature_keys(signature))
        placeholders = ",".join("?" * len(candidate_keys))
        query = f"SELECT source, path, signature FROM picture WHERE key IN ({placeholders}) ORDER BY rowid"
        thumbnail = signature.thumbnail.astype(np.int16)
        compared = 0
        for source, path, other_bytes in self._db.execute(query, candidate_keys):
            other_thumbnail = np.frombuffer(other_bytes, dtype=np.uint8).reshape(SIDE, SIDE, 3)
            if compared < MOST_COMPARED and np.abs(thumbnail - other_thumbnail).max() <= CELL:
                compared += 1
                if is_same_picture(stored, (folder / path).read_bytes()):
                    return source
        return ""

    def add(self, image_id: str, source: str, path: str, signature: Signature) -> None:
        """Add a kept picture to the index."""
        key = "" if signature.constant else next(signature_keys(signature))
        row = (image_id, source, path, key, signature.thumbnail.tobytes())
        self._db.execute("INSERT INTO picture VALUES (?, ?, ?, ?, ?)", row)
