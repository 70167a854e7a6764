"""The gallery: data files hold no markup, and in a real browser regions light up, filters hide, search finds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from cli.inspect_ import run as inspect
from ouro.core.artifacts import write_shard
from ouro.core.files import ArtifactError
from ouro.core.images import encode_png
from ouro.core.records import (
    Decision,
    Description,
    Image,
    Insertion,
    QAPair,
    Region,
    Rejected,
    Scene,
    Sentence,
)
from ouro.nano.scenes import draw_scene, render
from ouro.pages import gallery
from ouro.pages.gallery import script, write_gallery
from ouro.pages.gallery_data import Folders, GalleryError, read_dataset_shard
from ouro.pages.gallery_pictures import copy_pictures
from ouro.pages.gallery_view import MAX_PER_REASON, rejected_box, segments
from ouro.pages.statistics import StatisticsError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

EVIL = "</script><script>window.hacked=1</script>\"'><img src=x onerror='window.hacked=1'>{{7*7}}${7*7}<!--"
ODD = "line\u2028para\u2029\u202eright to left\u202c \u0634\u062c\u0631\u0629 \\u003c \\ \x00 __proto__"
LONG = "wordwithoutend" * 400
TEXT = "a table at the top left. the table has a red star and a sign."
NANO, HOSTILE, BARE = "a" * 16, "b" * 16, "c" * 16


def folders_of(root: Path) -> Folders:
    """The folders that ouro.core.layout.Layout names."""
    return Folders(root / "images", root / "regions", root / "descriptions", root / "scenes", root / "qa")


def nano_regions() -> list[Region]:
    """The whole image, a table in it, and on the table a star and a sign that OCR read."""
    return [
        Region(f"{NANO}/0", NANO, None, 0, (0, 0, 256, 256), 1.0, "image", kind="scene"),
        Region(f"{NANO}/0.0", NANO, f"{NANO}/0", 1, (10, 10, 120, 120), 0.9, "rpn"),
        Region(f"{NANO}/0.0.0", NANO, f"{NANO}/0.0", 2, (20, 20, 50, 50), 0.8, "rpn"),
        Region(f"{NANO}/0.0.1", NANO, f"{NANO}/0.0", 2, (60, 60, 110, 80), 0.7, "ocr", "milk", "text"),
    ]


def nano_scene() -> Scene:
    """ "a red star" and "a sign" were inserted; the first sentence tells of the table."""
    cut = TEXT.index(" the table has")
    star, sign = TEXT.index("a red star"), TEXT.index("a sign")
    return Scene(
        NANO, TEXT,
        (Insertion(star, star + 10, f"{NANO}/0.0.0"), Insertion(sign, sign + 6, f"{NANO}/0.0.1")),
        ((f"{NANO}/0", TEXT), (f"{NANO}/0.0", "a table with a red star and a sign")),
        (
            Sentence(0, cut, (f"{NANO}/0.0",)),
            Sentence(cut + 1, len(TEXT), (f"{NANO}/0.0", f"{NANO}/0.0.0", f"{NANO}/0.0.1")),
        ),
        (Decision("contradiction", f"{NANO}/0.0.0", "a blue star", "the closer look wins"),),
    )  # fmt: skip


def write_dataset(root: Path) -> Folders:
    """Two shards of real files: a drawn scene with everything, an image with hostile text, a bare one."""
    folders = folders_of(root)
    drawn = render(draw_scene(np.random.default_rng(0)))
    photo = np.random.default_rng(1).integers(0, 255, (600, 1500, 3), dtype=np.uint8)
    bare = np.full((40, 30, 3), 200, dtype=np.uint8)
    for path, pixels in {"shard-00000/a.png": drawn, "shard-00000/b.png": photo, "shard-00001/c.png": bare}.items():
        (root / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / path).write_bytes(encode_png(PILImage.fromarray(pixels)))
    evil_id = f"{HOSTILE}/0"
    first = [
        Image(NANO, "shard-00000/a.png", 256, 256, "nano.png", captions=("a table",)),
        Image(HOSTILE, "shard-00000/b.png", 1500, 600, f"../{EVIL}\n{ODD}", captions=(EVIL, LONG)),
    ]
    regions = [*nano_regions(), Region(evil_id, HOSTILE, None, 0, (0, 0, 1500, 600), 1.0, EVIL, ODD, EVIL)]
    said = [Description(r.region_id, r.image_id, f"own words of {r.region_id[-1]}", "m") for r in nano_regions()]
    said.append(Description(evil_id, HOSTILE, EVIL + ODD + LONG, EVIL, EVIL))
    scenes = [nano_scene(), Scene(HOSTILE, EVIL + ODD, (), ((evil_id, EVIL),), (), (Decision(EVIL, "x", ODD, EVIL),))]
    pairs = [
        QAPair("1", NANO, "object details", "what color is the star?", "red", 0.75),
        QAPair("2", NANO, "style", "what is its pattern?", "striped"),
        QAPair("3", HOSTILE, EVIL, EVIL, ODD, 0.5),
    ]
    dropped = [
        Rejected("propose", f"{NANO}/0", "nms", "rpn score 0.400 box 130 130 200 200; fused"),
        Rejected("propose", f"{NANO}/0.0", "low_score", "rpn score 0.100 box nan 0 5 5"),
    ]
    name = "shard-00000.parquet"
    write_shard(folders.images / name, Image, first, n_in=3, rejected=[Rejected("ingest", EVIL, "not_an_image", ODD)])
    write_shard(folders.regions / name, Region, regions, n_in=7, rejected=dropped)
    write_shard(folders.descriptions / name, Description, said, n_in=5)
    write_shard(folders.scenes / name, Scene, scenes, n_in=2)
    lost = [Rejected("synthesize", f"{NANO}/style/1", "no_support", "what is it? a cat")]
    write_shard(folders.qa / name, QAPair, pairs, n_in=4, rejected=lost)
    second = [Image(BARE, "shard-00001/c.png", 30, 40, "bare.png", "test")]
    write_shard(folders.images / "shard-00001.parquet", Image, second, n_in=1)
    gone = [Rejected("merge", BARE, "not_described", "no description of the whole image")]
    write_shard(folders.scenes / "shard-00001.parquet", Scene, [], n_in=1, rejected=gone)
    return folders


class Made(NamedTuple):
    out: Path
    result: gallery.Gallery


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The gallery of that dataset, two images a page."""
    root = tmp_path_factory.mktemp("dataset")
    folders = write_dataset(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "PAGE", 2)
        result = write_gallery(root, folders, root / "gallery", title=f"t {EVIL}", round_="1")
    return Made(root / "gallery", result)


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


