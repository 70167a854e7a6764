"""Manifests: what they may hold, and everything wrong with one reported at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ouro.manifest import Entry, ManifestError, read_manifest


def _manifest(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_manifest_adds_up_captions_of_one_path(tmp_path: Path) -> None:
    text = '\ufeffpath,split,caption\na/1.jpg,test,"a dog, on a sofa"\nb.png,,\na/1.jpg,test,a brown dog\n'
    assert read_manifest(_manifest(tmp_path, "m.csv", text)) == [
        Entry(tmp_path / "a/1.jpg", "test", ("a dog, on a sofa", "a brown dog")),
        Entry(tmp_path / "b.png", "train", ()),
    ]


def test_jsonl_manifest(tmp_path: Path) -> None:
    rows = [{"path": "a.jpg", "split": "test", "captions": ["x", "ü\ud800"]}, {"path": "b.png"}]
    text = "\n".join(json.dumps(r) for r in rows) + "\n\n"
    assert read_manifest(_manifest(tmp_path, "m.jsonl", text)) == [
        Entry(tmp_path / "a.jpg", "test", ("x", "ü?")),
        Entry(tmp_path / "b.png"),
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
    ("name", "text", "said"),
    [
        ("m.txt", "a.jpg\n", "expected .csv or .jsonl"),
        ("m.csv", "", "no entries"),
        ("m.csv", "path\n", "no entries"),
        ("m.csv", "path\na.jpg,extra\n", "line 2: more cells than the header's 1"),
        ("m.csv", 'path\n"a.jpg\n', "not CSV"),
        ("m.csv", "image\na.jpg\n", "unknown 'image'; known: caption, path, split"),
    ],
)
def test_bad_manifests_are_explained(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ManifestError, match="manifest ") as caught:
        read_manifest(_manifest(tmp_path, name, text))
    assert said in str(caught.value)


def test_missing_or_undecodable_manifest_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"path\n\xe4.jpg\n")
    for name in ("none.csv", "latin.csv"):
        with pytest.raises(ManifestError, match="cannot be read"):
            read_manifest(tmp_path / name)
