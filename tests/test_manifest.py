"""Manifests: what they may hold, and everything wrong with one reported at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ouro.core.params import Ingest, Params
from ouro.ingest.manifest import ManifestEntry, ManifestError, read_manifest
from tasks.ingest import expected


def _manifest(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_manifest_adds_up_captions_of_one_path(tmp_path: Path) -> None:
    text = '\ufeffpath,split,caption\na/1.jpg,test,"a dog, on a sofa"\nb.png,,\na/1.jpg,test,a brown dog\n'
    assert read_manifest(_manifest(tmp_path, "m.csv", text)) == [
        ManifestEntry(tmp_path / "a/1.jpg", "test", ("a dog, on a sofa", "a brown dog")),
        ManifestEntry(tmp_path / "b.png", "train", ()),
    ]


def test_jsonl_manifest(tmp_path: Path) -> None:
    rows = [{"path": "a.jpg", "split": "test", "captions": ["x", "ü\ud800"]}, {"path": "b.png"}]
    text = "\n".join(json.dumps(r) for r in rows) + "\n\n"
    assert read_manifest(_manifest(tmp_path, "m.jsonl", text)) == [
        ManifestEntry(tmp_path / "a.jpg", "test", ("x", "ü?")),
        ManifestEntry(tmp_path / "b.png"),
    ]


def test_manifest_problems_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    rows = [
        '{"path": "a.jpg"}', '{"path": "a.jpg", "split": "test"}', '{"file": "b.jpg"}', "{", "[1]",
        '{"path": ""}', '{"path": "c", "split": "dev"}', '{"path": "d", "captions": "one"}',
        '{"path": "\\ud800"}',
    ]  # fmt: skip
    with pytest.raises(ManifestError) as caught:
        read_manifest(_manifest(tmp_path, "m.jsonl", "\n".join(rows)))
    message = str(caught.value)
    assert [f"line {n}:" in message for n in range(1, 10)] == [False] + [True] * 8
    assert "line 3: unknown 'file'; known: captions, path, split" in message
    assert "line 2: split: got 'test' for a.jpg, which an earlier line puts into 'train'" in message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.txt", "a.jpg\n", "expected .csv or .jsonl"),
        ("m.csv", "", "no entries"),
        ("m.csv", "path\n", "no entries"),
        ("m.csv", "path\na.jpg,extra\n", "line 2: more cells than the header's 1"),
        ("m.csv", 'path\n"a.jpg\n', "not CSV"),
        ("m.csv", "image\na.jpg\n", "unknown 'image'; known: caption, path, split"),
        ("m.csv", "path,caption,caption\na.jpg,one,two\n", "line 1: repeated 'caption' in the header"),
        ("m.csv", 'path,caption\n\na.jpg,"x\ny"\nb.jpg,"open\nand so on\n', "line 5: not CSV"),
        ("m.csv", 'path,caption\na.jpg,"x"y\n', "line 2: not CSV"),
    ],
)
def test_bad_manifests_are_explained(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match="manifest ") as caught:
        read_manifest(_manifest(tmp_path, name, text))
    assert message in str(caught.value)


def test_missing_or_undecodable_manifest_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"path\n\xe4.jpg\n")
    for name in ("none.csv", "latin.csv"):
        with pytest.raises(ManifestError, match="cannot be read"):
            read_manifest(tmp_path / name)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_only_line_feeds_end_a_line(tmp_path: Path, mark: str) -> None:
    """A caption was once cut where str.splitlines() sees a line's end, and its rest taken for a path."""
    caption = f"a dog{mark}on a sofa"
    expected = [ManifestEntry(tmp_path / "a.png", "train", (caption,)), ManifestEntry(tmp_path / "b.png")]
    text = f"path,split,caption\r\na.png,train,{caption}\r\nb.png,,\r\n"
    assert read_manifest(_manifest(tmp_path, "m.csv", text)) == expected
    rows = [{"path": "a.png", "captions": [caption]}, {"path": "b.png"}]
    escaped = mark < " "  # JSON allows no control characters in a text
    text = "\n".join(json.dumps(row, ensure_ascii=escaped) for row in rows)
    assert read_manifest(_manifest(tmp_path, "m.jsonl", text)) == expected


def test_a_quoted_caption_may_span_lines(tmp_path: Path) -> None:
    text = 'path,caption\na.png,"a dog\non a sofa"\nb.png,\n'
    assert read_manifest(_manifest(tmp_path, "m.csv", text)) == [
        ManifestEntry(tmp_path / "a.png", "train", ("a dog\non a sofa",)),
        ManifestEntry(tmp_path / "b.png"),
    ]


def test_empty_columns_of_a_spreadsheet_are_no_repeated_names(tmp_path: Path) -> None:
    assert read_manifest(_manifest(tmp_path, "m.csv", "path,,\na.png,,\n")) == [ManifestEntry(tmp_path / "a.png")]


@pytest.mark.parametrize("spelling", ["./a.png", "b/../a.png", ".//a.png", "{folder}/a.png"])
def test_one_file_is_one_entry_however_its_path_is_spelled(tmp_path: Path, spelling: str) -> None:
    other = spelling.format(folder=tmp_path)
    text = f"path,split,caption\na.png,train,one\n{other},train,two\n"
    assert read_manifest(_manifest(tmp_path, "m.csv", text)) == [
        ManifestEntry(tmp_path / "a.png", "train", ("one", "two"))
    ]
    with pytest.raises(
        ManifestError, match=r"line 3: split: got 'test' for .*, which an earlier line puts into 'train'"
    ):
        read_manifest(_manifest(tmp_path, "m.csv", f"path,split\na.png,train\n{other},test\n"))


@pytest.mark.parametrize("name", ["M.CSV", "m.Jsonl"])
def test_a_manifest_is_told_by_its_ending_in_any_case(tmp_path: Path, name: str) -> None:
    text = "path\na.png\nb.png\n" if name.lower().endswith("csv") else '{"path": "a.png"}\n{"path": "b.png"}\n'
    source = _manifest(tmp_path, name, text)
    assert expected(Params(ingest=Ingest(source=str(source)))) == 2