def test_every_image_has_its_entry_view_and_copies(made: Made) -> None:
    entries = [e for p in (0, 1) for e in value_of(made.out / f"data/page-{p:05d}.js")]
    views = value_of(made.out / "data/images-00000.js")
    assert [views[e["at"]]["id"] for e in entries] == [NANO, HOSTILE, BARE]
    assert made.result[1:5] == (3, 2, 2, 0)  # images, pages, rejected as a whole, unreadable
    for entry, view, size in zip(entries, views, ((256, 256), (1024, 410), (30, 40)), strict=True):
        assert PILImage.open(made.out / view["picture"]).size == size
        assert max(PILImage.open(made.out / entry["thumb"]).size) <= 240


def test_hostile_names_reach_no_path_and_pages_are_escaped(made: Made) -> None:
    names = {p.relative_to(made.out).as_posix() for p in made.out.rglob("*") if p.is_file()}
    assert all(re.fullmatch(r"[a-z0-9./-]+", name) for name in names)
    for page in ("index.html", "statistics.html"):
        text = (made.out / page).read_text("utf-8")
        assert "window.hacked=1</script>" not in text and "&lt;/script&gt;" in text
        assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "<script" not in (made.out / "statistics.html").read_text("utf-8")


def test_unfinished_stages_are_told(made: Made) -> None:
    assert made.result.notes == [
        "regions of 1 of 2 shards only: stage propose has not finished.",
        "descriptions of 1 of 2 shards only: stage describe has not finished.",
        "question-answer pairs of 1 of 2 shards only: stage synthesize has not finished.",
    ]


