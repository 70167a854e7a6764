"""Predictions of any model, as JSON Lines, matched with a benchmark's questions by their ids.

    {"question_id": 7000, "prediction": "no"}

The id stands under question_id, image_id (captions), questionId, id or image (VizWiz); the reply under one key of the
file, which ouro.benchmarks.reply_keys recognises. Ids are compared as text. Both sides may hold millions: they meet in
a temporary SQLite file, in memory only one line is.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.reply_keys import WrittenNumber, encodable, reply_key, reply_text

IDS = ("question_id", "image_id", "questionId", "id", "image")
MAX_LISTED = 10  # ids in an error


class Predictions:
    """Replies by id, on disk."""

    def __init__(self, store: sqlite3.Connection) -> None:
        self._store = store
        self.rejected: Counter[str] = Counter()

    def reply(self, item_id: str) -> str | None:
        """The reply to a question; None if there is none. The question counts as asked."""
        row = self._store.execute("UPDATE replies SET asked = 1 WHERE id = ? RETURNING reply", (item_id,)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def unknown(self) -> tuple[int, list[str]]:
        """Ids that no question had: how many, and the first of them."""
        count = self._store.execute("SELECT count(*) FROM replies WHERE asked = 0").fetchone()[0]
        rows = self._store.execute("SELECT id FROM replies WHERE asked = 0 ORDER BY line LIMIT ?", (MAX_LISTED,))
        return int(count), [str(row[0]) for row in rows]

    def __len__(self) -> int:
        return int(self._store.execute("SELECT count(*) FROM replies").fetchone()[0])


@contextmanager
def read_predictions(
    path: Path, progress: Callable[[int], None] = lambda n: None, key: str = ""
) -> Generator[Predictions]:
    """All predictions of a file; `progress` gets the number of bytes read, now and then. `key`: that of the replies.

    Raises BenchmarkFileError for a file that is missing, empty, no JSON Lines or not UTF-8, a line without id or reply,
    or with several keys that could be the reply, and ids that stand twice (which ones). A reply of null (NaN) is
    counted in `rejected`, and its question has none.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = sqlite3.connect(Path(folder) / "predictions.db", isolation_level=None)
        try:
            store.execute("PRAGMA journal_mode = OFF")
            store.execute("PRAGMA synchronous = OFF")
            store.execute("CREATE TABLE replies (id TEXT PRIMARY KEY, reply TEXT, line INT, asked INT) WITHOUT ROWID")
            store.execute("BEGIN")
            predictions = Predictions(store)
            _fill(predictions, store, path, progress, key)
            yield predictions
        finally:
            store.close()


def _fill(
    predictions: Predictions, store: sqlite3.Connection, path: Path, progress: Callable[[int], None], key: str
) -> None:
    twice: list[str] = []
    repeated = 0
    for line, item_id, reply in _records(path, progress, key):
        if reply is None:
            predictions.rejected["null_prediction"] += 1
        done = store.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, 0)", (item_id, reply, line))
        if not done.rowcount:
            repeated += 1
            twice += [item_id] if len(twice) < MAX_LISTED else []
    if repeated:
        raise BenchmarkFileError(f"{path}: {listed('id', repeated, twice)} predicted more than once; keep one of each")
    if not len(predictions):
        raise BenchmarkFileError(f"{path}: got no prediction, expected one JSON object a line")


def listed(what: str, count: int, examples: Iterable[str]) -> str:
    """ "12 ids (a, b, ...)" """
    names = list(examples)
    return f"{count} {what}{'s' if count != 1 else ''} ({', '.join(names)}{', ...' if count > len(names) else ''})"


def _records(path: Path, progress: Callable[[int], None], key: str) -> Iterator[tuple[int, str, str | None]]:
    asked, first = bool(key), ""
    for number, text in _lines(path, progress):
        where = f"{path} line {number}"
        try:
            value: Any = json.loads(text, parse_float=WrittenNumber)
        except (ValueError, RecursionError) as error:
            _refuse_list(path, number, text)
            raise BenchmarkFileError(f"{where}: not valid JSON ({error}); expected one object a line") from error
        _refuse_list(path, number, text)
        if not isinstance(value, dict):
            raise BenchmarkFileError(f"{where}: got {type(value).__name__}, expected an object with an id and a reply")
        record = cast("dict[str, Any]", value)
        own = key if asked else reply_key(where, record)
        if not asked and key and own and own != key:
            raise BenchmarkFileError(
                f"{where}: its reply stands under {own}, that of {first} under {key}; expected one key for all. Fix: "
                "--reply-key, or one name in all lines"
            )
        key, first = key or own, first or f"line {number}"
        yield number, *_fields(where, record, key if asked else own)


def _refuse_list(path: Path, number: int, text: str) -> None:
    """A list of all predictions, in one line or in many."""
    if number == 1 and text.startswith("["):
        raise BenchmarkFileError(
            f"{path} line 1: got a JSON list, expected one object a line. "
            f"Fix: jq -c '.[]' {path.name} > predictions.jsonl"
        )


def _lines(path: Path, progress: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise BenchmarkFileError(
            f"{path}: got {'a folder' if path.is_dir() else 'nothing'}, expected a JSON Lines file"
        )
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            progress(len(raw))
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise BenchmarkFileError(
                    f"{path} line {number}: not UTF-8 ({error.reason}); save it as UTF-8"
                ) from error
            if text:
                yield number, text


def _fields(where: str, value: dict[str, Any], key: str) -> tuple[str, str | None]:
    id_key = next((name for name in IDS if name in value), None)
    if id_key is None or key not in value:
        keys = ", ".join(list(value)[:MAX_LISTED]) or "none"
        raise BenchmarkFileError(
            f"{where}: got the keys {keys}; expected an id ({' or '.join(IDS[:2])}) and a reply ({key or 'prediction'})"
        )
    item_id = value[id_key]
    if isinstance(item_id, bool) or not isinstance(item_id, (str, int)):
        raise BenchmarkFileError(f"{where}: {id_key} is {item_id!r}, expected text or a whole number")
    return encodable(str(item_id)), reply_text(where, key, value[key])
