"""Document VQA (OURO, table 2): DocVQA, InfoVQA, ChartQA. DeepForm, KLC and WTQ: see pairs.py and tables.py.

DocVQA (Mathew et al. 2021), val_v1.0_withQT.json, and InfoVQA (2022), infographicsVQA_val_v1.0_withQT.json:

    {"dataset_name": "docvqa", "dataset_split": "val", "data": [{"questionId": 7, "question": "What is the total?",
     "image": "documents/abcd0001_3.png", "docId": 12, "answers": ["12.50", "$12.50"],
     "question_types": ["table/list"]}]}

ChartQA (Masry et al. 2022), test_human.json and test_augmented.json, one or both:

    [{"imgname": "x1.png", "query": "Which year peaked?", "label": "2010"}]

Quirks: InfoVQA names its picture in image_local_name and its kinds in answer_type, which tells the two apart; the
answers of the test splits are not public. ChartQA has no ids (the split with the position from 0 serves), and only the
file's name tells the human questions from the augmented ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.fields import identity, kind_from_name, scalar, strings, text, texts
from ouro.benchmarks.loaders.reading import Unusable, checked, each, expect, rejected, section

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.json_stream import Entry
    from ouro.benchmarks.loaders.reading import ItemOrRejected

CHART_KINDS = ("human", "augmented")


def docvqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """DocVQA: val_v1.0_withQT.json."""
    expect(paths, 1, "one file, DocVQA's val_v1.0_withQT.json")
    return checked(each(section(paths[0], "data"), lambda entry: _docvqa(entry, "image", "question_types")), paths)


def infovqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """InfoVQA: infographicsVQA_val_v1.0_withQT.json."""
    expect(paths, 1, "one file, infographicsVQA_val_v1.0_withQT.json")
    return checked(
        each(section(paths[0], "data"), lambda entry: _docvqa(entry, "image_local_name", "answer_type")), paths
    )


def _docvqa(entry: Entry, image: str, kinds: str) -> Item:
    return Item(
        identity(entry, "questionId"),
        text(entry, image),
        text(entry, "question"),
        texts(entry, "answers"),
        kind="+".join(strings(entry, kinds)) or "all",
    )


def chartqa(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """ChartQA: test_human.json, test_augmented.json, or both."""
    expect(paths, 2, "test_human.json, test_augmented.json or both", least=1)
    return checked((item for path in paths for item in _chartqa(path)), paths)


def _chartqa(path: Path) -> Iterator[ItemOrRejected]:
    kind = kind_from_name(path.name, CHART_KINDS)
    for number, entry in enumerate(section(path, "")):
        try:
            answer = (scalar(entry, "label"),)
            yield Item(f"{kind}-{number}", text(entry, "imgname"), text(entry, "query"), answer, kind=kind)
        except Unusable as flaw:
            yield rejected(entry, flaw)
