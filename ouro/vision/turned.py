"""Text that lies turned: lines are read again the right way up, and pages are laid out as if they lay upright.

PP-OCR's detector finds lines of any direction. Its recogniser gets them cut out, tall ones turned by a quarter
counter-clockwise, and so it reads a page that is turned clockwise by 90 degrees well, and upside-down lines as other
letters with middling scores ("Totl l 50o"). Therefore: lines with a score below SURE are shown to a classifier of
upside-down lines and, turned by 180 degrees, to the recogniser; the reading with the better score stays. Where most
text of a page is turned by one quarter, the page is, and it is read once more turned back, since the detector finds
more of upright text. A page whose long lines agree on a slant is laid out along it. A page of upright lines read with
sure scores costs nothing more.

PP-OCR's own pipeline asks its classifier for every line and believes it (DB: Liao et al., AAAI 2020; the classifier:
Du et al., "PP-OCR: A practical ultra lightweight OCR system", 2020, section 2.2); ours needs the recogniser to agree.

Legend: `page` (H, W, 3) uint8; a quad is (4, 2) float32, xy, pixels, from the upper left corner clockwise, as it lies
in the picture. A turn is in degrees, clockwise: by how much the text is turned from upright.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ouro.core import boxes
from ouro.vision.layout import OCR, read_page, to_proposals
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ouro.core.records import Box

    Read = Callable[[np.ndarray], list["Line"]]
    Classify = Callable[[Sequence[np.ndarray]], np.ndarray]
    Recognise = Callable[[Sequence[np.ndarray]], list[tuple[str, float]]]

Quad = NDArray[np.float32]
SURE = 0.9  # a line with a better score is taken as it was read
TRUSTED, BETTER = 0.8, 0.1  # least score of the turned reading, and by how much it must be better
LETTERS = 3  # letters and digits of a reading that is believed: a drawn shape is a character in any direction
TALL = 1.5  # height over width from which PP-OCR turns a line by a quarter
LONG = 4.0  # width over height from which a line's slant is measured
AGREED, SLANT = 1.5, 2.5  # degrees: how near to each other slants are, and the least that matters
MANY = 3  # lines that must agree on a slant


class Line(NamedTuple):
    """A line or word as it was read. `turn`: 0, 90, 180 or 270, the way in which it was read."""

    quad: Quad
    text: str
    score: float
    turn: int

    @property
    def box(self) -> Box:
        """The upright box around it, in pixels of the picture as it is."""
        return _hull(self.quad)


class Page(NamedTuple):
    """What stands on a page; `turn` is the whole page's."""

    lines: list[Line]
    turn: float


def first_turn(quad: Quad) -> int:
    """How PP-OCR's pipeline reads a line: 90 for a tall one, else 0."""
    width, height = map(int, _sides(quad))
    return 90 if height >= TALL * max(1, width) else 0


