"""General VQA (OURO, table 1): VQAv2, OKVQA, VizWiz, GQA, VSR. ScienceQA and IconQA: see choices.py.

VQAv2 and OKVQA (Goyal et al. 2017; Marino et al. 2019) are two files, joined on question_id, given in any order:

    {"questions": [{"image_id": 7, "question": "Is it open?", "question_id": 7000}]}
    {"annotations": [{"question_id": 7000, "image_id": 7, "question_type": "is it", "answer_type": "yes/no",
      "answers": [{"answer_id": 1, "answer": "yes", "answer_confidence": "yes"}, ...10]}]}

VizWiz (Gurari et al. 2018), val.json: a list of {"image": "VizWiz_val_00000007.jpg", "question": "What is this?",
"answers": [{"answer": "mug", "answer_confidence": "yes"}, ...10], "answer_type": "other", "answerable": 1}.

GQA (Hudson and Manning 2019), testdev_balanced_questions.json: records by id, {"20100": {"question": "Is it red?",
"imageId": "n7", "answer": "yes", "types": {"structural": "verify"}}}.

VSR (Liu et al. 2023), test.jsonl: {"image": "000000000007.jpg", "caption": "The cup is left of the plate.", "label": 1,
"relation": "left of"} a line.

Quirks: COCO's image ids are numbers and its pictures are named after them; VizWiz has no question ids, its picture
names serve; VSR has no ids at all, the position in the file (from 0) serves. What is reported beside the total: VQAv2's
answer_type, OKVQA's question_type (its field of knowledge), GQA's structural type, VSR's relation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import field, identity, optional, record, scalar, ten_texts, text, wrong
from ouro.benchmarks.loaders.reading import (
    MAX_LISTED,
    Unusable,
    checked,
    document,
    each,
    expect,
    records,
    rejected,
    section,
    which_section,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.json_stream import Entry
    from ouro.benchmarks.loaders.reading import ItemOrRejected

YES_NO = ("no", "yes")  # by label


# ---- VQAv2, OKVQA ----------------------------------------------------------------------------------


class _Annotation(NamedTuple):
    image_id: str
    kind: str
    answers: tuple[str, ...] | Unusable


class _Annotations:
    """Annotations by question_id, read only as far as needed: the two files usually stand in the same order."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.entries = section(path, "annotations")
        self.ahead: dict[str, _Annotation] = {}

    def take(self, question_id: str) -> _Annotation | None:
        """The annotation of a question; None when there is none."""
        if question_id in self.ahead:
            return self.ahead.pop(question_id)
        for entry in self.entries:
            entry_id, annotation = self._read(entry)
            if entry_id == question_id:
                return annotation
            self._keep(entry_id, annotation)
        return None

    def left(self) -> list[str]:
        """The ids of annotations that no question took."""
        for entry in self.entries:
            self._keep(*self._read(entry))
        return list(self.ahead)

    def _keep(self, question_id: str, annotation: _Annotation) -> None:
        if question_id in self.ahead:
            raise BenchmarkFileError(f"{self.path}: question_id {question_id} stands more than once, expected once")
        self.ahead[question_id] = annotation

    def _read(self, entry: Entry) -> tuple[str, _Annotation]:
        try:
            answers = ten_texts(entry, "answers")
        except Unusable as flaw:
            answers = flaw
        kind = optional(entry, self.kind) or "all"
        return identity(entry, "question_id"), _Annotation(identity(entry, "image_id"), kind, answers)


