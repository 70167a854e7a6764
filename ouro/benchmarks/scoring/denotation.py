r"""Denotation accuracy: WikiTableQuestions (WTQ).

Source: `evaluator.py` of WikiTableQuestions (Pasupat and Liang 2015), which `WtqScorer` of the DUE evaluator wraps.
Every item, predicted or target, is a number, a date (`yyyy-mm-dd`, unknown parts as `xx`; a year alone is a number) or
a text. The lists without duplicates must be of equal length and each target must match some prediction: as normalised
text, as numbers within 1e-6, or as dates equal in all three parts. A target is read by its canonical form where the
file has one (targetCanon): `12,500` with canon `12500.0` accepts `12500`; without, as in DUE's files and so in the
numbers of DocOwl and UReader, it does not. `12 goals` is never `12`.

Deviations: the evaluator reads predictions as items separated by tabs; `split_items` splits a reply at `|`, as DUE
joins several values. A target may hold that sign itself (`\p` in the file): parts of the reply that together are such a
target are one item, and so is one that is written with `\p`. Where the evaluator stops at a number too large for a
float, it is no match.
Others: DocOwl scores a whole reply as one item, so that several targets can never be right.
Quirks kept: one final period goes, after citations were removed (`12[1].` keeps its citation); a number within 1e-6 of
a whole one is cut, not rounded, to it; which of two equal duplicates is kept decides about its text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Date = tuple[int, int, int]

_TOLERANCE = 1e-6
_MARKS = "•♦†‡*#+"
_QUOTES = str.maketrans(dict.fromkeys("‘’´`", "'") | dict.fromkeys("“”", '"') | dict.fromkeys("‐‑‒–—−", "-"))
_UNKNOWN = -1


class Value(NamedTuple):
    """One item: its normalised text, and what it denotes (None for a text)."""

    text: str
    number: int | float | None = None
    date: Date | None = None


def split_items(reply: str, targets: Iterable[str] = (), form: Callable[[str], str] | None = None) -> list[str]:
    """The items of a reply, between `|`; never split at commas, which stand inside numbers and names.

    Nor inside one of `targets`: adjacent parts that together are a target with `|` are one item, the longest first.
    `form`: in which two texts are the same, by default `normalise`.
    """
    form = form or normalise
    items = [item.strip() for item in reply.split("|")]
    for target in sorted({t for t in targets if "|" in t}, key=lambda t: (-t.count("|"), t)):
        wanted, at = _parts(target, form), 0
        while at < len(items):
            if form(items[at]) == form(_escape(target)):
                items[at] = target
            elif _parts("|".join(items[at : at + len(wanted)]), form) == wanted:
                items[at : at + len(wanted)] = [target]
            at += 1
    return items


def _parts(text: str, form: Callable[[str], str]) -> list[str]:
    """What stands between `|`."""
    return [form(part.strip()) for part in text.split("|")]


def _escape(target: str) -> str:
    """As the files of WTQ write it."""
    return target.replace("\\", "\\\\").replace("\n", "\\n").replace("|", "\\p")


def same_denotation(predicted: Sequence[str], targets: Sequence[str], canon: Sequence[str] = ()) -> bool:
    """Whether the predicted items are the targets, in any order.

    `canon` holds a canonical form for each target, "" where there is none; raises ValueError if it is of other length.
    The targets predicted word for word are right, unless two of them share a canonical form: then they are one target,
    but two predictions.
    """
    if canon and len(canon) != len(targets):
        raise ValueError(
            f"denotation: got {len(canon)} canonical forms, expected one for each of {len(targets)} targets"
        )
    target_values = _distinct(read_value(*pair) for pair in zip(targets, canon or [""] * len(targets), strict=True))
    predicted_values = _distinct(read_value(item) for item in predicted)
    return len(predicted_values) == len(target_values) and all(
        any(_match(w, g) for g in predicted_values) for w in target_values
    )


def read_value(text: str, canon: str = "") -> Value:
    """The item that a text stands for, read from its canonical form where there is one."""
    written = canon or text
    number, date = _number(written), None
    if number is None:
        date = _date(written)
        if date is not None and date[1:] == (_UNKNOWN, _UNKNOWN):
            number, date = date[0], None
    return Value(normalise(text), _whole(number), date)


def _distinct(values: Iterable[Value]) -> list[Value]:
    """Numbers are the same by amount, dates by their parts, texts by normalised text; the first is kept."""
    by_denotation: dict[object, Value] = {}
    for value in values:
        denotation = value.text if value.number is None and value.date is None else (value.number, value.date)
        by_denotation.setdefault(denotation, value)
    return list(by_denotation.values())


def _match(a: Value, b: Value) -> bool:
    if a.text == b.text:
        return True
    if a.number is not None and b.number is not None:
        return _close(a.number, b.number)
    return a.date is not None and a.date == b.date


def _close(a: int | float, b: int | float) -> bool:
    try:
        return abs(a - b) < _TOLERANCE
    except OverflowError:
        return False


def _whole(number: int | float | None) -> int | float | None:
    return int(number) if number is not None and abs(number - round(number)) < _TOLERANCE else number


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> Date | None:
    parts = text.lower().split("-")
    if len(parts) != 3:
        return None
    try:
        year = _UNKNOWN if parts[0] in ("xx", "xxxx") else int(parts[0])
        month, day = (_UNKNOWN if part == "xx" else int(part) for part in parts[1:])
    except ValueError:
        return None
    has_known_part = (year, month, day) != (_UNKNOWN, _UNKNOWN, _UNKNOWN)
    valid = (month == _UNKNOWN or 1 <= month <= 12) and (day == _UNKNOWN or 1 <= day <= 31)
    return (year, month, day) if has_known_part and valid else None


def normalise(text: str) -> str:
    """Without accents, citations, details in brackets, enclosing quotes and a final period; lower case."""
    letters = (c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    text, before = "".join(letters).translate(_QUOTES), None
    while text != before:
        before = text
        text = _without_details(_without_citations(text.strip()).strip()).strip()
        if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
            text = text[1:-1]
    return " ".join(text.removesuffix(".").split()).lower().strip()


def _without_citations(text: str) -> str:
    """Cuts `[...]` and signs of footnotes off the end; a bracket that is all there is stays, unless it is a number."""
    end = len(text)
    while end:
        start = _citation(text, end)
        if start is None:
            break
        end = start
    return text[:end]


def _citation(text: str, end: int) -> int | None:
    """Where the citation that ends at `end` begins."""
    if text[end - 1] in _MARKS:
        return end - 1
    if text[end - 1] != "]":
        return None
    start = text.find("[", text.rfind("]", 0, end - 1) + 1, end)
    if start == 0 and not re.fullmatch(r"\d+", text[1 : end - 1]):
        start = text.find("[", 1, end)
    return start if start >= 0 else None


def _without_details(text: str) -> str:
    """Cuts ` (...)` off the end."""
    end = len(text)
    while end and text[end - 1] == ")":
        start = text.find(" (", text.rfind(")", 0, end - 1) + 1, end)
        if start <= 0:
            break
        end = start
    return text[:end]
