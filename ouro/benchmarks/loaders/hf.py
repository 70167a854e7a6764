"""Benchmarks as Hugging Face data sets: one mapping of columns each, and rows whose pictures are opened one by one.

A row of DocVQA, as the hub's copy for evaluation harnesses has it (the picture is not opened until it is needed):

    {"questionId": "7", "question": "What is the total?", "image": <picture>, "answers": ["12.50", "$12.50"]}

A data set is a folder that `Dataset.save_to_disk` wrote, a folder of parquet files or one such file, or a name on the
hub. Its code is never run. Quirks: `Item.image` is the number of the row, but for GQA, whose pictures stand in a second
data set under their ids; copies on the hub differ in their splits (the `test` of Flickr30K may be all 31,000 pictures,
not Karpathy's 1,000) and organisations, so no name is built in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.beyond import yes_or_no
from ouro.benchmarks.loaders.choices import check_sub_task
from ouro.benchmarks.loaders.fields import (
    LETTERS,
    box_xywh,
    identity,
    letter,
    optional,
    record,
    scalar,
    strings,
    ten_texts,
    text,
    texts,
    wrong,
)
from ouro.benchmarks.loaders.general import yes_no
from ouro.benchmarks.loaders.json_stream import Entry
from ouro.benchmarks.loaders.reading import Unusable, checked, rejected
from ouro.benchmarks.loaders.splits import open_split
from ouro.benchmarks.loaders.text import language
from ouro.benchmarks.pictures import AMBIGUOUS, MAX_LISTED, MISSING, Absent
from ouro.core.hf_folders import DatasetName, DatasetNameError, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import PIL.Image

    from ouro.benchmarks.loaders.reading import ItemOrRejected

MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
ALWAYS = ("width", "height", "ques_type", "answers", "answer")  # read where a data set has them
Answer = Literal["texts", "ten", "number", "letter", "label", "yes-no", "iconqa", "box"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what; "" where a benchmark has no such column.

    item_id:  the number of the row where it is ""
    question: "" for captions
    answer:   how `answers` reads: texts (a text, a list, VQA's structs), ten of them; a number or text; the index of a
              choice; a label 0 or 1; yes or no; IconQA's mixture; expressions, whose box is x, y, width, height
    kind:     may be missing from a copy; a list is joined by "+"; `kind_end` is cut off ("human_test" is "human");
              `kind_in_id` where ids are unique in their kind only
    picture_id: the column that names the picture in a second data set, where pictures stand under `id`
    """

    item_id: str = "question_id"
    image: str = "image"
    question: str = "question"
    answers: str = "answers"
    answer: Answer = "texts"
    kind: str = ""
    kind_end: str = ""
    kind_in_id: bool = False
    choices: str = ""
    context: str = ""
    box: str = ""
    picture_id: str = ""

    def readable(self) -> tuple[str, ...]:
        """All columns but the picture's."""
        return (*self.needed(), self.kind, self.context)

    def needed(self) -> tuple[str, ...]:
        """The columns without which nothing can be read, pictures aside."""
        named = (self.item_id, self.question, self.answers, self.choices, self.box, self.picture_id)
        return tuple(name for name in named if name)


