"""Each kind of record survives the way through Arrow and Parquet unchanged, whatever its values."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.core.artifacts import read_shard, write_shard
from ouro.core.records import (
    Description,
    Image,
    Insertion,
    QAPair,
    Region,
    Rejected,
    Scene,
    from_row,
    schema,
    to_row,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)  # Cs: half surrogate pairs, no UTF-8
INT = st.integers(0, 2**31 - 1)
FLOAT = st.floats(allow_nan=False)
KINDS: dict[type[Any], st.SearchStrategy[Any]] = {
    Image: st.builds(Image, TEXT, TEXT, INT, INT, TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple)),
    Region: st.builds(
        Region, TEXT, TEXT, st.none() | TEXT, INT, st.tuples(FLOAT, FLOAT, FLOAT, FLOAT), FLOAT, TEXT, TEXT
    ),
    Description: st.builds(Description, TEXT, TEXT, TEXT, TEXT),
    Scene: st.builds(
        Scene,
        TEXT,
        TEXT,
        st.lists(st.builds(Insertion, INT, INT, TEXT), max_size=3).map(tuple),
        st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    ),
    QAPair: st.builds(QAPair, TEXT, TEXT, TEXT, TEXT, TEXT),
    Rejected: st.builds(Rejected, TEXT, TEXT, TEXT, TEXT),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_records_survive_the_way_through_parquet(kind: type[Any], data: st.DataObject) -> None:
    records = data.draw(st.lists(KINDS[kind], max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shard-00000.parquet")
        write_shard(path, kind, records, n_in=len(records))
        back = read_shard(path, kind)
    assert back == records
    assert [hash(r) for r in back] == [hash(r) for r in records]  # tuples all the way down: no lists


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_schema_has_the_columns_of_the_record_in_order(kind: type[Any]) -> None:
    assert schema(kind).names == [f.name for f in fields(kind)]
    optional = {
        Region: ["parent_id"],
        Description: ["mean_probability", "min_probability"],
        QAPair: ["confidence", "support"],
    }
    assert [f.name for f in schema(kind) if f.nullable] == optional.get(kind, [])


def test_a_missing_column_is_a_key_error() -> None:
    row = to_row(QAPair("q", "i", "style", "what ?", "that"))
    del row["answer"]
    with pytest.raises(KeyError, match="answer"):
        from_row(QAPair, row)


def test_a_type_that_is_never_stored_has_no_schema() -> None:
    with pytest.raises(KeyError):
        schema(Insertion)
