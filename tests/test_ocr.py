"""Reading whole pages with the real PaddleOCR, and the cheap detector that says where reading is worth it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data

from ouro.annotate.recurse import propose_shard
from ouro.core.params import Propose
from ouro.core.records import Box, Image, Region
from ouro.nano.scenes import draw_scene, render
from ouro.vision.ocr import OCRProposer
from ouro.vision.ocr_models import MAX_SIDE
from ouro.vision.protocols import Proposal
from ouro.vision.text_likely import is_text_likely


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OCRProposer:
    return OCRProposer(0.6, tmp_path_factory.mktemp("ocr"))


class Boxes:
    """A region proposer that knows what to propose on the whole image."""

    name = "rpn"

    def __init__(self, box: Box) -> None:
        self._found = [[Proposal(box, 0.9, "rpn")]]

    def propose(self, images: list[PIL.Image.Image]) -> list[list[Proposal]]:
        proposals, self._found = self._found or [[] for _ in images], []
        return proposals


def drawn(figure: Any) -> PIL.Image.Image:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return PIL.Image.open(file).convert("RGB")


def figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def grown(picture: PIL.Image.Image, *proposers: Any, **params: Any) -> list[Region]:
    image = Image("a", "a.png", *picture.size, "test")
    return propose_shard([(image, picture)], proposers, Propose(**params)).regions


def page() -> PIL.Image.Image:
    return PIL.Image.fromarray(skimage.data.page())


def test_a_scanned_paragraph_is_one_region_and_its_lines_are_its_parts(ocr: OCRProposer) -> None:
    regions = grown(page(), ocr)
    whole = next(r for r in regions if r.text.startswith("Region-based segmentation Let us first determine"))
    assert whole.text.endswith("parts of the histogram of grey values:")
    lines = [r for r in regions if r.parent_id == whole.region_id]
    assert " ".join(r.text for r in lines) == whole.text and len(lines) == 6
    assert {r.kind for r in regions if r.level > 0} == {"text"} and regions[0].kind == "scene"
    # in the paper's setting the lines (15 px high) are below the least side, and the paragraph still has their words
    assert [r.text for r in grown(page(), ocr, min_side=28)][1] == whole.text


def test_two_columns_are_read_one_after_the_other(ocr: OCRProposer) -> None:
    paper = figure(6, 4)
    paper.text(0.5, 0.9, "A heading over both columns", ha="center", size=18)
    for x, name in ((0.06, "left"), (0.56, "right")):
        for y, place in ((0.75, "first"), (0.4, "second")):
            paper.text(x, y, f"the {place} paragraph\nof the {name} column", va="top", size=12)
    blocks = [r.text for r in grown(drawn(paper), ocr) if r.level == 1]
    assert blocks == [
        "A heading over both columns",
        "the first paragraph of the left column", "the second paragraph of the left column",
        "the first paragraph of the right column", "the second paragraph of the right column",
    ]  # fmt: skip


def test_a_drawn_table_is_a_table_with_its_cells(ocr: OCRProposer) -> None:
    paper = figure(6, 3)
    axes = paper.add_subplot()
    axes.axis("off")
    cells = [["apple", "12", "3.50"], ["bread", "17", "2.25"], ["milk", "31", "1.10"]]
    drawn_table = axes.table(cells, colLabels=["item", "count", "price"], loc="center")
    drawn_table.scale(1, 2)
    drawn_table.set_fontsize(14)
    [table_region] = [r for r in grown(drawn(paper), ocr) if r.level == 1]
    assert (table_region.kind, table_region.text) == (
        "table",
        "item count price apple 12 3.50 bread 17 2.25 milk 31 1.10",
    )


def test_a_region_with_numbered_axes_is_a_chart(ocr: OCRProposer) -> None:
    paper = figure(8, 4)
    left, right = paper.subplots(1, 2)
    left.bar([0, 1, 2, 3], [10, 25, 17, 42])
    right.axis("off")
    right.imshow([[0, 1], [1, 0]])  # a graphic without axes
    chart: Box = (40, 30, 400, 390)
    assert [r.kind for r in grown(drawn(paper), Boxes(chart), ocr) if r.source == "rpn"] == ["chart"]
    plain: Box = (440, 30, 760, 390)
    assert [r.kind for r in grown(drawn(paper), Boxes(plain), ocr) if r.source == "rpn"] == ["object"]


def test_small_print_of_a_large_image_is_read_in_the_crop_of_its_region(ocr: OCRProposer) -> None:
    """Letters 10 px high on 4800 px: 2 px in the whole image as text is looked for in it, where nothing is found."""
    paper = figure(48, 12)
    paper.text(0.5, 0.5, "the small print\nof a large poster", ha="center", va="center", size=7)
    poster = drawn(paper)
    assert max(poster.size) == 5 * MAX_SIDE
    assert [r.text for r in grown(poster, ocr) if r.level] == []
    tree = grown(poster, Boxes((2100, 400, 2700, 800)), ocr)
    assert [(r.level, r.text) for r in tree[1:]] == [
        (1, ""), (2, "the small print of a large poster"), (3, "the small print"), (3, "of a large poster"),
    ]  # fmt: skip


# ---- where text is likely ------------------------------------------------------------------------------------


def photograph(name: str) -> PIL.Image.Image:
    return PIL.Image.fromarray(getattr(skimage.data, name)())


def test_text_is_likely_on_a_page_and_the_numbers_say_why() -> None:
    likelihood = is_text_likely(page(), MAX_SIDE)
    assert likelihood.likely and likelihood.reason == "rows_of_letters"
    assert "longest even row 1" in likelihood.counts  # ten or more letters


@pytest.mark.parametrize("name", ["camera", "coffee", "chelsea", "gravel", "grass", "coins", "rocket", "moon"])
def test_text_is_not_likely_on_photographs_without_any(name: str) -> None:
    likelihood = is_text_likely(photograph(name), MAX_SIDE)
    assert (likelihood.likely, likelihood.reason) == (False, "no_rows"), likelihood.counts


def test_text_is_not_likely_in_noise_in_nothing_and_in_one_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    assert not is_text_likely(PIL.Image.fromarray(noise), MAX_SIDE).likely
    for size in ((200, 100), (1, 1), (1, 5000)):
        assert is_text_likely(PIL.Image.new("RGB", size, "white"), MAX_SIDE).reason == "no_letters"


def test_text_is_likely_on_the_nano_scenes_that_have_a_sign_and_on_no_other() -> None:
    rng = np.random.default_rng(11)
    scenes = [draw_scene(rng) for _ in range(60)]
    signed = [any(c.sign for c in scene.containers) for scene in scenes]
    likely = [is_text_likely(PIL.Image.fromarray(render(scene)), MAX_SIDE).likely for scene in scenes]
    assert 10 < sum(signed) < 50
    missed = sum(s and not is_likely for s, is_likely in zip(signed, likely, strict=True))
    wrong = sum(is_likely and not s for s, is_likely in zip(signed, likely, strict=True))
    assert missed == 0 and wrong <= 2


def test_letters_that_ocr_would_see_too_small_are_not_text() -> None:
    small = page().resize((120, 60))  # letters of 3 px
    assert not is_text_likely(small, MAX_SIDE).likely
    assert not is_text_likely(page(), 120).likely


def test_only_likely_images_are_read_and_the_others_are_counted_by_reason(ocr: OCRProposer) -> None:
    careful = OCRProposer(0.6, ocr._model_cache, when="likely")
    blank = PIL.Image.new("RGB", (64, 64), "white")
    first, empty, photo = careful.propose([page(), blank, photograph("moon")])
    assert first == ocr.propose([page()])[0] and len(first) > 6
    assert (empty, photo) == ([], [])
    assert (careful.skipped, careful.why) == (2, {"no_letters": 1, "no_rows": 1})
    assert ocr.propose([photograph("moon")])[0] != []  # always: a crater is read as "1"
    shard = careful.counting()
    assert shard.propose([blank]) == [[]]
    assert (shard.skipped, careful.skipped, ocr.skipped) == (1, 2, 0)
