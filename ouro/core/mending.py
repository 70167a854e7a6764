"""Image files whose pixels are all there although Pillow refuses them: their form without the metadata.

PNG: only the chunks that pixels depend on are kept, as libpng does where an ancillary chunk has a wrong checksum
(png_crc_finish: "discard"); critical chunks keep theirs, so that damage to pixels is still found. A missing end is
added. JPEG: application and comment segments are left out, but those that say how colours are coded, and EXIF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_END = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
_CRITICAL, _ANCILLARY = (b"PLTE", b"IDAT"), (b"tRNS", b"eXIf")
_MOST_ANCILLARY = 2**16  # bytes of one ancillary chunk
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class PNGHeader(NamedTuple):
    """What IHDR says. `bytes`: of the decompressed picture, with a filter byte for each row."""

    size: tuple[int, int]
    bytes: int
    interlaced: bool


def read_png_header(stream: IO[bytes]) -> PNGHeader | None:
    """The header of a PNG, from its first bytes; None for anything else."""
    stream.seek(0)
    start = stream.read(33)
    if not start.startswith(PNG) or start[12:16] != b"IHDR" or len(start) < 33:
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", start[16:29])
    row = 1 + -(-width * depth * _CHANNELS.get(colour, 4) // 8)
    return PNGHeader((width, height), row * height, bool(interlace))


def strip_png(stream: IO[bytes], header: PNGHeader) -> tuple[bytes, str]:
    """A PNG without what no pixel depends on, and how much of its picture is missing ("" for nothing).

    Of a file with more compressed data than its picture can need, no more than that is read.
    """
    stream.seek(0)
    kept = [stream.read(33)]
    budget = header.bytes + header.bytes // 8 + 2**20
    counter, n_bytes = zlib.decompressobj(), 0
    for name, data, crc in _png_chunks(stream):
        budget -= len(data)
        if budget < 0:
            break
        kept.append(struct.pack(">I", len(data)) + name + data + crc)
        while name == b"IDAT" and data and not counter.eof:
            try:
                n_bytes += len(counter.decompress(data, 2**20))
            except zlib.error:  # damaged from here on
                break
            data = counter.unconsumed_tail
    missing = _share_missing(header, n_bytes)
    return b"".join([*kept, _END]), missing


def _png_chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(name, data, checksum) of the chunks to keep; of one that the file's end cuts what is there, with its sum."""
    while len(head := stream.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"IEND":
            return
        if name not in _CRITICAL and (name not in _ANCILLARY or length > _MOST_ANCILLARY):
            stream.seek(length + 4, 1)
            continue
        data = stream.read(length)
        crc, whole = stream.read(4), struct.pack(">I", zlib.crc32(name + data))
        if len(crc) < 4:  # cut here
            crc = whole
        if name in _CRITICAL or crc == whole:
            yield name, data, crc


def _share_missing(header: PNGHeader, n_bytes: int) -> str:
    if header.interlaced or n_bytes >= header.bytes or not header.bytes:
        return "" if n_bytes >= header.bytes else f"{1 - n_bytes / max(header.bytes, 1):.1%} of the picture are missing"
    rows = header.size[1]
    return say_missing(rows - n_bytes * rows // header.bytes, rows)


def say_missing(missing: int, rows: int) -> str:
    """How much of a picture of `rows` rows is missing."""
    return f"{missing} of {rows} rows are missing or incomplete ({missing / rows:.1%})"


def strip_jpeg(data: bytes, with_exif: bool) -> bytes:
    """A JPEG without its application and comment segments but JFIF, Adobe (both say how colours are coded) and,
    `with_exif`, EXIF; each only if it is long enough to be one."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA or 0xD0 <= marker <= 0xD9 or length < 2:  # pixels from here on
            break
        body = data[at + 4 : at + 2 + length]
        if _says_pixels(marker, body, with_exif):
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, data[at:]])


def _says_pixels(marker: int, body: bytes, with_exif: bool) -> bool:
    if 0xE0 <= marker <= 0xEF:
        return (
            (marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14)
            or (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12)
            or (marker == 0xE1 and with_exif and body.startswith(b"Exif\0"))
        )
    return marker != 0xFE


def tails(data: bytes, kind: str) -> tuple[bytes, bytes]:
    """Two forms of a cut file with different ends. Where both decode to the same pixels, none was cut off.

    A JPEG's decoder fills what is missing with grey, and reads on in what follows; so it is with the other formats.
    """
    noise = _noise(min(len(data), 2**22) + 4096)
    if kind in ("JPEG", "MPO"):
        body = data.rstrip(b"\xff")
        return body + b"\xff\xd9", body + noise + b"\xff\xd9"
    if kind == "GIF":
        end = bytes(256) + b"\x3b"
        return data + end, data + noise.replace(b"\0", b"\1")[:300] + end
    return data + bytes(len(noise)), data + noise


def bytes_missing(data: bytes) -> str:
    """What the structure of a WebP or TIFF file says is missing behind its end, "" for nothing or another format."""
    size = len(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        expected = int.from_bytes(data[4:8], "little") + 8
        return f"{expected - size:,} of {expected:,} bytes are missing" if expected > size else ""
    order: Literal["little", "big"] = "little" if data.startswith(b"II*\0") else "big"
    if size >= 8 and data.startswith((b"II*\0", b"MM\0*")):
        at = int.from_bytes(data[4:8], order)
        if at + 2 > size or at + 2 + 12 * int.from_bytes(data[at : at + 2], order) + 4 > size:
            return f"its directory at byte {at:,} is missing or incomplete; the file has {size:,} bytes"
    return ""


def _noise(n: int) -> bytes:
    """Bytes without a pattern and without 0xff, which starts a marker in a JPEG; the same ones every time."""
    import random

    return random.Random(0).randbytes(n).replace(b"\xff", b"\x5a")
