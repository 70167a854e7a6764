"""Links of a collection: within it, and into the store of contents that it is a view of; elsewhere only if asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import random_picture

from ouro.core.artifacts import read_shard, read_sidecar, rejected_path
from ouro.core.images import ImageError, encode_png, load_image
from ouro.core.params import Ingest
from ouro.core.records import Rejected
from ouro.ingest.collection import find_images, ingest_files

LIMIT = 1_000_000
PNG = encode_png(random_picture(1))
SHA, MD5 = "ab" * 32, "0123456789abcdef0123456789abcdef"


def _link(path: Path, target: Path) -> Path:
    """A link at `path` to a picture at `target`, made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(PNG)
    path.symlink_to(target)
    return path


def _taken(path: Path, root: Path) -> bool:
    try:
        return load_image(path, LIMIT, root).size == (40, 30)
    except ImageError as error:
        assert error.reason == "outside_folder"
        assert "--set ingest.links=follow" in error.detail
        return False


@pytest.mark.parametrize("below", [".", "images/train"])
@pytest.mark.parametrize("kind", ["datasets", "models"])
def test_the_hubs_cache_is_one_collection(tmp_path: Path, kind: str, below: str) -> None:
    repository = tmp_path / "hub" / f"{kind}--org--name"
    root = repository / "snapshots" / "abc123" / below
    assert _taken(_link(root / "a.png", repository / "blobs" / SHA), root)


def test_the_hubs_cache_opens_nothing_else(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    root = hub / "datasets--org--name" / "snapshots" / "abc123"
    assert not _taken(_link(root / "a.png", hub / "datasets--org--other" / "blobs" / SHA), root)
    assert not _taken(_link(root / "b.png", hub / "datasets--org--name" / "blobs" / "secret.png"), root)
    assert not _taken(_link(root / "c.png", hub / "datasets--org--name" / "refs" / SHA), root)
    photos = tmp_path / "photos" / "snapshots" / "x"  # no repository of the hub
    assert not _taken(_link(photos / "d.png", tmp_path / "photos" / "blobs" / SHA), photos)


@pytest.mark.parametrize("form", ["files/md5/{}/{}", "{}/{}"])
def test_dvcs_cache_is_part_of_its_repository(tmp_path: Path, form: str) -> None:
    root = tmp_path / "repository" / "data" / "photos"
    content = form.format(MD5[:2], MD5[2:])
    assert _taken(_link(root / "a.png", tmp_path / "repository" / ".dvc" / "cache" / content), root)


def test_dvcs_shared_cache_is_found_by_its_configuration_and_opens_contents_alone(tmp_path: Path) -> None:
    root = tmp_path / "repository" / "photos"
    (tmp_path / "repository" / ".dvc").mkdir(parents=True)
    config = tmp_path / "repository" / ".dvc" / "config.local"
    config.write_text(
        f"[cache]\n    dir = {tmp_path / 'shared'}\n    type = symlink\n['remote \"x\"']\n    url = y%z\n"
    )
    assert _taken(_link(root / "a.png", tmp_path / "shared" / "files" / "md5" / MD5[:2] / MD5[2:]), root)
    assert not _taken(_link(root / "b.png", tmp_path / "shared" / "secret.png"), root)


def test_git_annex_is_part_of_its_repository(tmp_path: Path) -> None:
    root = tmp_path / "repository" / "photos"
    key = f"SHA256E-s10--{SHA}.png"
    assert _taken(_link(root / "a.png", tmp_path / "repository/.git/annex/objects/F0/2W" / key / key), root)


def test_other_links_are_followed_when_asked_for_and_paths_are_not(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    link = _link(root / "a.png", tmp_path / "elsewhere" / "b.png")
    assert not _taken(link, root)
    assert load_image(link, LIMIT, root, follow=True).size == (40, 30)
    with pytest.raises(ImageError) as caught:  # what a manifest may say
        load_image(root / ".." / "elsewhere" / "b.png", LIMIT, root, follow=True)
    assert caught.value.reason == "outside_folder"


def test_ingest_says_what_to_do_and_does_it(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    _link(root / "a.png", tmp_path / "elsewhere" / "b.png")
    (root / "c.png").write_bytes(encode_png(random_picture(2)))
    [shard] = ingest_files(find_images(root), root, tmp_path / "out", Ingest())
    [record] = read_shard(rejected_path(shard), Rejected)
    assert record.reason == "outside_folder" and "--set ingest.links=follow" in record.detail
    [shard] = ingest_files(find_images(root), root, tmp_path / "out", Ingest(links="follow"))
    assert (read_sidecar(shard).n_out, read_sidecar(shard).rejected) == (2, {})
