"""The gallery: its files hold no markup and the same bytes, and the command that writes it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gallery_dataset import (
    BARE,
    EVIL,
    HOSTILE,
    NANO,
    GalleryFolder,
    make_gallery,
    nano_regions,
    write_dataset,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from cli.inspect_ import run as inspect
from ouro.core.artifacts import write_shard
from ouro.core.files import ArtifactError
from ouro.core.images import encode_png
from ouro.core.layout import layout_of
from ouro.core.records import (
    Image,
    Insertion,
    Region,
    Rejected,
    Scene,
    Sentence,
)
from ouro.pages.gallery import script, write_gallery
from ouro.pages.gallery_data import GalleryError, read_dataset_shard
from ouro.pages.gallery_pictures import copy_pictures
from ouro.pages.gallery_view import MAX_PER_REASON, rejected_box, segments
from ouro.pages.statistics import StatisticsError

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="module")
def gallery_folder(tmp_path_factory: pytest.TempPathFactory) -> GalleryFolder:
    return make_gallery(tmp_path_factory.mktemp("dataset"))


# ---- files -------------------------------------------------------------------------------------------------


def value_of(path: Path) -> Any:
    """The JSON inside a data file."""
    text = path.read_text("ascii")
    return json.loads(text[text.index(",", text.index(",") + 1) + 1 : -len(");\n")])


@given(st.text() | st.lists(st.text()))
def test_data_files_are_ascii_without_markup_and_read_back_the_same(value: Any) -> None:
    text = script("page", 3, value).decode("ascii")
    assert not set(text) & set("<>&") and text.count("\n") == 1
    assert text.startswith('ouro("page",3,') and json.loads(text[len('ouro("page",3,') : -len(");\n")]) == value


def test_every_image_has_its_entry_view_and_copies(gallery_folder: GalleryFolder) -> None:
    entries = [e for p in (0, 1) for e in value_of(gallery_folder.out / f"data/page-{p:05d}.js")]
    views = value_of(gallery_folder.out / "data/images-00000.js")
    assert [views[e["at"]]["id"] for e in entries] == [NANO, HOSTILE, BARE]
    assert gallery_folder.result[1:5] == (3, 2, 2, 0)  # images, pages, rejected as a whole, unreadable
    for entry, view, size in zip(entries, views, ((256, 256), (1024, 410), (30, 40)), strict=True):
        assert PILImage.open(gallery_folder.out / view["picture"]).size == size
        assert max(PILImage.open(gallery_folder.out / entry["thumb"]).size) <= 240


def test_hostile_names_reach_no_path_and_pages_are_escaped(gallery_folder: GalleryFolder) -> None:
    names = {p.relative_to(gallery_folder.out).as_posix() for p in gallery_folder.out.rglob("*") if p.is_file()}
    assert all(re.fullmatch(r"[a-z0-9./-]+", name) for name in names)
    for page in ("index.html", "statistics.html"):
        text = (gallery_folder.out / page).read_text("utf-8")
        assert "window.hacked=1</script>" not in text and "&lt;/script&gt;" in text
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "<script" not in (gallery_folder.out / "statistics.html").read_text("utf-8")


def test_unfinished_stages_are_told(gallery_folder: GalleryFolder) -> None:
    assert gallery_folder.result.notes == [
        "regions of 1 of 2 shards only: stage propose has not finished.",
        "descriptions of 1 of 2 shards only: stage describe has not finished.",
        "question-answer pairs of 1 of 2 shards only: stage synthesize has not finished.",
    ]


def test_statistics_count_the_dataset(gallery_folder: GalleryFolder) -> None:
    stored = json.loads((gallery_folder.out / "statistics.json").read_bytes())
    assert stored == json.loads(json.dumps(gallery_folder.result.statistics.to_json()))
    assert [(a["aspect"], a["kept"], a["written"]) for a in stored["acceptance"]] == [
        (EVIL, 1, 1), ("object details", 1, 1), ("style", 1, 2),
    ]  # fmt: skip
    assert stored["stages"][1]["rejected"] == [["low_score", 1], ["nms", 1]]


def test_same_dataset_same_bytes_and_an_older_gallery_is_replaced(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    out = tmp_path / "gallery"

    def contents() -> dict[str, bytes]:
        write_gallery(folders, out, title="t", round_="1")
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    before = contents()
    (out / "data/page-00099.js").write_text("stale")
    assert contents() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # no leftovers


def test_a_failure_leaves_the_older_gallery_as_it_was(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    out = tmp_path / "gallery"
    write_gallery(folders, out, title="t", round_="1")
    page = (out / "index.html").read_bytes()
    (folders.qa / "shard-00000.parquet").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="not a readable Parquet file"):
        write_gallery(folders, out, title="another", round_="1")
    assert (out / "index.html").read_bytes() == page
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_images_alone_make_a_gallery_with_notes(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    for folder in (folders.regions, folders.descriptions, folders.scenes, folders.qa):
        shutil.rmtree(folder)
    result = write_gallery(folders, tmp_path / "g", title="t", round_="1")
    assert result.images == 3
    assert [note.partition(":")[0] for note in result.notes] == [
        "no regions yet", "no descriptions yet", "no merged descriptions yet", "no question-answer pairs yet",
    ]  # fmt: skip


def test_a_shard_without_its_sidecar_counts_as_unfinished(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    (folders.qa / "shard-00000.json").unlink()
    assert read_dataset_shard(folders, "shard-00000.parquet").pairs == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    for folder, got in ((tmp_path, "no finished shard in"), (tmp_path / "none", "no such folder")):
        with pytest.raises(GalleryError, match=f"{got}.*; expected a folder that `ouro annotate --out`"):
            write_gallery(layout_of(folder), tmp_path / "g", title="t", round_="1")


def test_a_place_that_holds_something_else_is_never_replaced(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path / "data")
    for out in (tmp_path, tmp_path / "data", folders.images):
        with pytest.raises(GalleryError, match="choose another --out"):
            write_gallery(folders, out, title="t", round_="1")
    assert (folders.images / "shard-00000/a.png").is_file()


@pytest.mark.parametrize("path", ["../outside.png", "/etc/hostname", "gone.png", "text.png"])
def test_a_picture_that_cannot_be_copied_is_told(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(encode_png(PILImage.new("RGB", (20, 20))))
    (folder / "text.png").write_text("no picture")
    (copies,) = copy_pictures([Image(NANO, path, 20, 20, "x")], folder, tmp_path / "out", 0)
    assert not copies.display and not copies.thumb
    assert copies.problem.split(":")[0] in {"its path leads out of the dataset", "unreadable", "not_an_image"}
    assert not (tmp_path / "out").exists()


def test_rejected_candidates_are_sampled_by_reason_and_none_is_forgotten(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    dropped = [Rejected("propose", f"{NANO}/0", "nms", f"rpn box 0 0 {k + 1} 9") for k in range(100)]
    dropped.append(Rejected("propose", f"{NANO}/0", "too_small"))
    write_shard(folders.regions / "shard-00000.parquet", Region, nano_regions(), n_in=105, rejected=dropped)
    write_gallery(folders, tmp_path / "g", title="t", round_="1")
    view = value_of(tmp_path / "g/data/images-00000.js")[0]
    propose = [r for r in view["rejected"] if r["stage"] == "propose"]
    assert len(propose) == MAX_PER_REASON + 1 and view["left_out"] == 100 - MAX_PER_REASON


@pytest.mark.parametrize(
    ("detail", "box"),
    [
        ("rpn score 0.400 box 1 2 30 40; fused", [1, 2, 30, 40]),
        ("ocr score 0.1 box -3 0.5 30 40", [-3, 0.5, 30, 40]),
        ("rpn score 0.1 box nan 0 5 5", None),
        ("rpn score 0.1 box 5 5 5 9", None),
        ("a box of 1 2 3 4", None),
        ("", None),
    ],
)
def test_a_dropped_candidate_tells_its_box(detail: str, box: list[float] | None) -> None:
    assert rejected_box(Rejected("propose", f"{NANO}/0", "nms", detail)) == box
    assert rejected_box(Rejected("describe", f"{NANO}/0", "nms", detail)) is None


spans = st.tuples(st.integers(-2, 30), st.integers(-2, 30))


@given(st.text(max_size=25), st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_segments_put_together_are_the_text(
    text: str, inserted: list[tuple[int, int]], sentences: list[tuple[int, int]]
) -> None:
    scene = Scene(
        NANO, text,
        tuple(Insertion(a, b, f"r{k}") for k, (a, b) in enumerate(inserted)), (),
        tuple(Sentence(a, b, (f"r{k}",)) for k, (a, b) in enumerate(sentences)),
    )  # fmt: skip
    assert "".join(s.text for s in segments(scene)) == text


def test_of_nested_insertions_the_inner_one_counts() -> None:
    scene = Scene(NANO, "abcdef", (Insertion(0, 6, "outer"), Insertion(2, 4, "inner")), (), (Sentence(0, 6, ("s",)),))
    assert [(s.text, s.region_id) for s in segments(scene)] == [("ab", "outer"), ("cd", "inner"), ("ef", "outer")]
    assert {s.sentence for s in segments(scene)} == {("s",)}


# ---- the command -------------------------------------------------------------------------------------------


def test_the_command_writes_beside_the_dataset_and_sums_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "photos")
    inspect(tmp_path / "photos")
    output = capsys.readouterr().out.splitlines()
    assert output[-1].startswith(
        f"gallery: {tmp_path / 'photos/gallery/index.html'} (3 images on 1 pages, 1.0 regions an"
    )
    assert "note: regions of 1 of 2 shards only: stage propose has not finished." in output
    assert "<title>photos</title>" in (tmp_path / "photos/gallery/index.html").read_text()


def test_earlier_rounds_stand_beside_this_one(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data")
    inspect(tmp_path / "data", tmp_path / "first", "round 1")
    inspect(tmp_path / "data", tmp_path / "second", "round 2", [tmp_path / "first/statistics.json"])
    rounds = re.findall(r">(round \d)<", (tmp_path / "second/statistics.html").read_text("utf-8"))
    assert rounds == ["round 1"] * 5 + ["round 2"] * 5  # original, 0, 1, 2, merged
    with pytest.raises(StatisticsError, match=r"gone\.json: cannot be read"):
        inspect(tmp_path / "data", earlier=[tmp_path / "gone.json"])


def test_statistics_reach_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data")
    inspect(tmp_path / "data", mlflow=True)
    from mlflow import MlflowClient

    store = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = store.search_runs([e.experiment_id for e in store.search_experiments()])
    assert run.info.status == "FINISHED" and run.data.metrics["images"] == 3
    assert run.data.metrics["acceptance/style"] == 0.5
    assert [f.path for f in store.list_artifacts(run.info.run_id)] == ["statistics.json"]
