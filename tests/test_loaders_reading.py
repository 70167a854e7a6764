"""Streams of records: JSON in chunks gives what json gives, lines come one by one, bad files say what is bad."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders import json_stream
from ouro.benchmarks.loaders.json_stream import JsonStream
from ouro.benchmarks.loaders.reading import checked, comma_table, document, records, section, table
from ouro.benchmarks.loaders.registry import benchmark
from ouro.core.records import Rejected

BOM = b"\xef\xbb\xbf"
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _file(folder: Path, content: str | bytes, name: str = "file.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# ---- JSON documents --------------------------------------------------------------------------------


@given(st.lists(_values, max_size=6), st.integers(1, 30), st.sampled_from([None, 2]), st.booleans())
def test_a_list_read_in_chunks_is_what_json_reads(
    values: list[Any], chunk: int, indent: int | None, ascii: bool
) -> None:
    """Wherever a chunk ends: in a number, an escape, a key, white space."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_stream, "CHUNK", chunk)
        text = json.dumps(values, indent=indent, ensure_ascii=ascii)
        entries = list(JsonStream(Path("f"), io.StringIO(text)).entries())
    assert [entry.value for entry in entries] == values
    assert [entry.where for entry in entries] == [f"f: [{n}]" for n in range(len(values))]


@given(st.dictionaries(st.text(max_size=8), _values, max_size=5), st.integers(1, 30))
def test_an_object_read_in_chunks_is_what_json_reads(value: dict[str, Any], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_stream, "CHUNK", chunk)
        entries = list(JsonStream(Path("f"), io.StringIO(json.dumps(value))).entries())
    expected = [(k, one) for k, v in value.items() for one in (v if isinstance(v, list) else [v])]
    assert [(entry.section, entry.value) for entry in entries] == expected


@given(st.lists(_values, min_size=1, max_size=4), st.data(), st.integers(1, 30))
def test_a_document_that_is_cut_off_never_passes(values: list[Any], data: st.DataObject, chunk: int) -> None:
    text = json.dumps(values)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_stream, "CHUNK", chunk)
        with pytest.raises(BenchmarkFileError, match="not valid JSON"):
            list(JsonStream(Path("f"), io.StringIO(cut)).entries())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n {"a": }]', "line 2: not valid JSON: Expecting value"),
        ('[{"a": 1}\n {"a": 2}]', r"line 2: not valid JSON: '\{', expected ',' or '\]'"),
        ("[1, 2,]", r"a comma before '\]'"),
        ('{"data": [1]} {"data": [2]}', "more text after the end of the document; are these JSON lines"),
        ('{"data": [1]', "'the end of the file', expected ',' or '}'"),
        ('{7: "x"}', "key 7, expected a string"),
        ('{"a" 7}', "'7', expected ':'"),
        ('"text"', "expected a list or an object"),
        ("<html>", "starts with '<', expected a list or an object"),
        ("[" * 100_000, "not valid JSON"),
        (f"[{'7' * 5000}]", "not valid JSON: Exceeds the limit"),
    ],
)
def test_broken_json_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchmarkFileError, match=message) as raised:
        list(document(_file(tmp_path, text)))
    assert str(raised.value).startswith(str(tmp_path / "file.json"))


def test_broken_json_is_found_without_reading_on(tmp_path: Path) -> None:
    """A mistake at the start of a large file is told at once, not after its gigabytes."""
    stream = io.StringIO('[{"a": oops}, ' + '"x", ' * 200_000)
    with pytest.raises(BenchmarkFileError, match="line 1: not valid JSON"):
        list(JsonStream(Path("f"), stream).entries())
    assert stream.tell() <= 2 * json_stream.CHUNK


def test_a_document_is_not_read_whole() -> None:
    stream = io.StringIO('{"info": {"a": 1}, "data": [' + ", ".join(f'{{"id": {n}}}' for n in range(100_000)) + "]}")
    first = list(islice(JsonStream(Path("f"), stream).entries(), 3))
    assert [entry.value for entry in first] == [{"a": 1}, {"id": 0}, {"id": 1}]
    assert stream.tell() == json_stream.CHUNK


