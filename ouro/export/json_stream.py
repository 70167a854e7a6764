"""JSON files with long arrays, written row by row, so that memory does not grow with a collection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


def dump_row(value: Any) -> str:
    """A value as strict JSON in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class JsonArray:
    """A file of rows that are joined by commas; `path` is a part of what becomes a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def add(self, row: Any) -> None:
        self._file.write((",\n" if self.rows else "") + dump_row(row))
        self.rows += 1

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def join_arrays(path: Path, arrays: dict[str, JsonArray], more: dict[str, Any]) -> None:
    """One JSON object of the arrays, each under its key, and of `more`; the parts are removed."""
    with path.open("wb") as out:
        out.write(b"{")
        for number, (key, array) in enumerate(arrays.items()):
            array.close()
            out.write((",\n" if number else "\n").encode() + dump_row(key).encode() + b": [\n")
            with array.path.open("rb") as part:
                shutil.copyfileobj(part, out)
            out.write(b"\n]")
            array.path.unlink()
        for key, value in more.items():
            out.write(f",\n{dump_row(key)}: {dump_row(value)}".encode())
        out.write(b"\n}\n")


def wrap_array(path: Path, array: JsonArray) -> None:
    """One JSON array of the rows; the part is removed."""
    array.close()
    with path.open("wb") as out:
        out.write(b"[\n")
        with array.path.open("rb") as part:
            shutil.copyfileobj(part, out)
        out.write(b"\n]\n")
    array.path.unlink()