def vqav2(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """VQAv2: questions and annotations."""
    return checked(_two_files(paths, "answer_type"), paths)


def okvqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """OKVQA: questions and annotations."""
    return checked(_two_files(paths, "question_type"), paths)


def own_questions(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """A collection's own questions and annotations, as ingest leaves them: in the form of OKVQA."""
    return okvqa(paths)


def _two_files(paths: Sequence[Path], kind: str) -> Iterator[ItemOrRejected]:
    expect(paths, 2, "a file of questions and one of annotations, in any order")
    by_content = {which_section(path, ("questions", "annotations")): path for path in paths}
    if len(by_content) < 2:
        raise BenchmarkFileError(f"{paths[0]}, {paths[1]}: both hold {next(iter(by_content))}; give the other file too")
    yield from _join_files(by_content["questions"], _Annotations(by_content["annotations"], kind))


def _join_files(questions: Path, annotations: _Annotations) -> Iterator[ItemOrRejected]:
    missing: list[str] = []
    subtype = "val2014"
    for entry in document(questions):
        if entry.section == "data_subtype" and isinstance(entry.value, str):
            subtype = entry.value
        elif entry.section == "questions":
            annotation = annotations.take(identity(entry, "question_id"))
            if annotation is None:
                missing.append(identity(entry, "question_id"))
            else:
                yield _join(entry, annotation, subtype, annotations.path)
    _check_all_joined(questions, annotations, missing)


def _check_all_joined(questions: Path, annotations: _Annotations, missing: list[str]) -> None:
    if missing:
        ids = ", ".join(missing[:MAX_LISTED])
        raise BenchmarkFileError(
            f"{annotations.path}: no annotation for {len(missing)} questions of {questions} (question_id {ids}); do "
            "the two files belong to the same split?"
        )
    left = annotations.left()
    if left:
        ids = ", ".join(left[:MAX_LISTED])
        raise BenchmarkFileError(
            f"{questions}: does not ask {len(left)} questions of {annotations.path} (question_id {ids}); do the two "
            "files belong to the same split?"
        )


def _join(entry: Entry, annotation: _Annotation, subtype: str, annotations: Path) -> ItemOrRejected:
    image_id = identity(entry, "image_id")
    if image_id != annotation.image_id:
        raise BenchmarkFileError(
            f"{entry.where}: image_id {image_id}, but {annotations} says {annotation.image_id}; download both again"
        )
    try:
        if isinstance(annotation.answers, Unusable):
            raise annotation.answers
        image = coco_picture(field(entry, "image_id"), subtype)
        return Item(
            identity(entry, "question_id"), image, text(entry, "question"), annotation.answers, kind=annotation.kind
        )
    except Unusable as flaw:
        return rejected(entry, flaw)


def coco_picture(image_id: int | str, subtype: str = "val2014") -> str:
    """7 -> COCO_val2014_000000000007.jpg; an id that is text names its picture itself."""
    if isinstance(image_id, str):
        return image_id
    folder = "test2015" if subtype.startswith("test") else subtype  # test-dev2015 is a part of test2015
    return f"COCO_{folder}_{image_id:012d}.jpg"


# ---- VizWiz, GQA, VSR ------------------------------------------------------------------------------


def vizwiz(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """VizWiz: val.json."""
    expect(paths, 1, "one file, VizWiz's val.json")
    return checked(each(section(paths[0], ""), _vizwiz), paths)


def _vizwiz(entry: Entry) -> Item:
    image = text(entry, "image")
    kind = optional(entry, "answer_type") or "all"
    return Item(image, image, text(entry, "question"), ten_texts(entry, "answers"), kind=kind)


def gqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """GQA: testdev_balanced_questions.json."""
    expect(paths, 1, "one file, GQA's testdev_balanced_questions.json")
    return checked(each(document(paths[0]), _gqa), paths)


def _gqa(entry: Entry) -> Item:
    types: Any = record(entry).get("types")
    kind = cast("dict[str, Any]", types).get("structural") if isinstance(types, dict) else None
    image = f"{identity(entry, 'imageId')}.jpg"
    return Item(entry.section, image, text(entry, "question"), (text(entry, "answer"),), kind=str(kind or "all"))


def vsr(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """VSR: test.jsonl of the zero-shot or of the random split."""
    expect(paths, 1, "one file, VSR's test.jsonl")
    return checked(_vsr(paths[0]), paths)


def _vsr(path: Path) -> Iterator[ItemOrRejected]:
    for number, entry in enumerate(records(path)):
        try:
            answer = (yes_no(entry, "label"),)
            kind = optional(entry, "relation") or "all"
            yield Item(str(number), text(entry, "image"), text(entry, "caption"), answer, kind=kind)
        except Unusable as flaw:
            yield rejected(entry, flaw)


def yes_no(entry: Entry, name: str) -> str:
    """A label 0 or 1 as "no" or "yes"."""
    value = scalar(entry, name)
    if value not in ("0", "1"):
        raise wrong(entry, name, value, "0 or 1")
    return YES_NO[int(value)]
