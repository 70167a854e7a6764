"""One question of a benchmark, whatever file it came from: what loaders make and scorers read.

A loader yields items one by one, in the order of its file, so that a benchmark of millions fits in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from ouro.core.errors import OuroError

HELD_OUT = "held-out"  # the benchmark of the collection's own questions


class BenchmarkFileError(OuroError, ValueError):
    """A benchmark file that cannot be read: which file, which id, what was expected, what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is asked about one picture, and what is right.

    item_id:     the benchmark's own id of the question (of the image, for captions), as text; unique in its file
    image:       the picture's path below the folder of images, or its row in a Hugging Face dataset
    question:    as it stands in the file, without a prompt; "" for captions; the referring expression for boxes
    references:  accepted answers as they stand in the file: annotators' answers, captions, values of a key, targets of
                 WTQ; of a choice the letter (A is the first)
    kind:        what scores are reported by beside the total: a split, a question type; "all" where there is none
    choices:     options of a multiple choice, in order
    variants:    other spellings of each reference, in the same order (DUE's value_variants, WTQ's targetCanon); or ()
    key:         DeepForm, KLC: the key asked for
    document:    DeepForm, KLC: the document whose pairs are matched together
    box:         RefCOCO: x1, y1, x2, y2 in pixels of a picture of `size` (width, height)
    shown:       RefCOCO: the size at which the model saw the picture, where boxes are pixels of that
    context:     ScienceQA: the hint that is given with the question; "" where there is none
    """

    item_id: str
    image: str
    question: str
    references: tuple[str, ...]
    kind: str = "all"
    choices: tuple[str, ...] = ()
    variants: tuple[tuple[str, ...], ...] = ()
    key: str = ""
    document: str = ""
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    shown: tuple[int, int] | None = None
    context: str = ""
