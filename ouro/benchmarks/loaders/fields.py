"""Fields of one record of a benchmark file, as text, lists, numbers or boxes, with errors that name the record.

A key that is missing raises BenchmarkFileError: the file has another shape. A value that is null, where a test split
hides its answers, raises Unusable: this record cannot be scored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.loaders.reading import Unusable
from ouro.benchmarks.reply_keys import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.benchmarks.loaders.json_stream import Entry

    Box = tuple[float, float, float, float]

ANNOTATORS = 10  # of VQA: its accuracy leaves one out and is defined for ten
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def record(entry: Entry) -> dict[str, Any]:
    """The record itself. Raises BenchmarkFileError when it is no object."""
    if not isinstance(entry.value, dict):
        raise BenchmarkFileError(f"{entry.where}: got {entry.value!r:.80}, expected an object; is it another file?")
    return cast("dict[str, Any]", entry.value)


def field(entry: Entry, *names: str) -> Any:
    """The value of the first of these keys that the record has."""
    fields = record(entry)
    for name in names:
        if name in fields:
            return fields[name]
    keys = ", ".join(map(str, fields)) or "none"
    raise BenchmarkFileError(
        f"{entry.where}: no key {' or '.join(map(repr, names))} (keys: {keys:.300}); is it another benchmark's file, "
        "or a test split without answers?"
    )


def wrong(entry: Entry, name: str, value: object, expected: str) -> BenchmarkFileError:
    return BenchmarkFileError(f"{entry.where}: {name} is {value!r:.80}, expected {expected}; download the file again")


def text(entry: Entry, *names: str) -> str:
    """A string that is not blank. Raises Unusable (no_NAME) when it is null or blank."""
    value = field(entry, *names)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Unusable(f"no_{names[0]}", f"{names[0]} is {value!r}")
    if not isinstance(value, str):
        raise wrong(entry, names[0], value, "text")
    return value


def optional(entry: Entry, name: str) -> str:
    """A string, "" when the key is missing or null."""
    value = record(entry).get(name)
    return value if isinstance(value, str) else ""


def identity(entry: Entry, *names: str) -> str:
    """An id, number or string, as text."""
    value = field(entry, *names)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise wrong(entry, names[0], value, "an id: a number or a string")
    return str(value)


def scalar(entry: Entry, *names: str) -> str:
    """An answer that a file may hold as a number: 7 and 7.0 are "7". Raises Unusable (no_answer) when it is null."""
    value = field(entry, *names)
    if value is None:
        raise Unusable("no_answer", f"{names[0]} is null")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise wrong(entry, names[0], value, "a text or a number")
    return value if isinstance(value, str) else number_text(value)


def texts(entry: Entry, *names: str) -> tuple[str, ...]:
    """Answers: a list of strings, or of VQA's {"answer": string}; a lone string is a list of one.

    Raises Unusable (no_answer) when there is none, or one of them is null.
    """
    value = field(entry, *names)
    listed: object = [value] if isinstance(value, str) else value
    if listed is None or listed == []:
        raise Unusable("no_answer", f"{names[0]} is {value!r}")
    if not isinstance(listed, list):
        raise wrong(entry, names[0], value, "a list of texts")
    answers = tuple(_answer(entry, names[0], one) for one in cast("list[Any]", listed))
    if not any(map(str.strip, answers)):
        raise Unusable("no_answer", f"{names[0]} holds blanks only")
    return answers


def ten_texts(entry: Entry, name: str) -> tuple[str, ...]:
    """The answers of VQA's ten annotators. Raises Unusable (not_ten_answers) for another number."""
    answers = texts(entry, name)
    if len(answers) != ANNOTATORS:
        raise Unusable("not_ten_answers", f"{len(answers)} annotators answered, expected {ANNOTATORS}")
    return answers


def _answer(entry: Entry, name: str, value: Any) -> str:
    answer: Any = cast("dict[str, Any]", value).get("answer") if isinstance(value, dict) else value
    if answer is None:
        raise Unusable("no_answer", f"an answer among {name} is null")
    if not isinstance(answer, str):
        raise wrong(entry, name, value, "a list of texts")
    return answer


def strings(entry: Entry, name: str) -> tuple[str, ...]:
    """A list of strings or numbers, () when the key is missing or null."""
    value: Any = record(entry).get(name) or []
    if not isinstance(value, list):
        raise wrong(entry, name, value, "a list")
    return tuple(map(str, cast("list[Any]", value)))


def letter(entry: Entry, name: str, options: Sequence[str]) -> str:
    """A choice that a file holds as an index, as its letter. Raises Unusable (no_answer) when it is null."""
    value = scalar(entry, name)
    if not value.isdecimal() or int(value) >= len(options) or int(value) >= len(LETTERS):
        raise wrong(entry, name, value, f"the index of one of {len(options)} choices, from 0")
    return LETTERS[int(value)]


def numbers(entry: Entry, name: str, count: int) -> tuple[float, ...]:
    """`count` numbers. Raises Unusable (bad_box) when one of them is NaN or infinite."""
    value = field(entry, name)
    if value is None:
        raise Unusable("no_box", f"{name} is null")
    if not isinstance(value, list) or len(cast("list[Any]", value)) != count:
        raise wrong(entry, name, value, f"{count} numbers")
    listed = cast("list[Any]", value)
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in listed):
        raise wrong(entry, name, listed, f"{count} numbers")
    if not all(map(math.isfinite, listed)):
        raise Unusable("bad_box", f"{name} is {listed}: not finite")
    return tuple(map(float, listed))


def box_xyxy(entry: Entry, name: str) -> Box:
    """x1, y1, x2, y2. Raises Unusable (bad_box) when it holds no area."""
    x1, y1, x2, y2 = numbers(entry, name, 4)
    if x2 <= x1 or y2 <= y1:
        raise Unusable("bad_box", f"{name} {x1, y1, x2, y2} (x1, y1, x2, y2) holds no area")
    return x1, y1, x2, y2


def box_xywh(entry: Entry, name: str) -> Box:
    """x1, y1, x2, y2 of a box of COCO: x, y, width, height. Raises Unusable (bad_box) when it holds no area."""
    x, y, width, height = numbers(entry, name, 4)
    if width <= 0 or height <= 0:
        raise Unusable("bad_box", f"{name} {x, y, width, height} (x, y, width, height) holds no area")
    return x, y, x + width, y + height


def kind_from_name(name: str, kinds: Sequence[str]) -> str:
    """The split that a file's name holds, where its records have no field for it; "all" otherwise."""
    return next((kind for kind in kinds if kind.lower() in name.lower()), "all")
