"""Reader of benchmarks in the VQAv2 two-file format (VQAv2, OKVQA and the nano benchmark are kept so).

One real question and its annotation (Goyal et al. 2017, `v2_OpenEnded_mscoco_val2014_questions.json` and
`v2_mscoco_val2014_annotations.json`):

    {"image_id": 7, "question": "Is it open?", "question_id": 7000}
    {"question_id": 7000, "image_id": 7, "question_type": "is it", "answer_type": "yes/no",
     "multiple_choice_answer": "yes", "answers": [{"answer_id": 1, "answer": "yes", ...}, ...10]}

Quirks: COCO's image ids are numbers, ours are strings; both become strings. Each question has ten answers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ouro.benchmarks.items import BenchmarkFileError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image, with its annotators' answers as they stand in the file."""

    question_id: int
    image_id: str
    question: str
    answers: tuple[str, ...]
    question_type: str


def read_vqa(questions: Path, annotations: Path) -> list[Question]:
    """Join the two files on question_id, in the order of the question file.

    Raises BenchmarkFileError when a file is missing or malformed, an id stands twice or in one file only,
    the two files disagree about an image, or a question has no answer.
    """
    asked = _by_id(questions, "questions")
    answered = _by_id(annotations, "annotations")
    for missing in asked.keys() - answered.keys():
        raise BenchmarkFileError(f"{annotations}: question_id {missing} of {questions} has no annotation")
    for extra in answered.keys() - asked.keys():
        raise BenchmarkFileError(f"{questions}: question_id {extra} of {annotations} is not asked here")
    return [_join(questions, annotations, asked[i], answered[i]) for i in asked]


def _by_id(path: Path, key: str) -> dict[int, dict[str, Any]]:
    table: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(_entries(path, key)):
        where = f"{path}: {key}[{position}]"
        if not isinstance(entry, dict):
            raise BenchmarkFileError(f"{where}: got {type(entry).__name__}, expected an object")
        entry = cast("dict[str, Any]", entry)
        question_id = entry.get("question_id")
        if not isinstance(question_id, int) or isinstance(question_id, bool):
            raise BenchmarkFileError(f"{where}: question_id is {question_id!r}, expected an integer")
        if question_id in table:
            raise BenchmarkFileError(f"{path}: question_id {question_id} stands twice, expected once")
        table[question_id] = entry
    return table


def _entries(path: Path, key: str) -> list[Any]:
    if not path.is_file():
        raise BenchmarkFileError(f"{path}: not found; expected a VQAv2 file with a list of {key!r}")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchmarkFileError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise BenchmarkFileError(f"{path}: got a {type(content).__name__}, expected an object with {key!r}")
    entries = cast("dict[str, Any]", content).get(key)
    if not isinstance(entries, list):
        got = ", ".join(sorted(map(str, cast("dict[str, Any]", content)))) or "no key at all"
        raise BenchmarkFileError(f"{path}: no list {key!r} (found: {got}); are the two files swapped?")
    return cast("list[Any]", entries)


def _join(questions: Path, annotations: Path, asked: dict[str, Any], answered: dict[str, Any]) -> Question:
    question_id = int(asked["question_id"])
    image_id = _image_id(questions, question_id, asked)
    other = _image_id(annotations, question_id, answered)
    if image_id != other:
        raise BenchmarkFileError(
            f"{annotations}: question_id {question_id} has image {other!r}, {questions} says {image_id!r}"
        )
    text = asked.get("question")
    if not isinstance(text, str) or not text.strip():
        raise BenchmarkFileError(f"{questions}: question_id {question_id}: question is {text!r}, expected text")
    kind = answered.get("question_type", "all")
    if not isinstance(kind, str) or not kind:
        raise BenchmarkFileError(f"{annotations}: question_id {question_id}: question_type is {kind!r}, expected text")
    return Question(question_id, image_id, text, _answers(annotations, question_id, answered), kind)


def _image_id(path: Path, question_id: int, entry: dict[str, Any]) -> str:
    image_id = entry.get("image_id")
    if isinstance(image_id, bool) or not isinstance(image_id, (int, str)) or image_id == "":
        raise BenchmarkFileError(
            f"{path}: question_id {question_id}: image_id is {image_id!r}, expected a number or a string"
        )
    return str(image_id)


def _answers(path: Path, question_id: int, entry: dict[str, Any]) -> tuple[str, ...]:
    where = f"{path}: question_id {question_id}"
    answers = entry.get("answers")
    if not isinstance(answers, list) or not answers:
        raise BenchmarkFileError(f"{where}: answers is {answers!r}, expected a list of ten answers")
    texts: list[str] = []
    for answer in cast("list[Any]", answers):
        text = cast("dict[str, Any]", answer).get("answer") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise BenchmarkFileError(f'{where}: answer is {answer!r}, expected {{"answer": "some text"}}')
        texts.append(text)
    return tuple(texts)
