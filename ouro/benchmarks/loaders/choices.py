"""ScienceQA and IconQA (General VQA, OURO table 1): problems.json with pid_splits.json, given in any order.

ScienceQA (Lu et al. 2022), problems by id:

    {"7": {"question": "Which is a solid?", "choices": ["a rock", "steam"], "answer": 0, "hint": "",
     "image": "image.png", "task": "closed choice", "grade": "grade2", "subject": "natural science", "split": "test"}}
    {"train": ["1"], "test": ["7"]}

IconQA (Lu et al. 2021), with one list a sub-task and split:

    {"7": {"question": "How many dots?", "ques_type": "fill_in_blank", "answer": "7", "choices": null}}
    {"choose_txt_test": ["8"], "fill_in_blank_test": ["7"], ...}

Quirks: half of ScienceQA has no picture (rejected, no_image: what is published is the IMG subset); its hint is part of
the question. The options of IconQA's choose_img are pictures (rejected, image_choices: an item shows one picture); the
answer of choose_txt is an index, that of fill_in_blank the text. OURO writes IconVQA.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import letter, optional, scalar, strings, text
from ouro.benchmarks.loaders.reading import MAX_LISTED, Unusable, checked, document, expect, rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.json_stream import Entry
    from ouro.benchmarks.loaders.reading import ItemOrRejected

    Make = Callable[[Entry, str], Item]

SPLIT = "test"
SUB_TASKS = ("choose_txt", "choose_img", "fill_in_blank")


def scienceqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """ScienceQA: problems.json and pid_splits.json."""
    return checked(_select_problems(paths, (SPLIT,), _scienceqa), paths)


def iconqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """IconQA: problems.json and pid_splits.json."""
    return checked(_select_problems(paths, (*(f"{task}_{SPLIT}" for task in SUB_TASKS), SPLIT), _iconqa), paths)


def _select_problems(paths: Sequence[Path], splits: Sequence[str], make: Make) -> Iterator[ItemOrRejected]:
    expect(paths, 2, "problems.json and pid_splits.json, in any order")
    first, second = paths
    problems, ids = (second, first) if _lists_ids(first) else (first, second)
    if not _lists_ids(ids):
        raise BenchmarkFileError(f"{first}, {second}: neither holds lists of ids; give pid_splits.json too")
    pending = _read_ids(ids, splits)
    for entry in document(problems):
        if pending.pop(entry.section, None) is not None:
            yield _make_item(entry, make)
    if pending:
        examples = ", ".join(islice(pending, MAX_LISTED))
        raise BenchmarkFileError(
            f"{problems}: {len(pending)} problems of {ids} are missing: {examples}; download it again"
        )


def _make_item(entry: Entry, make: Make) -> ItemOrRejected:
    """The item of a problem, or its rejection."""
    try:
        return make(entry, entry.section)
    except Unusable as flaw:
        return rejected(entry, flaw)


def _lists_ids(path: Path) -> bool:
    first = next(document(path), None)
    return first is not None and isinstance(first.value, (str, int))


def _read_ids(path: Path, splits: Sequence[str]) -> dict[str, str]:
    """Ids of the problems in these splits."""
    by_split: dict[str, list[str]] = {}
    for entry in document(path):
        by_split.setdefault(entry.section, []).append(str(entry.value))
    ids = {number: split for split in splits for number in by_split.get(split, ())}
    if not ids:
        available = ", ".join(by_split) or "none"
        raise BenchmarkFileError(f"{path}: no ids under {' or '.join(splits)} (found: {available}); download it again")
    return ids


def _scienceqa(entry: Entry, number: str) -> Item:
    picture = optional(entry, "image")
    if not picture:
        raise Unusable("no_image", f"problem {number} has no picture")
    choices = strings(entry, "choices")
    return Item(
        item_id=number,
        image=f"{optional(entry, 'split') or SPLIT}/{number}/{picture}",
        question=text(entry, "question"),
        references=(letter(entry, "answer", choices),),
        kind=optional(entry, "subject") or "all",
        choices=choices,
        context=optional(entry, "hint"),
    )


def _iconqa(entry: Entry, number: str) -> Item:
    task = text(entry, "ques_type")
    picture = optional(entry, "image") or "image.png"
    choices, answer = iconqa_answer(entry, task, strings(entry, "choices"))
    return Item(number, f"{SPLIT}/{task}/{number}/{picture}", text(entry, "question"), (answer,), task, choices)


def iconqa_answer(entry: Entry, task: str, choices: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Options and answer of a problem: none and its text for a blank, else the letter of the right option."""
    check_sub_task(entry, task)
    return ((), scalar(entry, "answer")) if task == "fill_in_blank" else (choices, letter(entry, "answer", choices))


def check_sub_task(entry: Entry, task: str) -> None:
    """Raises Unusable (image_choices) for choose_img, BenchmarkFileError for what is no sub-task."""
    if task not in SUB_TASKS:
        raise BenchmarkFileError(f"{entry.where}: ques_type is {task!r}, expected {', '.join(SUB_TASKS)}")
    if task == "choose_img":
        raise Unusable("image_choices", "its options are pictures")
