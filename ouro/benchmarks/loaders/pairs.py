"""DeepForm and KLC (Document VQA, OURO table 2): the values of a few keys in each document.

DUE (Borchmann et al. 2021), document.jsonl, one document a line:

    {"name": "doc7", "language": "en", "split": "test", "annotations": [{"id": "1", "key": "gross_amount",
     "values": [{"value": "100.00", "value_variants": ["100.00", "100"]}]}]}

Kleister (Stanislawek et al. 2021), two tables without header, line by line, in.tsv packed or not, in any order:

    7.pdf<TAB>charity_name charity_number<TAB>text<TAB>text<TAB>text<TAB>text
    charity_name=THE_LARKSPUR_TRUST charity_number=1099123

Quirks: every key is asked of every document, since "None" is the right reply where the document has no value: such an
item has no references. Kleister writes spaces as "_" (colons too, which cannot be told apart and become spaces). The
picture is <document>.png: a document of several pages must be rendered to one picture under that name. DeepForm exists
in DUE's form only.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.fields import field, identity, optional, strings, wrong
from ouro.benchmarks.loaders.json_stream import Entry
from ouro.benchmarks.loaders.reading import STAGE, checked, expect, numbered_lines, records
from ouro.core.records import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ouro.benchmarks.loaders.reading import ItemOrRejected

SPLIT = "test"
DEEPFORM_KEYS = ("advertiser", "flight_from", "flight_to", "gross_amount", "contract_num")
KLC_KEYS = (
    "address__post_town",
    "address__postcode",
    "address__street_line",
    "charity_name",
    "charity_number",
    "income_annually_in_british_pounds",
    "report_date",
    "spending_annually_in_british_pounds",
)


class Values(NamedTuple):
    """The values of one key of one document, and other spellings of each."""

    annotation_id: str
    key: str
    values: tuple[str, ...]
    variants: tuple[tuple[str, ...], ...]


def deepform(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """DeepForm: DUE's document.jsonl."""
    return checked(_documents(paths, DEEPFORM_KEYS), paths)


def klc(paths: Sequence[Path]) -> Iterator[ItemOrRejected]:
    """KLC: Kleister's in.tsv and expected.tsv, or DUE's document.jsonl."""
    return checked(_documents(paths, KLC_KEYS), paths)


def _documents(paths: Sequence[Path], keys: Sequence[str]) -> Iterator[ItemOrRejected]:
    expect(paths, 2, "DUE's document.jsonl, or in.tsv and expected.tsv", least=1)
    if len(paths) == 2:
        yield from _kleister(*_in_order(*paths), keys)
        return
    for entry in records(paths[0]):
        name = identity(entry, "name")
        other = other_split(entry, name)
        if other:
            yield other
        else:
            yield from _make_items(name, keys, due_values(entry))


# ---- DUE -------------------------------------------------------------------------------------------


def other_split(entry: Entry, name: str) -> Rejected | None:
    """The rejection of a document of another split."""
    split = optional(entry, "split") or SPLIT
    return None if split == SPLIT else Rejected(STAGE, name, "other_split", f"{entry.name}: split {split}")


def due_values(entry: Entry) -> list[Values]:
    """The annotations of a document."""
    listed = field(entry, "annotations")
    if not isinstance(listed, list):
        raise wrong(entry, "annotations", listed, "a list")
    return [_due(entry.inner(f": annotations[{n}]", one)) for n, one in enumerate(listed)]


def _due(entry: Entry) -> Values:
    listed = field(entry, "values")
    if not isinstance(listed, list):
        raise wrong(entry, "values", listed, "a list")
    values = [entry.inner(f".values[{n}]", one) for n, one in enumerate(listed)]
    return Values(
        optional(entry, "id"),
        identity(entry, "key"),
        tuple(_value(one) for one in values),
        tuple(strings(one, "value_variants") for one in values),
    )


def _value(entry: Entry) -> str:
    value = field(entry, "value")
    if not isinstance(value, str):
        raise wrong(entry, "value", value, "text")
    return value


def _make_items(name: str, keys: Sequence[str], annotations: Sequence[Values]) -> Iterator[Item]:
    """One item a key: the values of all annotations under it."""
    for key in keys:
        matches = [one for one in annotations if one.key == key]
        yield Item(
            item_id=f"{name}/{key}",
            image=f"{name}.png",
            question=key,
            references=tuple(value for one in matches for value in one.values),
            kind=key,
            variants=tuple(spellings for one in matches for spellings in one.variants),
            key=key,
            document=name,
        )


# ---- Kleister --------------------------------------------------------------------------------------


def _in_order(first: Path, second: Path) -> tuple[Path, Path]:
    """The table of documents, then that of the expected values."""
    inputs = [path for path in (first, second) if _is_input(path)]
    if len(inputs) != 1:
        raise BenchmarkFileError(
            f"{first}, {second}: expected one table of documents (file, keys and texts, by tabs) and one of key=value"
        )
    return (first, second) if inputs[0] == first else (second, first)


def _is_input(path: Path) -> bool:
    _, line = next(numbered_lines(path))
    columns = line.split("\t")
    return len(columns) > 2 and "=" not in columns[0]


def _kleister(documents: Path, expected: Path, keys: Sequence[str]) -> Iterator[Item]:
    answers = numbered_lines(expected)
    for _, line in numbered_lines(documents):
        number, pairs = next(answers, (0, ""))
        if not number:
            raise _uneven_error(documents, expected)
        yield from _make_items(PurePosixPath(line.split("\t")[0]).stem, keys, _pairs(expected, number, pairs))
    if next(answers, None):
        raise _uneven_error(documents, expected)


def _uneven_error(documents: Path, expected: Path) -> BenchmarkFileError:
    return BenchmarkFileError(
        f"{documents}, {expected}: not the same number of lines; do they belong to the same split?"
    )


def _pairs(path: Path, number: int, line: str) -> list[Values]:
    annotations: list[Values] = []
    for pair in line.split():
        key, equals, value = pair.partition("=")
        if not equals:
            raise BenchmarkFileError(f"{path} line {number}: {pair!r}, expected key=value; download it again")
        annotations.append(Values("", key, (value.replace("_", " "),), ((),)))
    return annotations
