"""Reading of benchmark files: JSON documents, JSON lines and tables, one record after the other, with errors that help.

What is wrong with a file as a whole (broken, another encoding, a key missing, an id twice) raises BenchmarkFileError,
which names the file, the record, what was expected and what to do. What is wrong with one record (no answer, no
picture, a box of NaN) makes it a `Rejected` with a reason, so that n_in == n_kept + n_rejected. A byte order mark is
skipped; any encoding but UTF-8 is refused; a file is recognised by what is in it, never by its name.
"""

from __future__ import annotations

import contextlib
import csv
import json
import lzma
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.bounded import lines_of, open_text
from ouro.benchmarks.loaders.json_stream import Entry, JsonStream
from ouro.core.errors import OuroError
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    ItemOrRejected = Item | Rejected

STAGE = "benchmark"
MAX_LISTED = 10  # ids in an error


class Unusable(OuroError):
    """One record that cannot be scored: a snake_case reason and a detail; the rest of the file is fine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


# ---- files -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path) -> Generator[TextIO]:
    """A UTF-8 text file, xz-compressed or not; errors of the file raise BenchmarkFileError."""
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing"
        raise BenchmarkFileError(f"{path}: got {got}, expected a file: correct the path, or download it")
    try:
        with path.open("rb") as raw, open_text(path, raw) as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise BenchmarkFileError(
            f"{path}: not UTF-8 ({error.reason}: {error.object[error.start : error.start + 1]!r}); convert it to "
            "UTF-8, or download the original file"
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise BenchmarkFileError(f"{path}: broken xz file ({error}); download it again") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without line ends. Raises BenchmarkFileError for an empty file."""
    number = 0
    with opened(path) as stream:
        for number, line in enumerate(lines_of(path, stream), start=1):
            yield number, line.rstrip("\r\n")
    if not number:
        raise _empty_error(path)


def _empty_error(path: Path) -> BenchmarkFileError:
    return BenchmarkFileError(f"{path}: the file is empty; download it again")


def document(path: Path) -> Iterator[Entry]:
    """The records of a JSON document."""
    with opened(path) as stream:
        reader = JsonStream(path, stream)
        if not reader.peek():
            raise _empty_error(path)
        yield from reader.entries()


def section(path: Path, name: str) -> Iterator[Entry]:
    """The records that a JSON document holds in the list `name` ("" when it is a list itself)."""
    seen: dict[str, None] = {}
    for entry in document(path):
        seen.setdefault(entry.section)
        if entry.section == name:
            yield entry
    if name not in seen:
        expected = f"in a list {name!r}" if name else "in a plain list"
        sections = ", ".join(s or "a plain list" for s in list(seen)[:MAX_LISTED]) or "nothing"
        raise BenchmarkFileError(
            f"{path}: expected records {expected}, found {sections}; is it another benchmark's file?"
        )


def which_section(path: Path, names: Sequence[str]) -> str:
    """The first of the lists `names` that a document holds: this distinguishes two files of one benchmark."""
    seen: dict[str, None] = {}
    for entry in document(path):
        if entry.section in names:
            return entry.section
        seen.setdefault(entry.section)
    sections = ", ".join(s or "a plain list" for s in list(seen)[:MAX_LISTED]) or "nothing"
    raise BenchmarkFileError(f"{path}: expected a list {' or '.join(map(repr, names))}, found {sections}")


def records(path: Path) -> Iterator[Entry]:
    """The records of JSON lines, one object a line, or of a plain JSON list."""
    with opened(path) as stream:
        first = JsonStream(path, stream).peek()
    if first == "[":
        yield from section(path, "")
        return
    for number, line in numbered_lines(path):
        if line.strip():
            yield Entry(path, f" line {number}", "", _parse_line(path, number, line))


def _parse_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BenchmarkFileError(
            f"{path} line {number}: not valid JSON ({error}); expected JSON lines, one object a line: download it again"
        ) from error


def table(path: Path) -> Iterator[Entry]:
    """The rows of a tab-separated table with a header, fields taken as they stand (no quotes)."""
    lines = ((n, line.split("\t")) for n, line in numbered_lines(path) if line)
    return _rows(path, lines)


def comma_table(path: Path) -> Iterator[Entry]:
    """The rows of a CSV table with a header; quoted fields may hold line breaks."""
    with opened(path) as stream:
        reader = csv.reader(lines_of(path, stream), strict=True)
        try:
            yield from _rows(path, ((reader.line_num, fields) for fields in reader if fields))
        except csv.Error as error:
            raise BenchmarkFileError(f"{path} line {reader.line_num}: broken CSV ({error})") from error


def _rows(path: Path, lines: Iterator[tuple[int, list[str]]]) -> Iterator[Entry]:
    _, header = next(lines, (0, []))
    if not header:
        raise _empty_error(path)
    for number, fields in lines:
        entry = Entry(path, f" line {number}", "", dict(zip(header, fields, strict=False)))
        if len(fields) != len(header):
            raise BenchmarkFileError(
                f"{entry.where}: got {len(fields)} fields, expected {len(header)} ({', '.join(header)})"
            )
        yield entry


# ---- records -> items ------------------------------------------------------------------------------


def each(entries: Iterable[Entry], make: Callable[[Entry], Item]) -> Iterator[ItemOrRejected]:
    """One item or rejection for each record."""
    for entry in entries:
        try:
            yield make(entry)
        except Unusable as flaw:
            yield rejected(entry, flaw)


def rejected(entry: Entry, flaw: Unusable) -> Rejected:
    return Rejected(STAGE, entry.name, flaw.reason, flaw.detail)


def checked(results: Iterable[ItemOrRejected], paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """The items of a loader, checked as they are yielded: every id once, at least one item."""
    ids: set[str] = set()
    reasons: Counter[str] = Counter()
    stream = iter(results)
    for record in stream:
        if isinstance(record, Rejected):
            reasons[record.reason] += 1
        elif record.item_id in ids:
            raise _duplicates_error(ids, chain([record], stream), paths)
        else:
            ids.add(record.item_id)
        yield record
    if not ids:
        raise _nothing_error(reasons, paths)


def _duplicates_error(ids: set[str], rest: Iterable[ItemOrRejected], paths: Sequence[Path]) -> BenchmarkFileError:
    duplicates: dict[str, None] = {}
    for record in rest:
        if isinstance(record, Item):
            if record.item_id in ids:
                duplicates.setdefault(record.item_id)
            ids.add(record.item_id)
    examples = ", ".join(list(duplicates)[:MAX_LISTED]) + (", ..." if len(duplicates) > MAX_LISTED else "")
    return BenchmarkFileError(
        f"{named(paths)}: {len(duplicates)} ids stand more than once, expected once: {examples}; download the file "
        "again, or give each file once"
    )


def _nothing_error(reasons: Counter[str], paths: Sequence[Path]) -> BenchmarkFileError:
    counts = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
    if not counts:
        return BenchmarkFileError(f"{named(paths)}: no record, expected at least one; download the file again")
    return BenchmarkFileError(
        f"{named(paths)}: no record can be scored ({counts}); is it a test split whose answers are not public? Take "
        "the split that the benchmark names"
    )


def named(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "no file"


def expect(paths: Sequence[Path], most: int, what: str, least: int = 0) -> None:
    """The right number of files. Raises BenchmarkFileError."""
    if not (least or most) <= len(paths) <= most:
        raise BenchmarkFileError(f"got {len(paths)} files ({named(paths)}), expected {what}")
