"""Names in files that Ouro stored are not trusted: nothing is read or written beside the folder they belong to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pictures import random_picture

from ouro.annotate.recurse import propose_images
from ouro.core.cache import ShardCache
from ouro.core.files import ArtifactError, publish
from ouro.core.images import encode_png
from ouro.core.params import Propose, Train
from ouro.core.pictures import Pictures
from ouro.core.records import Image
from ouro.training.admission import filter_samples
from ouro.training.rows import RowDataset
from ouro.training.samples import Sample
from ouro.training.selection import Selection

KEY = "ab" * 32
EVIL = b"evil"


def _entry(store: ShardCache, files: Any, contents: dict[str, bytes]) -> Path:
    """An entry of the cache as a stranger writes it: `files` is what its entry.json says."""
    entry = store.root / KEY[:2] / KEY
    entry.mkdir(parents=True)
    for name, data in contents.items():
        (entry / name).write_bytes(data)
    (entry / "entry.json").write_text(json.dumps({"files": files}))
    return entry


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "name",
    ["../../evil.txt", "/evil.txt", "sub/evil.txt", "./evil.txt", "..", ".", "", "a\\..\\evil.txt", "evil.txt\0"],
)
def test_a_name_that_is_no_plain_file_name_is_a_miss(tmp_path: Path, name: str) -> None:
    store, out = ShardCache(tmp_path / "cache"), tmp_path / "a" / "b"
    if name.startswith("/"):
        name = str(tmp_path / "evil.txt")
    _entry(store, {name: _hash(EVIL)}, {"evil.txt": EVIL, "a\\..\\evil.txt": EVIL})
    assert not store.get(KEY, out)
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "entry.json" and "cache" not in p.parts] == []
    assert not (store.root / KEY[:2] / KEY).exists()  # dropped: the shard is made again


@pytest.mark.parametrize("files", [["evil.txt"], "evil.txt", None, {"evil.txt": None}, {"evil.txt": 3}])
def test_an_entry_of_another_form_is_a_miss(tmp_path: Path, files: Any) -> None:
    store = ShardCache(tmp_path / "cache")
    _entry(store, files, {"evil.txt": EVIL})
    assert not store.get(KEY, tmp_path / "out")


def test_an_entry_nested_too_deeply_is_a_miss(tmp_path: Path) -> None:
    store = ShardCache(tmp_path / "cache")
    (_entry(store, {}, {}) / "entry.json").write_text("[" * 200_000)
    assert not store.get(KEY, tmp_path / "out")


def test_a_pipe_in_the_place_of_a_file_is_a_miss_and_nobody_waits_for_it(tmp_path: Path) -> None:
    store = ShardCache(tmp_path / "cache")
    os.mkfifo(_entry(store, {"pipe": _hash(b"")}, {}) / "pipe")
    assert not store.get(KEY, tmp_path / "out")


def test_a_name_with_a_star_removes_no_other_file(tmp_path: Path) -> None:
    store, out = ShardCache(tmp_path / "cache"), tmp_path / "out"
    out.mkdir()
    (out / "shard-00000.parquet").write_bytes(b"kept")
    _entry(store, {"*.json": _hash(b"{}")}, {"*.json": b"{}"})
    assert store.get(KEY, out)
    assert (out / "shard-00000.parquet").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["../evil.txt", "sub/evil.txt", ".."])
def test_no_writer_publishes_beside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="expected a plain file name"):
        publish(tmp_path / "out", {"good.txt": b"good", name: EVIL})
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []  # whole or not at all


def _decode(images: Path, stored: str) -> object:
    return Pictures([Image("a", stored, 40, 30, "a.png", "train", ())], images, 10_000)["a"]


def _propose(images: Path, stored: str) -> object:
    return propose_images([Image("a", stored, 40, 30, "a.png", "train", ())], images, 10_000, [], Propose())


def _admit(images: Path, stored: str) -> object:
    return filter_samples([Sample("a", stored, (40, 30), (), "a", ())], images, cast("Any", None), Train(), "", 99)


def _train(images: Path, stored: str) -> object:
    one = Sample("a", stored, (40, 30), (), "a", ())
    rows = RowDataset.__new__(RowDataset)
    rows.folder, rows.encoder = images, cast("Any", None)
    return rows.encode(one, Selection((), ()))


READERS = {"describe and synthesize": _decode, "propose": _propose, "admission": _admit, "training rows": _train}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("stored", ["../secret.png", "shard-00000/../../secret.png", "/secret.png"])
def test_a_picture_beside_the_images_folder_is_not_opened(tmp_path: Path, stored: str, reader: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "secret.png").write_bytes(encode_png(random_picture(1)))
    if stored.startswith("/"):
        stored = str(tmp_path / "secret.png")
    with pytest.raises(ArtifactError, match="leads out of"):
        READERS[reader](images, stored)


@pytest.mark.parametrize("read", [_decode, _propose])
@pytest.mark.parametrize(
    ("content", "problem"), [(None, "not found"), (b"", "0 bytes"), (b"\x89PNG", "expected one of")]
)
def test_a_stored_picture_that_cannot_be_read_is_named_with_what_to_do(
    tmp_path: Path, content: bytes | None, problem: str, read: Callable[[Path, str], object]
) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"a\.png: .*{problem}.*run the `ouro annotate` that made it again"):
        read(tmp_path, "a.png")


@pytest.mark.parametrize(("content", "problem"), [(None, "not found"), (b"", "empty")])
def test_a_sample_whose_picture_is_missing_or_empty_is_rejected(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    one = Sample("a", "a.png", (40, 30), (), "a", ())
    outcome = filter_samples([one], tmp_path, cast("Any", None), Train(), "", 99)
    assert [(r.reason, r.detail) for r in outcome.rejected] == [("missing_image", f"{tmp_path}/a.png: {problem}")]