class HubTable:
    """An opened data set: its items, and the picture of each."""

    def __init__(self, source: str, columns: Columns, rows: Any, pictures: Any) -> None:
        self.source, self.columns, self.rows, self.pictures = source, columns, rows, pictures
        self._by_id: dict[str, list[int]] = {}

    def items(self) -> Iterator[ItemOrRejected]:
        """All rows as items or rejections. No picture is decoded."""
        return checked(self._items(), [Path(self.source)])

    def _items(self) -> Iterator[ItemOrRejected]:
        columns = [name for name in self.rows.column_names if name in {*self.columns.readable(), *ALWAYS}]
        pictures = None if self.columns.picture_id else self.rows.data.column(self.columns.image)
        for number, row in enumerate(self.rows.select_columns(columns)):
            entry = Entry(self.source, f": row {number}", "", row)
            try:
                if pictures is not None and not pictures[number].is_valid:
                    raise Unusable("no_image", f"row {number} has no picture")
                yield from self._of_row(entry, number)
            except Unusable as flaw:
                yield rejected(entry, flaw)

    def _of_row(self, entry: Entry, number: int) -> Iterator[Item]:
        if self.columns.answer == "box":
            yield from _referring_items(entry, self.columns, number, self._size(entry, number))
        else:
            yield _item(entry, self.columns, number)

    def _size(self, entry: Entry, number: int) -> tuple[int, int]:
        """Width and height: their columns, or the head of the picture."""
        row = record(entry)
        if row.get("width") and row.get("height"):
            return int(row["width"]), int(row["height"])
        import io

        import PIL.Image

        with PIL.Image.open(io.BytesIO(self._bytes(str(number)))) as picture:
            return picture.size

    def digest(self, image: str) -> str:
        """SHA-256 of the encoded picture that `Item.image` names; "" where the second data set has none, or several."""
        import hashlib

        if len(self._numbers(image)) != 1:
            return ""
        return hashlib.sha256(self._bytes(image)).hexdigest()

    def absence(self, image: str) -> Absent:
        """Why `digest` is ""."""
        numbers = self._numbers(image)
        if not numbers:
            return Absent(MISSING, f"{self.source}: the data set of pictures has no id {image!r}; is it another split?")
        listed = ", ".join(map(str, numbers[:MAX_LISTED]))
        return Absent(AMBIGUOUS, f"{self.source}: the data set of pictures has the id {image!r} in its rows {listed}")

    def open(self, image: str) -> PIL.Image.Image:
        """As `picture`, under the name that ouro.benchmarks.asking calls."""
        return self.picture(image)

    def picture(self, image: str) -> PIL.Image.Image:
        """The picture that `Item.image` names, decoded. Raises BenchmarkFileError or ouro.core.images.ImageError."""
        from ouro.core.images import decode_image

        return decode_image(self._bytes(image), MAX_PIXELS)

    def _bytes(self, image: str) -> bytes:
        cell: Any = self.pictures[self._row(image)][self.columns.image]
        data = cast("dict[str, Any]", cell).get("bytes") if isinstance(cell, dict) else None
        if not isinstance(data, bytes):
            raise BenchmarkFileError(
                f"{self.source}: picture {image} holds no bytes, only {cell!r:.80}; expected a data set with its "
                "pictures inside"
            )
        return data

    def _row(self, image: str) -> int:
        if not self.columns.picture_id:
            return int(image)
        numbers = self._numbers(image)
        if len(numbers) != 1:
            raise BenchmarkFileError(self.absence(image).detail)
        return numbers[0]

    def _numbers(self, image: str) -> list[int]:
        """The rows of pictures under an id, or the one that a number names."""
        if not self.columns.picture_id:
            return [int(image)]
        if not self._by_id:
            for number, name in enumerate(self.pictures["id"]):
                self._by_id.setdefault(str(name), []).append(number)
        return self._by_id.get(image, [])


# ---- rows -> items ---------------------------------------------------------------------------------


def _item(entry: Entry, columns: Columns, number: int) -> Item:
    choices, references = _answers(entry, columns)
    question = text(entry, columns.question) if columns.question else ""
    kind = _kind(entry, columns, question)
    name = identity(entry, columns.item_id) if columns.item_id else str(number)
    return Item(
        item_id=f"{kind}-{name}" if columns.kind_in_id else name,
        image=identity(entry, columns.picture_id) if columns.picture_id else str(number),
        question=question,
        references=references,
        kind=kind,
        choices=choices,
        context=optional(entry, columns.context),
    )


