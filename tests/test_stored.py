"""Stored pictures and shards that are damaged are found, made again, and said; pictures are on the disk before the
sidecar that names them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import files_of, random_picture

from ouro.core.artifacts import ArtifactError, read_shard, read_sidecar
from ouro.core.images import encode_png
from ouro.core.layout import layout_of
from ouro.core.params import Ingest
from ouro.core.records import Image
from ouro.ingest.collection import find_images, ingest_files
from ouro.ingest.stored import find_damaged
from tasks.sharing import shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(3):
        (photos / f"{n}.png").write_bytes(encode_png(random_picture(n)))
    return photos


def _ingest(folder: Path, images: Path) -> None:
    ingest_files(find_images(folder), folder, images, Ingest(shard_images=2))


def _picture(images: Path) -> Path:
    return min(images.glob("shard-00000/*.png"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty picture": (lambda i: _picture(i).write_bytes(b""), r"shard-00000/\w+\.png: empty"),
    "missing picture": (lambda i: _picture(i).unlink(), r"shard-00000/\w+\.png: missing"),
    "cut picture": (lambda i: _cut(_picture(i)), r"shard-00000/\w+\.png: half-written"),
    "picture of zeros": (lambda i: _picture(i).write_bytes(bytes(900)), r"png: half-written"),
    "tiny picture": (lambda i: _picture(i).write_bytes(b"\x89P"), r"png: half-written"),
    "half a sidecar": (lambda i: (i / "shard-00001.json").write_text('{"kind": "Im'), r"shard-00001\.parquet: "),
    "empty sidecar": (lambda i: (i / "shard-00001.json").write_text(""), r"shard-00001\.parquet: "),
    "nested sidecar": (lambda i: (i / "shard-00001.json").write_text("[" * 200_000), r"shard-00001\.parquet: "),
    "sidecar of another form": (
        lambda i: (i / "shard-00001.json").write_text('{"kind": "Image", "n_in": "a", "n_out": null}'),
        r"shard-00001\.parquet: ",
    ),
    "missing sidecar": (lambda i: (i / "shard-00001.json").unlink(), r"shard-00001\.parquet: "),
    "cut shard": (lambda i: _cut(i / "shard-00001.parquet"), r"shard-00001\.parquet: "),
    "empty shard": (lambda i: (i / "shard-00001.parquet").write_bytes(b""), r"shard-00001\.parquet: "),
    "missing shard": (lambda i: (i / "shard-00001.parquet").unlink(), r"shard-00001\.parquet: missing"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_made_again_and_said(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = layout_of(tmp_path / "out")
    with shared(layout, {}) as lease:
        lease.ingest_once("photos", lambda: _ingest(folder, layout.images))
    before = files_of(layout.images)
    assert find_damaged(layout.images) == []
    damage, said = DAMAGES[name]
    damage(layout.images)
    with shared(layout, {}) as lease:
        lease.ingest_once("photos", lambda: _ingest(folder, layout.images))
    assert files_of(layout.images) == before
    output = " ".join(capsys.readouterr().out.split())
    assert re.search(r"damaged since it was made \(.*" + said, output)
    with shared(layout, {}) as lease:
        lease.ingest_once("photos", lambda: pytest.fail("read in again"))


@pytest.mark.parametrize("state", ["[]", "null", '{"coll', "[" * 200_000, "\x00"])
def test_a_half_written_note_of_a_folder_is_no_note(folder: Path, tmp_path: Path, state: str) -> None:
    layout = layout_of(tmp_path / "out")
    layout.state.annotate.parent.mkdir(parents=True)
    layout.state.annotate.write_text(state)
    with shared(layout, {}) as lease:
        lease.ingest_once("photos", lambda: _ingest(folder, layout.images))
    assert find_damaged(layout.images) == []


def test_pictures_are_on_the_disk_before_the_sidecar_that_names_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(handle: int) -> None:
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def watch_replace(source: Path, target: Path) -> None:
        events.append(f"name {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    _ingest(folder, tmp_path / "images")
    for shard in ("shard-00000", "shard-00001"):
        pictures = [p.name for p in (tmp_path / "images" / shard).iterdir()]
        sidecar = events.index(f"name {shard}.json")
        assert pictures
        assert all(events.index(f"sync {name}") < sidecar for name in [*pictures, shard])  # the folder, too


def test_a_person_is_not_sent_to_dvc_for_a_folder_of_annotate(folder: Path, tmp_path: Path) -> None:
    _ingest(folder, tmp_path / "images")
    shard = tmp_path / "images" / "shard-00000.parquet"
    _cut(shard)
    with pytest.raises(ArtifactError, match="run the `ouro annotate` that made it again") as caught:
        read_shard(shard, Image)
    assert "dvc" not in str(caught.value)


def test_dvc_is_named_for_the_checkouts_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(ArtifactError, match="rerun `dvc repro ingest`"):
        read_shard(Path("data/images/shard-00000.parquet"), Image)


def test_a_sidecar_nested_too_deeply_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.json").write_text('{"kind": ' + "[" * 200_000)
    with pytest.raises(ArtifactError, match="not a sidecar"):
        read_sidecar(tmp_path / "shard-00000.parquet")
