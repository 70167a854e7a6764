"""Pages and lines that lie turned are read the right way up, with boxes in the picture as it is."""

from __future__ import annotations

import numpy as np
import pytest

from ouro.annotate.propose import filter_proposals, nest
from ouro.core import boxes
from ouro.core.params import Propose
from ouro.vision.ocr import OCRProposer
from ouro.vision.turned import Line, first_turn, lay_out, read_turned
from perf.turned_pages import TURNS, accuracy, blocks, font, pages, paper, turn


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OCRProposer:
    return OCRProposer(0.6, tmp_path_factory.mktemp("ocr"))


@pytest.mark.parametrize("degrees", TURNS)
def test_a_page_is_read_whichever_way_it_lies(ocr: OCRProposer, degrees: int) -> None:
    """Before: 0.21 for the letter upside down, with the score 0.67; 0.32 by a quarter, with 1.00; 0.60 slanting."""
    chosen = {name: page for name, page in pages().items() if name in ("receipt", "print")}
    proposals = ocr.propose([turn(picture, degrees) for picture, _ in chosen.values()])
    for found, (_, truth) in zip(proposals, chosen.values(), strict=True):
        text = " ".join(block.text for block in blocks(found))
        assert accuracy(text, truth) >= 0.98, text
        assert min(p.score for p in found) > 0.85


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_lie_where_the_text_is_in_the_picture_as_it_is(ocr: OCRProposer, degrees: int) -> None:
    """One line in the upper left quarter of a page of 400 x 300, which goes round clockwise with the turn."""
    picture, draw = paper((400, 300))
    draw.text((20, 30), "Pay at the desk", fill="black", font=font("DejaVuSans", 20))
    ink = np.argwhere(np.asarray(turn(picture, degrees).convert("L")) < 128)
    (y0, x0), (y1, x1) = ink.min(axis=0), ink.max(axis=0) + 1
    ((found,),) = ocr.propose([turn(picture, degrees)])
    assert found.text == "Pay at the desk"
    assert boxes.iou(found.box, (float(x0), float(y0), float(x1), float(y1))) > 0.6


def test_a_label_that_runs_up_an_upright_page_is_read(ocr: OCRProposer) -> None:
    """As beside the axis of a chart: by PP-OCR's own turn it would be upside down."""
    picture, draw = paper((500, 400))
    draw.multiline_text((120, 60), "Rainfall in May\nby station, in mm", fill="black", font=font("DejaVuSans", 24))
    label, pen = paper((260, 40))
    pen.text((5, 5), "millimetres of rain", fill="black", font=font("DejaVuSans", 22))
    picture.paste(turn(label, 270), (30, 80))
    (found,) = ocr.propose([picture])
    assert {p.text for p in blocks(found)} == {"Rainfall in May by station, in mm", "millimetres of rain"}


# ---- decisions, without models -------------------------------------------------------------------------------


def line(x: float, y: float, text: str, score: float = 0.99, size: tuple[float, float] = (100, 20)) -> Line:
    quad = np.array([[x, y], [x + size[0], y], [x + size[0], y + size[1]], [x, y + size[1]]], dtype=np.float32)
    return Line(quad, text, score, first_turn(quad))


BLANK = np.zeros((300, 200, 3), dtype=np.uint8)


def never(crops: object) -> object:
    pytest.fail("an upright page with sure scores costs nothing more")


def test_sure_lines_are_not_read_again() -> None:
    page = read_turned(BLANK, lambda _: [line(10, 10, "Total"), line(10, 40, "18.58")], never, never)  # type: ignore[arg-type]
    assert [one.text for one in page.lines] == ["Total", "18.58"] and page.turn == 0


