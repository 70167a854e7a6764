"""A JSON document as a stream of its records, so that a file of gigabytes is never held whole.

Three shapes cover the benchmarks: a list of records, an object with records in lists, an object of records by id:

    [{"image": "a.jpg"}, ...]      {"info": {}, "data": [{"questionId": 7}, ...]}      {"20100": {"answer": "yes"}, ...}

Quirks: NaN is let through as Python's json does, for the reader of numbers to refuse; a document is only known to be
well-formed when its last record has been read.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.bounded import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

CHUNK = 1 << 16  # characters
LONGEST_TOKEN = 16  # characters of a number, a literal or an escape that the end of a chunk can cut
NUMBER_GOES_ON = 3  # characters: a chunk that ends in "1", "1.", "1e" or "1e+" reads as 1
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class Entry(NamedTuple):
    """One record: where it stands, in words; the key of the list or object that holds it ("" for a plain list)."""

    path: Path | str
    place: str
    section: str
    value: Any

    @property
    def where(self) -> str:
        return f"{self.path}{self.place}"

    @property
    def name(self) -> str:
        """Where it stands, without the folder of its file."""
        return f"{PurePath(self.path).name}{self.place}"

    def inner(self, step: str, value: Any) -> Entry:
        """A record inside of it."""
        return self._replace(place=self.place + step, value=value)


class JsonStream:
    """Reads values and punctuation from a text stream, a chunk at a time."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self.path, self.stream = path, stream
        self.text, self.at, self.line = "", 0, 1

    def entries(self) -> Iterator[Entry]:
        """The records of the document, in order."""
        opening = self.peek()
        if opening == "[":
            yield from self._list("")
        elif opening == "{":
            yield from self._object()
        else:
            raise self.broken(f"it starts with {opening!r}, expected a list or an object")
        if self.peek():
            raise self.broken("more text after the end of the document; are these JSON lines, or two files in one?")

    def _object(self) -> Iterator[Entry]:
        self._take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self.broken(f"key {key!r}, expected a string")
            self._take(":")
            if self.peek() == "[":
                yield from self._list(key)
            else:
                yield Entry(self.path, f": {key!r}", key, self.value())
            self._separator("}")
        self._take("}")

    def _list(self, section: str) -> Iterator[Entry]:
        self._take("[")
        number = 0
        while self.peek() != "]":
            yield Entry(self.path, f": {section}[{number}]", section, self.value())
            number += 1
            self._separator("]")
        self._take("]")

    def _separator(self, closing: str) -> None:
        if self.peek() == ",":
            self._take(",")
            if self.peek() == closing:
                raise self.broken(f"a comma before {closing!r}")
        elif self.peek() != closing:
            raise self.broken(f"{self.peek() or 'the end of the file'!r}, expected ',' or {closing!r}")

    def _take(self, expected: str) -> None:
        if self.peek() != expected:
            raise self.broken(f"{self.peek() or 'the end of the file'!r}, expected {expected!r}")
        self.at += 1

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The next whole value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if not self._cut(error) or not self._more():
                    raise self.broken(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of levels
                raise self.broken(str(error)) from error
            else:
                if end + NUMBER_GOES_ON < len(self.text) or not self._more():
                    self.at = end
                    return value

    def _cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the chunk may end in the middle of a value: then more text can mend it."""
        return error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - LONGEST_TOKEN

    def _more(self) -> bool:
        """Drop what has been read and append at least as much as is left, so that long values cost no quadratic time.

        False, and nothing changed, at the end of the file.
        """
        if len(self.text) - self.at > MAX_LINE:
            raise self.broken(f"one value of over {MAX_LINE} characters")
        added = self.stream.read(max(CHUNK, len(self.text) - self.at))
        if added:
            self.line += self.text.count("\n", 0, self.at)
            self.text, self.at = self.text[self.at :] + added, 0
        return bool(added)

    def broken(self, what: str, position: int | None = None) -> BenchmarkFileError:
        line = self.line + self.text.count("\n", 0, self.at if position is None else position)
        return BenchmarkFileError(f"{self.path} line {line}: not valid JSON: {what}; download the file again")