def test_a_section_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = _file(tmp_path, '{"info": {}, "annotations": [1, 2]}')
    with pytest.raises(BenchmarkFileError, match="expected records in a list 'data', found info, annotations"):
        list(section(path, "data"))
    with pytest.raises(BenchmarkFileError, match="expected records in a plain list, found info, annotations"):
        list(section(path, ""))


# ---- encodings, compression ------------------------------------------------------------------------


@pytest.mark.parametrize("read", [document, records], ids=["document", "records"])
def test_a_byte_order_mark_is_skipped(tmp_path: Path, read: Any) -> None:
    assert [entry.value for entry in read(_file(tmp_path, BOM + b'[{"a": "\xc3\xa9"}]'))] == [{"a": "é"}]


def test_lines_and_tables_skip_a_byte_order_mark(tmp_path: Path) -> None:
    lines = _file(tmp_path, BOM + b'{"a": 1}\r\n\r\n{"a": 2}\r\n', "lines.jsonl")
    assert [(e.where[-6:], e.value) for e in records(lines)] == [("line 1", {"a": 1}), ("line 3", {"a": 2})]
    rows = _file(tmp_path, BOM + b"id\tx\r\n7\ty\r\n", "rows.tsv")
    assert [e.value for e in table(rows)] == [{"id": "7", "x": "y"}]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = _file(tmp_path, '[{"a": "é"}]'.encode(encoding))
    with pytest.raises(BenchmarkFileError, match=r"not UTF-8 .*convert it to UTF-8"):
        list(document(path))


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path: Path) -> None:
    """U+2028 and U+0085 end lines for str.splitlines, but not in JSON lines."""
    path = _file(tmp_path, '{"a": "x\u2028y\u0085z"}\n{"a": "b"}\n')
    assert [e.value["a"] for e in records(path)] == ["x\u2028y\u0085z", "b"]


def test_xz_is_read_whatever_the_name(tmp_path: Path) -> None:
    packed = lzma.compress(b"id\tx\n7\ty\n")
    assert [e.value for e in table(_file(tmp_path, packed, "in.tsv"))] == [{"id": "7", "x": "y"}]
    for cut in (packed[:20], packed[:-4]):
        with pytest.raises(BenchmarkFileError, match="broken xz file"):
            list(table(_file(tmp_path, cut, "cut.tsv.xz")))


def _bomb(tmp_path: Path, start: bytes) -> Path:
    """The text and 256 MB of blanks without a line's end, in 40 kB of xz."""
    packer = lzma.LZMACompressor(preset=0)
    parts = [packer.compress(start), *(packer.compress(b"a" * 2**20) for _ in range(256)), packer.flush()]
    return _file(tmp_path, b"".join(parts))


@pytest.mark.parametrize("start", [b"id\tx\n7\t", b'{"a": "', b'[{"a": "', b"id,x\n7,"])
def test_an_xz_file_that_unpacks_without_an_end_is_refused_early(tmp_path: Path, start: bytes) -> None:
    path = _bomb(tmp_path, start)
    assert path.stat().st_size < 2**16
    read = {b"id\t": table, b"id,": comma_table}.get(start[:3], records)
    tracemalloc.start()
    with pytest.raises(BenchmarkFileError, match=r"unpacks to more than 500 times its size|over 67108864 characters"):
        list(read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**29


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda data: b"\x28\xb5\x2f\xfd" + data])
def test_what_is_packed_otherwise_is_said_and_not_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BenchmarkFileError, match=r"packed with (gzip|bzip2|zstd), expected text or xz: unpack it"):
        list(records(_file(tmp_path, pack(b'{"a": 1}\n'))))


def test_a_long_line_within_the_bound_is_read(tmp_path: Path) -> None:
    packed = lzma.compress(b'{"a": "' + b"x" * 2**22 + b'"}\n')
    assert [len(e.value["a"]) for e in records(_file(tmp_path, packed))] == [2**22]


