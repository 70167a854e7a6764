r"""WTQ (Document VQA, OURO table 2): questions about tables of Wikipedia (Pasupat and Liang 2015).

pristine-unseen-tables.tsv, or a .tagged file with the canonical form of the targets in addition:

    id<TAB>utterance<TAB>context<TAB>targetValue
    nu-7<TAB>who won in 1999?<TAB>csv/200-csv/7.csv<TAB>Ada|Grace

DUE's document.jsonl (see pairs.py) holds the question as key and its targets as values; their variants are no
canonical forms and are left out, as its scorer does.

Quirks: targets are split at "|", in which \p stands for "|", \n for a line break, \\ for a backslash; fields are not
quoted. Only the .tagged file (targetCanon) makes "12500" right where the table says "12,500". The picture is the
table's file with the ending .png, which must be rendered from it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import identity, record, text
from ouro.benchmarks.loaders.pairs import due_values, other_split
from ouro.benchmarks.loaders.reading import STAGE, Unusable, checked, each, expect, numbered_lines, records, table
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.json_stream import Entry
    from ouro.benchmarks.loaders.reading import ItemOrRejected

_ESCAPED = re.compile(r"\\([np\\])")
_MEANS = {"n": "\n", "p": "|", "\\": "\\"}


def wtq(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """WTQ: pristine-unseen-tables.tsv, its .tagged file, or DUE's document.jsonl."""
    expect(paths, 1, "one file: pristine-unseen-tables.tsv, a .tagged file or DUE's document.jsonl")
    _, line = next(numbered_lines(paths[0]))
    if line.startswith("{"):
        return checked(_due(paths[0]), paths)
    if "targetValue" not in line.split("\t"):
        raise BenchmarkFileError(
            f"{paths[0]} line 1: expected a header with id, utterance, context and targetValue, by tabs; got {line:.80}"
        )
    return checked(each(table(paths[0]), _row), paths)


def _row(entry: Entry) -> Item:
    targets = _targets(text(entry, "targetValue"))
    return Item(
        item_id=identity(entry, "id"),
        image=str(PurePosixPath(text(entry, "context")).with_suffix(".png")),
        question=_unescape(text(entry, "utterance")),
        references=targets,
        variants=_canonical(entry, targets),
    )


def _canonical(entry: Entry, targets: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The canonical form of each target, () where the file has none."""
    if "targetCanon" not in record(entry):
        return ()
    forms = _targets(text(entry, "targetCanon"))
    if len(forms) != len(targets):
        raise Unusable("canon_differs", f"{len(targets)} targets, {len(forms)} canonical ones")
    return tuple((one,) for one in forms)


def _targets(field: str) -> tuple[str, ...]:
    return tuple(map(_unescape, field.split("|")))


def _unescape(field: str) -> str:
    return _ESCAPED.sub(lambda match: _MEANS[match[1]], field)


def _due(path: Path) -> Iterator[ItemOrRejected]:
    for entry in records(path):
        name = identity(entry, "name")
        other = other_split(entry, name)
        if other:
            yield other
            continue
        for number, annotation in enumerate(due_values(entry)):
            item_id = f"{name}/{annotation.annotation_id or number}"
            if annotation.values:
                yield Item(item_id, f"{name}.png", annotation.key, annotation.values)
            else:
                yield Rejected(STAGE, item_id, "no_answer", f"{entry.name}: no values")
