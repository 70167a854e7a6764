"""Pictures of random pixels, PNG files written by hand, and the files of a folder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as PILImage


def random_picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> PILImage.Image:
    """Random pixels, `size` is (width, height)."""
    rng = np.random.default_rng(seed)
    return PILImage.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def png_bytes(size: tuple[int, int], depth: int, kind: int, raw: bytes) -> bytes:
    """A PNG written by hand: `kind` 0 is grey, 2 is RGB; `raw` are the rows, each behind its filter byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