@pytest.mark.parametrize("content", [b"", BOM])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: bytes) -> None:
    path = _file(tmp_path, content)
    for read in (document, records, table, comma_table):
        with pytest.raises(BenchmarkFileError, match="the file is empty"):
            list(read(path))


def test_a_file_that_is_missing_or_a_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=r"none\.json: got nothing, expected a file"):
        list(document(tmp_path / "none.json"))
    with pytest.raises(BenchmarkFileError, match="got a folder, expected a file"):
        list(records(tmp_path))


# ---- lines and tables ------------------------------------------------------------------------------


def test_json_lines_are_read_one_by_one(tmp_path: Path) -> None:
    """The iterator is lazy: the first item comes although a later line is broken, which is told when it is reached."""
    good = json.dumps({"image": "a.png", "caption": "A cup.", "label": 1, "relation": "on"})
    path = _file(tmp_path, f"{good}\n" * 50_000 + "{broken\n", "test.jsonl")
    items = benchmark("vsr").load([path])
    assert [one.item_id for one in islice(items, 3) if isinstance(one, Item)] == ["0", "1", "2"]
    with pytest.raises(BenchmarkFileError, match=r"test\.jsonl line 50001: not valid JSON"):
        list(items)


def test_a_row_of_a_table_with_other_fields_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "id\tx\n7\ty\n8\n", "rows.tsv")
    with pytest.raises(BenchmarkFileError, match=r"rows\.tsv line 3: got 1 fields, expected 2 \(id, x\)"):
        list(table(path))
    with pytest.raises(BenchmarkFileError, match="broken CSV"):
        list(comma_table(_file(tmp_path, 'id,x\n7,"y', "rows.csv")))


def test_a_tab_separated_field_may_hold_quotes_and_be_long(tmp_path: Path) -> None:
    """The csv module would join lines at a lone quote and refuse fields over 131,072 characters."""
    path = _file(tmp_path, 'id\tx\n7\t"y\n8\t' + "z" * 200_000 + "\n", "rows.tsv")
    assert [len(e.value["x"]) for e in table(path)] == [2, 200_000]


# ---- what a loader yields --------------------------------------------------------------------------


def _item(name: str) -> Item:
    return Item(name, "a.png", "?", ("x",))


def test_all_ids_that_stand_twice_are_listed_once() -> None:
    items = [_item(n) for n in ("1", "2", "1", "3", "2", "1", "4")]
    with pytest.raises(BenchmarkFileError, match=r"f\.json: 2 ids stand more than once, expected once: 1, 2; "):
        list(checked(items, [Path("f.json")]))


def test_a_long_list_of_ids_is_cut() -> None:
    items = [_item(str(n)) for n in range(40)] * 2
    with pytest.raises(
        BenchmarkFileError, match=r"40 ids stand more than once.*: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.;"
    ):
        list(checked(items, [Path("f.json")]))


def test_nothing_but_rejections_is_an_error_with_their_counts() -> None:
    rejections = [Rejected("benchmark", str(n), "no_answer") for n in range(3)] + [
        Rejected("benchmark", "x", "no_image")
    ]
    with pytest.raises(BenchmarkFileError, match=r"no record can be scored \(3 no_answer, 1 no_image\)"):
        list(checked(rejections, [Path("f.json")]))
    with pytest.raises(BenchmarkFileError, match="no record, expected at least one"):
        list(checked([], [Path("f.json")]))


def test_a_rejection_names_its_file_without_the_folder(tmp_path: Path) -> None:
    """What is kept of a run must not depend on where its files lie."""
    path = _file(tmp_path, '[{"image": "a.png", "question": "?", "answers": null}, {"image": "b.png"}]', "val.json")
    assert next(benchmark("vizwiz").load([path])) == Rejected(
        "benchmark", "val.json: [0]", "no_answer", "answers is None"
    )
