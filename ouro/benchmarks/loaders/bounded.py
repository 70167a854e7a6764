"""Text files of which no more is held than a benchmark can need: compressed ones are not unpacked without an end.

A megabyte of xz can hold 4 GB, of which one line is all. A file that unpacks to more than RATIO times its own size is
refused once MOST_FREE bytes came out of it (tables and questions pack by 3 to 40), and so is one line, or one record of
JSON, of more than MAX_LINE characters.
"""

from __future__ import annotations

import io
import lzma
from typing import TYPE_CHECKING, cast

from ouro.benchmarks.items import BenchmarkFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path
    from typing import TextIO

MAX_LINE = 2**26  # characters
RATIO = 500
MOST_FREE = 2**26  # bytes
_XZ = b"\xfd7zXZ\x00"
_OTHERS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


class _Unpacked(io.RawIOBase):
    """What an xz file holds. Raises BenchmarkFileError for far more than its own size."""

    def __init__(self, path: Path, raw: BufferedReader) -> None:
        self._path, self._raw, self._n_bytes = path, raw, 0
        self._file = lzma.LZMAFile(raw)  # noqa: SIM115 - it holds nothing but `raw`

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._file.read1(len(view))
        view[: len(data)] = data
        self._n_bytes += len(data)
        if self._n_bytes > max(MOST_FREE, RATIO * self._raw.tell()):
            raise BenchmarkFileError(
                f"{self._path}: unpacks to more than {RATIO} times its size, which no benchmark does; download it "
                "again, or unpack it yourself"
            )
        return len(data)


def open_text(path: Path, raw: BufferedReader) -> TextIO:
    """UTF-8 text, unpacked if it is xz. Raises BenchmarkFileError for what is packed otherwise, at once."""
    start = raw.peek(len(_XZ))
    for sign, name in _OTHERS.items():
        if start.startswith(sign):
            raise BenchmarkFileError(f"{path}: packed with {name}, expected text or xz: unpack it")
    source = io.BufferedReader(_Unpacked(path, raw), 2**16) if start.startswith(_XZ) else raw
    return io.TextIOWrapper(source, encoding="utf-8-sig", newline="\n")


def lines_of(path: Path, stream: TextIO) -> Iterator[str]:
    """The lines with their ends. Raises BenchmarkFileError for one of more than MAX_LINE characters."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BenchmarkFileError(f"{path} line {number}: over {MAX_LINE} characters; is it the right file?")
        yield line