def test_statistics_count_the_dataset(made: Made) -> None:
    stored = json.loads((made.out / "statistics.json").read_bytes())
    assert stored == json.loads(json.dumps(made.result.statistics.to_json()))
    assert [(a["aspect"], a["kept"], a["written"]) for a in stored["acceptance"]] == [
        (EVIL, 1, 1), ("object details", 1, 1), ("style", 1, 2),
    ]  # fmt: skip
    assert stored["stages"][1]["rejected"] == [["low_score", 1], ["nms", 1]]


def test_same_dataset_same_bytes_and_an_older_gallery_is_replaced(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    out = tmp_path / "gallery"

    def contents() -> dict[str, bytes]:
        write_gallery(tmp_path, folders, out, title="t", round_="1")
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    before = contents()
    (out / "data/page-00099.js").write_text("stale")
    assert contents() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]  # no leftovers


def test_a_failure_leaves_the_older_gallery_as_it_was(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    out = tmp_path / "gallery"
    write_gallery(tmp_path, folders, out, title="t", round_="1")
    page = (out / "index.html").read_bytes()
    (folders.qa / "shard-00000.parquet").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="not a readable Parquet file"):
        write_gallery(tmp_path, folders, out, title="another", round_="1")
    assert (out / "index.html").read_bytes() == page
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_images_alone_make_a_gallery_with_notes(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path)
    for folder in (folders.regions, folders.descriptions, folders.scenes, folders.qa):
        shutil.rmtree(folder)
    result = write_gallery(tmp_path, folders, tmp_path / "g", title="t", round_="1")
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
            write_gallery(folder, folders_of(folder), tmp_path / "g", title="t", round_="1")


