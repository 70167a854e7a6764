"""How well OCR reads pages that lie turned, and how long an upright one takes: `uv run python perf/turned_pages.py`.

Pages of known text in four typefaces (a letter, a receipt, an invoice with a table, a notice of large print), and
scikit-image's photograph of a printed page, each as it is and turned clockwise by 90, 180, 270 and 7 degrees. Prints a
line per page and turn: character accuracy (1 - edit distance / length of the true text, blanks collapsed; over the
blocks in the order in which they are given, as a description quotes them) and mean score, of PP-OCR's one reading of
the page as it lies, the baseline, and of ours; seconds of processor time of ours, the least of `--repeat`, and their
ratio to the baseline's. With `--floor 0.9` it ends with exit code 1 below that accuracy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from rapidfuzz.distance import Levenshtein

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ouro.vision.turned import Page, lay_out  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ouro.vision.ocr_models import Tools
    from ouro.vision.protocols import Proposal

MIN_SCORE = 0.6  # propose.ocr_min_score
TURNS = (0, 90, 180, 270, 7)  # degrees, clockwise
PAPER = "#f6f4ee"
SIZE = (760, 980)
LETTER = """Dear Ms Calloway,

Thank you for your order of 14 March. The two
bookcases will be delivered on Tuesday between
9 and 12 o'clock by our own carrier.

Please have somebody at the door who can sign
for them. If the lift is out of order, call us
on the day before: 020 7946 0318.

Yours sincerely,
H. Brandt, Customer Service"""
RECEIPT = """GREEN CORNER MARKET
27 Station Road, Hillford
Tel 01632 960 417

Oat milk 1 l          2.35
Rye bread 500 g       3.10
Tomatoes              2.84
Coffee beans          8.95
Paper bag             0.20

Subtotal             17.44
VAT 7 %               1.14
Total                18.58
Card payment         18.58

Thank you for shopping!"""
INVOICE = """INVOICE 2024-0187
Date: 6 November 2024
Northwind Tools Ltd"""
CELLS = (
    ("Item", "Quantity", "Price"), ("Hammer", "12", "9.50"), ("Wrench", "4", "14.25"), ("Pliers", "7", "11.00"),
)  # fmt: skip
NOTICE = """SWIMMING POOL
CLOSED
until Monday
6 May"""
PRINT = """Region-based segmentation
Let us first determine markers of the coins and the background. These markers are pixels that we can label
unambiguously as either object or background. Here, the markers are found at the two extreme parts of the
histogram of grey values:
>>> markers = np.zeros_like(coins)"""


def font(name: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    """A typeface of those that matplotlib brings."""
    import matplotlib

    return PIL.ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", size)


def paper(size: tuple[int, int] = SIZE) -> tuple[PIL.Image.Image, PIL.ImageDraw.ImageDraw]:
    picture = PIL.Image.new("RGB", size, PAPER)
    return picture, PIL.ImageDraw.Draw(picture)


def plain(text: str, typeface: str, size: int, page: tuple[int, int] = SIZE) -> PIL.Image.Image:
    """A page of text from its upper left corner on."""
    picture, draw = paper(page)
    draw.multiline_text((70, 70), text, fill="#222222", font=font(typeface, size), spacing=size // 2)
    return picture


def invoice() -> PIL.Image.Image:
    """Three lines above a table of three columns."""
    picture, draw = paper()
    face = font("DejaVuSans", 24)
    draw.multiline_text((70, 70), INVOICE, fill="#111111", font=face, spacing=14)
    for row, cells in enumerate(CELLS):
        for column, cell in enumerate(cells):
            draw.text((90 + 210 * column, 290 + 50 * row), cell, fill="#111111", font=face)
    return picture


def pages() -> dict[str, tuple[PIL.Image.Image, str]]:
    """name -> an upright page and its text."""
    import skimage.data

    table = " ".join(cell for row in CELLS for cell in row)
    return {
        "letter": (plain(LETTER, "STIXGeneral", 30), LETTER),
        "receipt": (plain(RECEIPT, "DejaVuSansMono", 21, (520, 700)), RECEIPT),
        "invoice": (invoice(), f"{INVOICE} {table}"),
        "notice": (plain(NOTICE, "DejaVuSerif-Bold", 64, (800, 600)), NOTICE),
        "print": (PIL.Image.fromarray(skimage.data.page()).convert("RGB"), PRINT),
    }


def turn(picture: PIL.Image.Image, degrees: int) -> PIL.Image.Image:
    """The picture turned clockwise, large enough for all of it."""
    fill = picture.getpixel((picture.width // 2, 3)) if degrees % 90 else None
    return picture.rotate(-degrees, PIL.Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def blocks(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals that are no line of the block before them."""
    from ouro.vision.layout import is_line_of

    return [p for p in proposals if not any(is_line_of(p, other) for other in proposals)]


def accuracy(text: str, truth: str) -> float:
    """1 - edit distance over the length of the truth, blanks collapsed; not below 0."""
    got, expected = (" ".join(one.split()) for one in (text, truth))
    return max(0.0, 1 - Levenshtein.distance(got, expected) / len(expected))


def main() -> None:
    """Read every page at every turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--floor", type=float, default=0.0, help="least character accuracy")
    options = parser.parse_args()
    from ouro.vision.ocr_models import Tools

    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder), threads=0)
        tools.read(np.full((64, 64, 3), 255, dtype=np.uint8))  # loads the models
        print("page     turn   as it lies             right way up           seconds")
        lowest = min(
            _compare(tools, name, picture, truth, degrees, options.repeat)
            for name, (picture, truth) in pages().items()
            for degrees in TURNS
        )
    if lowest < options.floor:
        sys.exit(f"character accuracy {lowest:.3f}, expected at least {options.floor}")


def _compare(tools: Tools, name: str, picture: PIL.Image.Image, truth: str, degrees: int, repeat: int) -> float:
    """Print one line; the accuracy of the reading the right way up."""
    page = np.ascontiguousarray(np.asarray(turn(picture, degrees))[:, :, ::-1])
    before = _best_of(repeat, lambda: Page(tools.read_lines(page), 0))
    after = _best_of(repeat, lambda: tools.read(page))
    print(f"{name:8} {degrees:4}   {before.describe(truth)}   {after.describe(truth)}   {after.seconds:.2f}"
          f" ({after.seconds / before.seconds:.2f} x)")  # fmt: skip
    return accuracy(after.text, truth)


class Reading(NamedTuple):
    """Text in the order of its blocks, their mean score, seconds of processor time."""

    text: str
    score: float
    seconds: float

    def describe(self, truth: str) -> str:
        return f"{accuracy(self.text, truth):.3f} (score {self.score:.2f})"


def _best_of(repeat: int, read: Callable[[], Page]) -> Reading:
    seconds, page = [], Page([], 0)
    for _ in range(repeat):
        started = time.process_time()
        page = read()
        seconds.append(time.process_time() - started)
    found = blocks(lay_out([line for line in page.lines if line.score >= MIN_SCORE], page.turn))
    score = sum(p.score for p in found) / max(1, len(found))
    return Reading(" ".join(p.text for p in found), score, min(seconds))


if __name__ == "__main__":
    main()