def read_turned(page: np.ndarray, read: Read, classify: Classify, recognise: Recognise) -> Page:
    """What stands on a page, each line in its better reading, and how the page lies.

    `read` detects and reads the lines of a page as they lie, `classify` gives the probabilities that lines are upside
    down, `recognise` the text and score of each.
    """
    lines = _read_lines(page, read, classify, recognise)
    quarter = _page_quarter(lines)
    if quarter:
        upright = _read_lines(np.ascontiguousarray(np.rot90(page, quarter // 90)), read, classify, recognise)
        if _amount(upright) >= _amount(lines):
            lines = [_to_picture(line, quarter, page.shape[1], page.shape[0]) for line in upright]
    return Page(lines, (quarter + _slant(lines, quarter)) % 360)


def _read_lines(page: np.ndarray, read: Read, classify: Classify, recognise: Recognise) -> list[Line]:
    """The lines with text; those that are doubtful in the better of two readings."""
    lines = read(page)
    doubtful = [i for i, line in enumerate(lines) if line.score < SURE and min(_sides(line.quad)) >= 1]
    flipped = classify([_cut(page, lines[i].quad, lines[i].turn) for i in doubtful]) > 0.5 if doubtful else np.array([])
    if 2 * np.count_nonzero(flipped) > len(flipped):
        flipped = np.ones(len(flipped))  # short lines are hard to classify: they are as most are
    chosen = [i for i, is_flipped in zip(doubtful, flipped, strict=True) if is_flipped]
    turns = [(lines[i].turn + 180) % 360 for i in chosen]
    cuts = [_cut(page, lines[i].quad, turn) for i, turn in zip(chosen, turns, strict=True)]
    readings = recognise(cuts) if cuts else []
    for i, turn, (text, score) in zip(chosen, turns, readings, strict=True):
        if _is_better(lines[i], new := Line(lines[i].quad, text, score, turn)):
            lines[i] = new
    return [line for line in lines if line.text]


def _is_better(old: Line, new: Line) -> bool:
    letters = sum(map(str.isalnum, new.text))
    return letters >= LETTERS and new.score >= max(TRUSTED, old.score + BETTER)


def _amount(lines: Sequence[Line]) -> float:
    return sum(len(line.text) * line.score for line in lines)


def _to_picture(line: Line, quarter: int, width: int, height: int) -> Line:
    """A line of a page that was turned back by `quarter`, where it lies in the picture of this width and height."""
    x, y = line.quad.T
    corners = {90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}[quarter]
    quad = np.roll(np.stack(corners, axis=1), quarter // 90, axis=0).astype(np.float32)
    return Line(quad, line.text, line.score, (line.turn + quarter) % 360)


def _cut(page: np.ndarray, quad: Quad, turn: int) -> np.ndarray:
    """A line cut out of a page and turned back, so that it is upright if its turn is the one given."""
    import cv2

    width, height = (max(1, int(side)) for side in _sides(quad))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    flat: Any = cv2.warpPerspective(
        page,
        cv2.getPerspectiveTransform(quad, corners),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
        flags=cv2.INTER_CUBIC,
    )
    return np.ascontiguousarray(np.rot90(flat, turn // 90))


def _sides(quad: Quad) -> tuple[float, float]:
    """The longer ones of the opposite sides: width and height."""
    a, b, c, d = quad
    width = max(np.linalg.norm(a - b), np.linalg.norm(c - d))
    return float(width), float(max(np.linalg.norm(a - d), np.linalg.norm(b - c)))


# ---- whole pages -------------------------------------------------------------------------------------------


def _page_quarter(lines: Sequence[Line]) -> int:
    """The turn of most text: of more than half, weighted by length and score; else 0."""
    words = [line for line in lines if len(line.text) >= LETTERS]
    most = max((0, 90, 180, 270), key=lambda turn: _amount([line for line in words if line.turn == turn]))
    return most if 2 * _amount([line for line in words if line.turn == most]) > _amount(words) else 0


def _slant(lines: Sequence[Line], quarter: int) -> float:
    """Degrees, clockwise, by which the long lines of a page slant beyond its quarter; 0 where they do not agree."""
    angles = [_angle(line.quad, quarter) for line in lines if _length_ratio(line.quad, quarter) >= LONG]
    if len(angles) < MANY:
        return 0.0
    median = float(np.median(angles))
    near = sum(abs(angle - median) <= AGREED for angle in angles)
    return median if near >= MANY and 2 * near > len(angles) and abs(median) >= SLANT else 0.0


def _length_ratio(quad: Quad, quarter: int) -> float:
    width, height = _sides(quad)[:: -1 if quarter % 180 else 1]
    return width / max(1.0, height)


def _angle(quad: Quad, quarter: int) -> float:
    """The slant of a line's base beyond the quarter, in -45..45 degrees."""
    a, b, c, d = quad
    x, y = (d - a) + (c - b) if quarter % 180 else (b - a) + (c - d)
    angle = math.degrees(math.atan2(y, x)) - (90 if quarter % 180 else 0)
    return (angle + 45) % 90 - 45


def lay_out(lines: Sequence[Line], turn: float) -> list[Proposal]:
    """Blocks in reading order, each followed by its lines if it has more than one; boxes in the picture as it is.

    A proposal's `turn` is the page's.
    """
    if not turn:
        return to_proposals(read_page([Proposal(line.box, line.score, OCR, line.text) for line in lines]))
    upright = [_hull(_turn_back(line.quad, turn)) for line in lines]
    pieces = [Proposal(box, line.score, OCR, line.text) for box, line in zip(upright, lines, strict=True)]
    places = [(piece, line.box) for piece, line in zip(pieces, lines, strict=True)]
    return [
        found._replace(box=boxes.hull([box for piece, box in places if _is_part(piece, found)]), turn=turn)
        for found in to_proposals(read_page(pieces))
    ]


def _is_part(piece: Proposal, whole: Proposal) -> bool:
    return boxes.intersection(piece.box, whole.box) == piece.box and piece.text in whole.text


def _turn_back(quad: Quad, turn: float) -> NDArray[np.float64]:
    """The corners in a picture that is turned so that text of this turn is upright, around the origin."""
    cos, sin = (round(f(math.radians(turn)), 12) for f in (math.cos, math.sin))
    return quad.astype(np.float64) @ np.array([[cos, -sin], [sin, cos]])


def _hull(quad: NDArray[Any]) -> Box:
    low, high = quad.min(axis=0), quad.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
