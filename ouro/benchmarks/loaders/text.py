"""Scene text-centric VQA (OURO, table 3): TextVQA, AI2D, ST-VQA, EST-VQA.

TextVQA (Singh et al. 2019), TextVQA_0.5.1_val.json:

    {"data": [{"question_id": 7, "question": "what does the sign say?", "image_id": "00ab", "answers":
     ["stop", ...10]}]}

ST-VQA (Biten et al. 2019), train_task_3.json or test_task_3.json:

    {"data": [{"question_id": 7, "question": "How many lives?", "file_path": "coco-text/x.jpg", "answers": ["nine"]}]}

EST-VQA (Wang et al. 2020), a list of questions, or of pictures with questions:

    [{"question_id": 7, "image": "img_7.jpg", "question": "Which cafe?", "answer": "golden cafe",
     "evidence": ["10", "10", ...8]}]
    [{"image": "img_7.jpg", "annotation": [{"question": "Which cafe?", "answer": "golden cafe", "evidence": [...]}]}]

AI2D (Kembhavi et al. 2016), a folder of questions/7.png.json and ai2d_test_ids.csv, one picture's number a line:

    {"imageName": "7.png", "questions": {"What eats the hawk?": {"abcLabel": false, "correctAnswer": 1,
     "answerTexts": ["a fox", "nothing", "grass", "a mouse"], "questionId": "7.png-0"}}}

Quirks: TextVQA's pictures are <image_id>.jpg. A question of EST-VQA is Chinese when it holds a Han character; the
evidence (a quadrangle) is not read: accuracy is scored without it. AI2D's file of ids names pictures, not questions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import (
    field,
    identity,
    letter,
    optional,
    record,
    strings,
    ten_texts,
    text,
    texts,
    wrong,
)
from ouro.benchmarks.loaders.json_stream import Entry
from ouro.benchmarks.loaders.reading import (
    MAX_LISTED,
    Unusable,
    checked,
    document,
    each,
    expect,
    named,
    numbered_lines,
    rejected,
    section,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.reading import ItemOrRejected

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def textvqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """TextVQA: TextVQA_0.5.1_val.json."""
    expect(paths, 1, "one file, TextVQA_0.5.1_val.json")
    return checked(each(section(paths[0], "data"), _textvqa), paths)


def _textvqa(entry: Entry) -> Item:
    image = f"{identity(entry, 'image_id')}.jpg"
    return Item(identity(entry, "question_id"), image, text(entry, "question"), ten_texts(entry, "answers"))


def stvqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """ST-VQA: train_task_3.json, or test_task_3.json with its answers."""
    expect(paths, 1, "one file, train_task_3.json or test_task_3.json")
    return checked(each(section(paths[0], "data"), _stvqa), paths)


def _stvqa(entry: Entry) -> Item:
    image = text(entry, "file_path")
    source = image.split("/")[0] if "/" in image else "all"
    return Item(identity(entry, "question_id"), image, text(entry, "question"), texts(entry, "answers"), kind=source)


# ---- EST-VQA ---------------------------------------------------------------------------------------


def estvqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """EST-VQA: the annotations of the test or the training split."""
    expect(paths, 1, "one file, EST-VQA's annotations")
    return checked(each(_questions(section(paths[0], "")), _estvqa), paths)


def _questions(entries: Iterator[Entry]) -> Iterator[Entry]:
    """The questions of pictures one by one, with picture and id; questions as they are."""
    for entry in entries:
        if "annotation" not in record(entry):
            yield entry
            continue
        image, listed = identity(entry, "image"), field(entry, "annotation")
        if not isinstance(listed, list):
            raise wrong(entry, "annotation", listed, "a list of questions")
        for number, one in enumerate(listed):
            inner = entry.inner(f".annotation[{number}]", one)
            yield inner._replace(value={"question_id": f"{image}-{number}", **record(inner), "image": image})


def _estvqa(entry: Entry) -> Item:
    question = text(entry, "question")
    image = identity(entry, "image", "image_id", "file_name")
    return Item(
        identity(entry, "question_id"), image, question, texts(entry, "answer", "answers"), kind=language(question)
    )


def language(question: str) -> str:
    """The subset that EST-VQA counts a question to."""
    return "chinese" if _HAN.search(question) else "english"


# ---- AI2D ------------------------------------------------------------------------------------------


def ai2d(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """AI2D: the dataset's folder (or its folder of questions) and ai2d_test_ids.csv."""
    expect(paths, 2, "AI2D's folder and ai2d_test_ids.csv, in any order")
    return checked(_ai2d(paths), paths)


def _ai2d(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    folders = [path for path in paths if path.is_dir()]
    if len(folders) != 1:
        raise BenchmarkFileError(f"{named(paths)}: expected one folder of questions/*.json and one file of test ids")
    folder = folders[0] / "questions" if (folders[0] / "questions").is_dir() else folders[0]
    ids = next(path for path in paths if not path.is_dir())
    names = [line.strip().removesuffix(".png") for _, line in numbered_lines(ids) if line.strip()]
    missing = [name for name in names if not (folder / f"{name}.png.json").is_file()]
    if missing:
        raise BenchmarkFileError(
            f"{folder}: no questions for {len(missing)} pictures of {ids} ({', '.join(missing[:MAX_LISTED])}: .png."
            "json); unpack the whole data set"
        )
    for name in names:
        yield from _picture(folder / f"{name}.png.json", f"{name}.png")


def _picture(path: Path, image: str) -> Iterator[ItemOrRejected]:
    questions: Any = {entry.section: entry.value for entry in document(path)}.get("questions")
    if not isinstance(questions, dict):
        raise BenchmarkFileError(f"{path}: no object 'questions'; is it a file of AI2D's folder questions?")
    for question, value in questions.items():
        entry = Entry(path, f": {question!r}", "", value)
        try:
            yield _ai2d_item(entry, image, str(question))
        except Unusable as flaw:
            yield rejected(entry, flaw)


def _ai2d_item(entry: Entry, image: str, question: str) -> Item:
    choices = strings(entry, "answerTexts")
    answer = letter(entry, "correctAnswer", choices)
    return Item(optional(entry, "questionId") or f"{image}-{question}", image, question, (answer,), choices=choices)