@pytest.mark.parametrize(
    ("again", "score", "expected"),
    [
        ("Total 17.50", 0.98, "Total 17.50"),
        ("Total 17.50", 0.76, "Totl l 50o"),  # no better by 0.1
        ("Total 17.50", 0.79, "Totl l 50o"),  # not trusted
        ("II", 0.99, "Totl l 50o"),  # a drawn shape is a character in any direction
        ("'-.", 0.99, "Totl l 50o"),
    ],
)
def test_a_doubtful_line_keeps_the_better_reading(again: str, score: float, expected: str) -> None:
    lines = [line(10, 10, "Thank you for shopping"), line(10, 40, "Totl l 50o", 0.67)]
    page = read_turned(BLANK, lambda _: list(lines), lambda _: np.array([0.9]), lambda _: [(again, score)])
    assert [one.text for one in page.lines] == ["Thank you for shopping", expected] and page.turn == 0


def test_a_line_that_is_not_upside_down_stays() -> None:
    page = read_turned(BLANK, lambda _: [line(10, 10, "smudge", 0.7)], lambda _: np.array([0.2]), never)  # type: ignore[arg-type]
    assert [one.text for one in page.lines] == ["smudge"]


def test_a_page_turned_by_a_quarter_is_read_again_turned_back_and_its_boxes_stay_in_the_picture() -> None:
    """The page is 200 wide and 300 high; turned back it is 300 x 200. A line at (30, 20) of 100 x 20 in it lies at
    x = 200 - 20 - 20 = 160, y = 30 in the picture, 20 wide and 100 high."""

    def read(page: np.ndarray) -> list[Line]:
        if page.shape[:2] == (200, 300):
            return [line(30, 20, "first line"), line(30, 45, "second line")]
        return [line(160, 30, "first line", size=(20, 100))]

    page = read_turned(BLANK, read, never, never)  # type: ignore[arg-type]
    assert page.turn == 90 and [one.box for one in page.lines] == [(160, 30, 180, 130), (135, 30, 155, 130)]
    whole, *parts = lay_out(page.lines, page.turn)
    assert (whole.text, whole.box, whole.turn) == ("first line second line", (135, 30, 180, 130), 90)
    assert [part.box for part in parts] == [(160, 30, 180, 130), (135, 30, 155, 130)]


def test_the_first_reading_stays_where_the_turned_one_has_less() -> None:
    def read(page: np.ndarray) -> list[Line]:
        return [] if page.shape[:2] == (200, 300) else [line(160, 30, "EXIT", size=(20, 100))]

    page = read_turned(BLANK, read, never, never)  # type: ignore[arg-type]
    assert [(one.text, one.box) for one in page.lines] == [("EXIT", (160, 30, 180, 130))]


@pytest.mark.parametrize("turned", [90.0, 180.0, 270.0, 7.0, 187.0])
def test_children_of_a_turned_page_are_in_the_order_of_the_page_turned_back(turned: float) -> None:
    """Twelve lines of 600 x 20 with 10 px between them."""
    upright = [line(20, 30 * i, f"line {i:02d}", size=(600, 20)) for i in range(12)]
    angle = np.radians(turned)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    lines = [Line((one.quad @ matrix + 1000).astype(np.float32), one.text, 0.99, 0) for one in upright]
    _, *parts = lay_out(lines, turned)
    kept = filter_proposals(parts, (0, 0, 3000, 3000), Propose(min_side=4, max_children=20), "a/0")
    nested = nest(kept.proposals, Propose(max_children=20), "a/0")
    assert [p.text for p in nested.siblings] == [one.text for one in upright]
    assert not kept.rejected and not nested.rejected


def test_a_box_turned_back_is_the_rectangle_inside_it() -> None:
    """60 x 20 around (100, 50), turned by 30 degrees: cos = 0.866, sin = 0.5, so its box is 61.96 x 47.32."""
    around = (100 - 30.98, 50 - 23.66, 100 + 30.98, 50 + 23.66)
    x0, y0, x1, y1 = boxes.turn_back(around, 30)
    assert (x1 - x0, y1 - y0) == pytest.approx((60, 20), abs=0.01)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((111.60, -6.70), abs=0.01)  # 86.6 + 25, 43.3 - 50
    assert boxes.turn_back((10, 20, 30, 80), 90) == pytest.approx((20, -30, 80, -10))