def _answers(entry: Entry, columns: Columns) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices and the references of a row."""
    name, choices = columns.answers, _choices(entry, columns.choices)
    if columns.answer == "iconqa":
        return _iconqa(entry, choices)
    read: dict[Answer, Callable[[], tuple[str, ...]]] = {
        "texts": lambda: texts(entry, name),
        "ten": lambda: ten_texts(entry, name),
        "number": lambda: (_single(entry, name),),
        "letter": lambda: (letter(entry, name, choices),),
        "label": lambda: (yes_no(entry, name),),
        "yes-no": lambda: (yes_or_no(entry, name),),
    }
    return choices, read[columns.answer]()


def _iconqa(entry: Entry, choices: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hub's copy holds the text of the right option, where problems.json holds its index."""
    task = text(entry, "ques_type")
    check_sub_task(entry, task)
    name = "answers" if "answers" in record(entry) else "answer"
    answer = _single(entry, name)
    if task == "fill_in_blank":
        return (), (answer,)
    if answer not in choices:
        raise wrong(entry, name, answer, f"one of {list(choices)}")
    return choices, (LETTERS[choices.index(answer)],)


def _single(entry: Entry, name: str) -> str:
    """A text or number, or a list of one."""
    value: Any = record(entry).get(name)
    if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
        entry = entry._replace(value={name: value[0]})
    return scalar(entry, name)


def _choices(entry: Entry, column: str) -> tuple[str, ...]:
    """A list, or IconQA's text with commas."""
    value: Any = record(entry).get(column)
    return tuple(value.split(",")) if isinstance(value, str) and value else strings(entry, column) if value else ()


def _kind(entry: Entry, columns: Columns, question: str) -> str:
    if columns.kind == "language":
        return language(question)
    value: Any = record(entry).get(columns.kind)
    if isinstance(value, dict):  # GQA's types
        value = cast("dict[str, Any]", value).get("structural")
    kind = "+".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value or "")
    return kind.removesuffix(columns.kind_end) or "all"


def _referring_items(entry: Entry, columns: Columns, number: int, size: tuple[int, int]) -> Iterator[Item]:
    name = identity(entry, columns.item_id)
    kind = _kind(entry, columns, "")
    box = box_xywh(entry, columns.box)
    for position, expression in enumerate(texts(entry, columns.answers)):
        yield Item(f"{kind}-{name}-{position}", str(number), expression, (), kind=kind, box=box, size=size)


# ---- opening ---------------------------------------------------------------------------------------


def open_table(source: str, columns: Columns, split: str = "", config: str = "", pictures: str = "") -> HubTable:
    """A local folder or a data set of the hub. `pictures`: the second data set (GQA), as NAME[:CONFIG][@SPLIT], by
    default of the same split.

    Raises BenchmarkFileError: not found, no such split or config (it lists those that are there), a column missing.
    """
    rows = open_split(source, split, config)
    _check(source, rows, columns.needed() if columns.picture_id else (*columns.needed(), columns.image))
    if not columns.picture_id:
        return HubTable(source, columns, rows, _keep_encoded(rows, columns.image))
    if not pictures:
        raise BenchmarkFileError(
            f"{source}: its pictures stand in a second data set (columns id, image): name it too. Fix: --hub-pictures "
            "gqa=lmms-lab/GQA:testdev_balanced_images@testdev"
        )
    name, second_config, second_split = named(pictures)
    second = open_split(name, second_split or split, second_config)
    _check(pictures, second, ("id", columns.image))
    return HubTable(source, columns, rows, _keep_encoded(second, columns.image))


def named(text: str) -> DatasetName:
    """The parts of NAME[:CONFIG][@SPLIT]. Raises BenchmarkFileError."""
    try:
        return parse_name(text)
    except DatasetNameError as error:
        raise BenchmarkFileError(str(error)) from error


def _check(source: str, rows: Any, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in rows.column_names]
    if missing:
        raise BenchmarkFileError(
            f"data set {source}: no column {', '.join(missing)}; it has {', '.join(rows.column_names)}; is it another "
            "benchmark's, or a copy with other names? Rename its columns"
        )


def _keep_encoded(rows: Any, column: str) -> Any:
    """Pictures as the bytes that the data set holds."""
    import datasets

    pictures = rows.select_columns([n for n in ("id", column) if n in rows.column_names])
    if isinstance(rows.features[column], datasets.Image):
        return pictures.cast_column(column, datasets.Image(decode=False))
    return pictures
