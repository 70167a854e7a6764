"""Under which key of a record its reply stands, and what the reply is as text.

Result files call it prediction, answer, caption, text, response, pred, output, model_answer, and more; dumps of a model
often hold the ground truth under `answer` beside it. So `prediction`, the name of this project's own files, is the
reply wherever it stands with nothing but names of a truth; any other two names that could be it are an error, never a
choice. All records of a file have their reply under one key.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

from ouro.benchmarks.items import BenchmarkFileError

OWN = "prediction"
MAY_BE_TRUTH = frozenset({"answer", "answers", "caption", "captions", "text"})
_PREDICTED = frozenset("prediction predictions predicted predict pred preds".split())
_REPLY = _PREDICTED | frozenset(
    "response responses output outputs reply replies generation generations generated completion completions "
    "hypothesis hypotheses hyp result answer answers caption captions text content resp resps".split()
)
_TRUTH = frozenset("gt gold golden ground truth true target targets label labels reference references ref refs".split())
_ABOUT = frozenset(  # a key with such a word is about something else: answer_type, output_tokens
    "correct expected human id ids idx index question prompt input query instruction type types kind time latency "
    "seconds tokens token length len count score scores prob probs logprob logprobs confidence path file url reasoning "
    "thinking thought thoughts rationale explanation cot source ocr image picture".split()
)
_BESIDE = (
    _ABOUT
    | _TRUTH
    | frozenset(  # what stands in result files beside the reply
        "category split dataset benchmark model metadata meta subject topic task hint context choice choices option "
        "options name version date created finish reason stop seed temperature language lang doc document level grade "
        "difficulty system role host user".split()
    )
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_HALVES = re.compile("[\ud800-\udfff]")
_TEXT_PARTS = ("text", "output_text")
MAX_ZEROS = 20  # 1e400 is not written out


class WrittenNumber(float):
    """A number of JSON, with the digits that the file has."""

    written: str

    def __new__(cls, written: str) -> WrittenNumber:
        number = super().__new__(cls, written)
        number.written = written
        return number


def candidates(record: dict[str, Any]) -> list[str]:
    """The keys under which the reply could stand: by their names; beside one that may hold the ground truth alone, also
    texts under names that say nothing (qwen2_vl)."""
    named = [key for key in record if _could_be(key)]
    named = [key for key in named if not isinstance(record[key], list) or _is_parts(record[key])] or named
    if named and set(named) <= MAY_BE_TRUTH:
        named += [key for key, value in record.items() if isinstance(value, str) and not _is_known(key)]
    return named


def _is_known(key: str) -> bool:
    """Whether a key's name says what stands there."""
    words = _words(key)
    return bool(words & (_ABOUT | _TRUTH | _REPLY)) or (bool(words) and words <= _BESIDE)


def _could_be(key: str) -> bool:
    words = _words(key)
    return bool(words & _REPLY) and not words & (_ABOUT if words & _PREDICTED else _ABOUT | _TRUTH)


def _words(key: str) -> set[str]:
    return {word.lower() for word in _WORDS.findall(key)}


def reply_key(where: str, record: dict[str, Any]) -> str:
    """The key of the reply; "" where there is none. Raises BenchmarkFileError for several."""
    keys = candidates(record)
    if len(keys) > 1 and OWN in keys and set(keys) - {OWN} <= MAY_BE_TRUTH:
        return OWN
    if len(keys) > 1:
        raise BenchmarkFileError(
            f"{where}: {', '.join(keys)} could each be the reply, and one of them may be the ground truth. Fix: name "
            f"it, e.g. --reply-key {next((key for key in keys if key not in MAY_BE_TRUTH), keys[0])}"
        )
    return keys[0] if keys else ""


def reply_text(where: str, key: str, value: Any) -> str | None:
    """A reply as text, None for null (NaN). A number is as people write it: 100 for 100.0, the digits of the file else.

    A message with content, and content as a list of parts, are its text; reasoning has a part or a key of its own.
    Raises BenchmarkFileError for anything else.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    if isinstance(value, dict) and "content" in value:
        return reply_text(where, f"{key}.content", cast("dict[str, Any]", value)["content"])
    if _is_parts(value):
        parts = cast("list[dict[str, Any]]", value)
        return encodable("".join(str(part["text"]) for part in parts if part.get("type") in _TEXT_PARTS))
    _refuse(where, key, value)


def _refuse(where: str, key: str, value: Any) -> NoReturn:
    raise BenchmarkFileError(f"{where}: {key} is a {type(value).__name__}, expected text")


def _is_parts(value: Any) -> bool:
    """Content as servers write it: [{"type": "text", "text": "yes"}, ...]"""
    return (
        isinstance(value, list)
        and bool(cast("list[Any]", value))
        and all(isinstance(part, dict) and "type" in part for part in cast("list[Any]", value))
    )


def number_text(number: int | float) -> str:
    """A number as people write it: 100 for 100.0 or 1e2; 12.50 where that is what the file has."""
    if isinstance(number, int):
        return str(number)
    written = number.written if isinstance(number, WrittenNumber) else repr(number)
    try:
        value = Decimal(written)
    except InvalidOperation:
        return written
    if not value.is_finite() or abs(value.adjusted()) > MAX_ZEROS:
        return written
    return str(int(value)) if value == value.to_integral_value() else f"{value:f}"


def encodable(text: str) -> str:
    """Half surrogate pairs, which JSON can spell and UTF-8 cannot, become U+FFFD: a reply cut inside an emoji."""
    return _HALVES.sub("\ufffd", text)