def test_a_place_that_holds_something_else_is_never_replaced(tmp_path: Path) -> None:
    folders = write_dataset(tmp_path / "data")
    for out in (tmp_path, tmp_path / "data", folders.images):
        with pytest.raises(GalleryError, match="choose another --out"):
            write_gallery(tmp_path / "data", folders, out, title="t", round_="1")
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
    write_gallery(tmp_path, folders, tmp_path / "g", title="t", round_="1")
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
    text: str, inserted: list[tuple[int, int]], told: list[tuple[int, int]]
) -> None:
    scene = Scene(
        NANO, text,
        tuple(Insertion(a, b, f"r{k}") for k, (a, b) in enumerate(inserted)), (),
        tuple(Sentence(a, b, (f"r{k}",)) for k, (a, b) in enumerate(told)),
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
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith(
        f"gallery: {tmp_path / 'photos/gallery/index.html'} (3 images on 1 pages, 1.0 regions an"
    )
    assert "note: regions of 1 of 2 shards only: stage propose has not finished." in said
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


# ---- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium that is installed on the machine."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium; install one (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, made: Made) -> Iterator[Page]:
    """The opened gallery. Afterwards: no complaint on the console, no dialog, nothing asked of any network."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def dismiss(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("request", lambda r: None if r.url.startswith("file://") else wrong.append(r.url))
    page.goto((made.out / "index.html").as_uri())
    page.wait_for_selector(".thumb")
    yield page
    assert page.evaluate("window.hacked") is None
    context.close()
    assert wrong == []


def open_image(page: Page, number: int) -> None:
    page.evaluate(f"location.hash = '#/image/{number}'")
    page.wait_for_selector("article")


def lit(page: Page, selector: str) -> list[str]:
    """The texts of the elements that light up."""
    return page.eval_on_selector_all(f"{selector}.lit", "nodes => nodes.map(n => n.textContent)")


def lit_regions(page: Page, selector: str) -> list[int]:
    return page.eval_on_selector_all(f"{selector}.lit", "nodes => nodes.map(n => Number(n.dataset.region))")


def test_hovering_a_box_lights_up_its_words_and_its_node(page: Page) -> None:
    open_image(page, 0)
    page.hover("rect.box[data-region='2']")
    assert lit(page, ".merged span") == ["a red star"]
    assert lit_regions(page, ".tree li") == [2]
    assert page.text_content(".said") == "level 2 object, rpn: own words of 0"
    page.hover("rect.box[data-region='1']", position={"x": 3, "y": 3})
    assert lit(page, ".merged span") == ["a table at the top left.", "the table has ", " and ", "."]  # its sentences
    page.hover("h1")
    assert lit(page, ".merged span") == lit_regions(page, "rect.box") == []


def test_hovering_words_or_a_node_lights_up_the_box(page: Page) -> None:
    open_image(page, 0)
    page.hover(".merged span:text-is('a sign')")
    assert lit_regions(page, "rect.box") == lit_regions(page, ".tree li") == [3]
    page.hover(".merged span:text-is('a table at the top left.')")
    assert lit_regions(page, "rect.box") == [1]
    page.hover(".tree li[data-region='2'] .text")
    assert lit_regions(page, "rect.box") == [2] and lit(page, ".merged span") == ["a red star"]
    page.hover(".plain-list li:has-text('contradiction')")
    assert lit_regions(page, "rect.box") == [2]


def test_a_click_keeps_the_light_until_escape(page: Page) -> None:
    open_image(page, 0)
    page.click("rect.box[data-region='2']")
    page.hover("h1")
    assert lit(page, ".merged span") == ["a red star"]
    page.keyboard.press("Escape")
    page.hover(".where")
    assert lit(page, ".merged span") == []


def test_boxes_and_tree_work_by_keyboard(page: Page) -> None:
    open_image(page, 0)
    page.focus(".tree li[data-region='0']")
    page.keyboard.press("ArrowDown")
    assert lit_regions(page, "rect.box") == [1]
    page.keyboard.press("ArrowLeft")  # folds the table
    page.keyboard.press("ArrowDown")  # nothing below it any more
    assert lit_regions(page, "rect.box") == [1] and not page.is_visible(".tree li[data-region='2']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert lit_regions(page, "rect.box") == [2]
    page.focus("rect.box[tabindex='0']")
    page.keyboard.press("ArrowLeft")
    assert lit_regions(page, ".tree li") == [3]


def pick(page: Page, group: str, text: str) -> None:
    page.eval_on_selector("#filters", "d => { d.open = true }")
    page.click(f".group.{group} .chip:has-text('{text}')")


def test_filters_hide_boxes_and_narrow_the_overview(page: Page) -> None:
    pick(page, "source", "ocr")
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb").count() == 1
    page.click(".thumb")
    page.wait_for_selector("article")
    visible = [k for k in range(4) if page.is_visible(f"rect.box[data-region='{k}']")]
    assert visible == [0, 3]  # the whole image is no candidate of any proposer
    assert page.locator(".tree li.off").count() == 2
    page.click(".clear")
    assert all(page.is_visible(f"rect.box[data-region='{k}']") for k in range(4))


def test_rejected_candidates_appear_dashed_when_their_reason_is_picked(page: Page) -> None:
    open_image(page, 0)
    assert page.locator("rect.gone").count() == 1 and not page.is_visible("rect.gone")
    pick(page, "reason", "nms")
    assert page.is_visible("rect.gone")
    shown = page.eval_on_selector(
        "rect.gone", "r => [r.getAttribute('x'), r.getAttribute('width'), getComputedStyle(r).strokeDasharray]"
    )
    assert shown == ["130", "70", "6px, 4px"]


@pytest.mark.parametrize(
    ("words", "found"),
    [("RED STAR", "nano.png"), ("pattern striped", "nano.png"), ("milk", "nano.png"), ("bare", "bare.png")],
)
def test_search_finds_descriptions_questions_ocr_and_names(page: Page, words: str, found: str) -> None:
    page.fill("#search", words)
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb .name").all_text_contents() == [found]


def test_search_without_a_hit_says_so(page: Page) -> None:
    page.fill("#search", "zebra")
    page.wait_for_selector("#main:has-text('Nothing found.')")
    assert page.locator(".thumb").count() == 0


def test_hostile_text_is_shown_word_for_word_and_runs_nowhere(page: Page) -> None:
    nul = ODD  # JSON carries it whole
    assert page.locator(".thumb .name").nth(1).text_content() == f"../{EVIL}\n{nul}"
    open_image(page, 1)
    assert page.text_content(".merged") == EVIL + nul
    assert page.text_content(".tree li > .node .text") == EVIL + nul + LONG
    assert page.locator("dd").first.text_content() == f"{nul}0.50"
    assert page.locator("dt").first.text_content() == EVIL
    assert page.locator("article img, article script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("location.hash = '#/rejected/0'")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr td:nth-child(2)").all_text_contents() == [EVIL, BARE]


def test_pages_turn_and_images_lead_on(page: Page) -> None:
    page.locator(".pager a:has-text('2')").first.click()
    page.wait_for_selector(".thumb .name:has-text('bare.png')")
    page.click(".thumb")
    page.wait_for_selector("article")
    assert page.text_content(".split .tree, .split .side .none") == "None yet."
    page.click("text=← Previous")
    page.wait_for_selector("h2:has-text('window.hacked')")
    page.click("text=All images")
    page.wait_for_selector(".thumb .name:has-text('bare.png')")  # back on the page one came from


def test_nothing_overflows_on_a_phone_and_statistics_show(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for place in ("#/page/0", "#/image/0", "#/image/1", "#/rejected/0"):
        page.evaluate(f"location.hash = '{place}'")
        page.wait_for_function(
            "place => location.hash === place && document.querySelector('#main').children.length", arg=place
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.click("text=Statistics")
    page.wait_for_selector("h2:has-text('Caption length')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_filter_picked_while_a_search_runs_has_the_last_word(page: Page) -> None:
    page.fill("#search", "zebra")
    page.wait_for_timeout(260)  # the search has begun
    pick(page, "kind", "text")
    page.fill("#search", "")
    page.wait_for_selector("#status:has-text('1 found in 3 of 3 images')")
    assert page.locator(".thumb .name").all_text_contents() == ["nano.png"]


def test_a_data_file_that_is_missing_is_told(browser: Browser, made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.out, tmp_path / "g")
    (tmp_path / "g/data/images-00000.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "g/index.html").as_uri() + "#/image/0")
    page.wait_for_selector("#status:has-text('data/images-00000.js: not loaded; copy the whole folder')")
    page.close()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()


def test_the_policy_forbids_inline_handlers_and_the_network(
    browser: Browser, made: Made, server: tuple[str, list[str]]
) -> None:
    """Were a text to become markup after all, the page's policy still stands before it; a bare page has none."""
    url, asked = server
    attack = """async ([html, url]) => {
        document.body.insertAdjacentHTML("beforeend", html);
        await fetch(url + "/fetch").catch(() => 0);
        await new Promise((done) => setTimeout(done, 300));
        return window.hacked ?? null;
    }"""
    html = f"<img src='data:,' onerror='window.hacked=1'><img src='{url}/image'>"
    page = browser.new_page()
    assert page.evaluate(attack, [html, url]) == 1 and sorted(asked) == ["/fetch", "/image"]
    asked.clear()
    for name in ("index.html", "statistics.html"):
        page.goto((made.out / name).as_uri())
        assert page.evaluate(attack, [html, url]) is None and asked == []
    page.close()
