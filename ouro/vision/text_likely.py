"""Is there text in a picture? A cheap answer, and why, so that OCR runs only where it may find something.

Letters of printed text are marks of one colour on an even ground, drawn with strokes of one width, in rows of one
height. So: threshold the picture against its surroundings (dark on light, then light on dark), take connected marks
of the shape and size of letters, chain each to its nearest neighbour on the right that is as tall, and ask of every
chain whether its marks are alike. The cues are those of the stroke width transform (Epshtein, Ofek and Wexler,
"Detecting text in natural scenes with stroke width transform", CVPR 2010, section 3: strokes of constant width,
letters grouped in lines by height, distance and colour). Ours differs: a mark's stroke width is one number, twice
its area over its outline, and marks come from a threshold instead of from rays between edges, which is what makes
it fast; and the ground around the marks must be even, which tells rows of letters from rows of gravel.

Its limits: slanted and vertical rows, handwriting and scripts whose letters are joined, fewer than three letters
together, text on a busy ground, and letters that are lower than 5 pixels once the picture is as small as the text
detector of PaddleOCR would see it.

Legend: `grey` (H, W) uint8; marks (N, 5) int32 rows of x0, y0, width, height, area, by x0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

SCALES = (1.0, 0.4)  # letters of 5 to 60 pixels, and of up to 150
WINDOW = 25  # pixels; the surroundings that a pixel is compared with
CONTRAST = 20  # grey levels that ink is darker (or lighter) than them
LOWEST, HIGHEST = 5, 60  # pixels
WIDEST, NARROWEST = 4.0, 0.125  # width over height: touching letters are one mark, "l" is narrow
SOLID = 0.15  # share of its box that a letter fills at least
SAME_ROW, SAME_HEIGHT, GAP, OVERLAP = 0.6, 1.8, 0.7, 0.2  # of neighbours in a row, in heights of the lower one
MARGIN = 2  # pixels around a mark that show its ground
INK, GROUND, ROUGH = (
    0.2,
    0.3,
    0.25,
)  # most that ink and ground differ along a row, and the ground by a mark: of contrast
STROKES = 0.22  # most that stroke widths differ along a row: standard deviation over mean
ODD = 0.5  # share by which a mark's ink or stroke width differs from the row's when it is none of its letters
THIN, THICK = 0.08, 0.3  # stroke width over height
LEVEL = 0.85  # share of the taller one's height that two marks alone have in common
WORD = 3  # letters that are text when they stand together
PAIRS = 4  # or so many rows of two, such as the numbers of an axis

Grey = NDArray[np.uint8]
Ints = NDArray[np.int32]


class Likely(NamedTuple):
    """`reason`: "rows_of_letters", "no_letters" (no letter-like marks) or "no_rows" (but none alike in rows);
    `why`: the numbers behind it."""

    likely: bool
    reason: str
    why: str


class _Marks(NamedTuple):
    boxes: Ints
    labels: Ints  # (N,) the marks' numbers in `image`
    image: NDArray[np.int32]  # (H, W); 0 is the ground


def text_likely(picture: PIL.Image.Image, max_side: int) -> Likely:
    """Whether rows of letters can be seen once the picture's longer side is at most `max_side` pixels."""
    import cv2

    grey = np.asarray(picture.convert("L"))
    marks, longest, pairs = 0, 0, 0
    for scale in SCALES:
        seen = _shrunk(cv2, grey, scale * min(1.0, max_side / max(grey.shape)))
        for letters in (_marks(cv2, seen, dark=True), _marks(cv2, seen, dark=False)):
            found = [_even(row, letters, seen) for row in _rows(letters.boxes)]
            marks += len(letters.boxes)
            longest, pairs = max([longest, *found]), pairs + found.count(2)
    numbers = f"{marks} letter-like marks, longest even row {longest}, rows of two {pairs}"
    if longest >= WORD or pairs >= PAIRS:
        return Likely(True, "rows_of_letters", numbers)
    return Likely(False, "no_rows" if marks else "no_letters", numbers)


def _shrunk(cv2: Any, grey: Grey, scale: float) -> Grey:
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _marks(cv2: Any, grey: Grey, *, dark: bool) -> _Marks:
    """The letter-like marks that are darker, or lighter, than their surroundings."""
    around = cv2.boxFilter(grey, -1, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE)
    ink = cv2.subtract(around, grey) if dark else cv2.subtract(grey, around)
    _, image, stats, _ = cv2.connectedComponentsWithStats((ink > CONTRAST).astype(np.uint8), connectivity=8)
    _, _, w, h, area = stats.T
    fits = (h >= LOWEST) & (h <= HIGHEST) & (w <= WIDEST * h) & (w >= NARROWEST * h) & (area >= SOLID * w * h)
    fits[0] = False  # the ground
    labels = np.flatnonzero(fits)
    labels = labels[np.argsort(stats[labels, 0], kind="stable")]
    return _Marks(stats[labels], labels.astype(np.int32), image)


def _rows(marks: Ints) -> list[list[int]]:
    """Chains of at least two marks: each is followed by the nearest one on its right that is in its row."""
    following = _following(marks)
    led = set(following)
    rows: list[list[int]] = []
    for first in range(len(marks)):
        row, after = [first], following[first]
        while after >= 0 and first not in led:
            row.append(after)
            after = following[after]
        if len(row) >= WORD or (len(row) == 2 and _level(marks[row[0]], marks[row[1]])):
            rows.append(row)
    return rows


def _level(a: Ints, b: Ints) -> bool:
    """Whether two marks are as tall and stand as high as each other, as the digits of a number do."""
    common = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return bool(common >= LEVEL * max(a[3], b[3]))


def _following(marks: Ints) -> list[int]:
    """For each mark the index of the next one in its row, or -1. One vector operation a step to the right."""
    x0, y0, w, h, _ = marks.T
    last = np.searchsorted(x0, x0 + w + GAP * h, "right")
    found = np.full(len(marks), -1)
    for step in range(1, int((last - np.arange(len(marks))).max(initial=0))):
        i = np.flatnonzero((found[:-step] < 0) & (np.arange(len(marks) - step) + step < last[:-step]))
        j = i + step
        low = np.minimum(h[i], h[j])
        common = np.minimum(y0[i] + h[i], y0[j] + h[j]) - np.maximum(y0[i], y0[j])
        gap = x0[j] - x0[i] - w[i]
        fits = (common >= SAME_ROW * low) & (np.maximum(h[i], h[j]) <= SAME_HEIGHT * low)
        fits &= (gap <= GAP * low) & (gap >= -OVERLAP * low)
        found[i[fits]] = j[fits]
    return found.tolist()


def _even(row: list[int], marks: _Marks, grey: Grey) -> int:
    """How many marks of a row have one ink, one even ground and one stroke width; 0 if they are not alike.

    Single marks that are unlike the row's median (a logo's drawn letter) are left out first. For speed a row that
    begins on a ground twice as rough as allowed is not looked at any further.
    """
    first = _look(marks, row[0], grey)
    if first[2] > 2 * ROUGH * abs(first[0] - first[1]):
        return 0
    looks = np.array([first, *(_look(marks, i, grey) for i in row[1:])])
    ink, ground, _, stroke = np.median(looks, axis=0)
    odd = np.abs(looks[:, 0] - ink) > ODD * abs(ink - ground)
    odd |= np.abs(looks[:, 3] - stroke) > ODD * stroke
    return len(row) - int(odd.sum()) if _alike(looks[~odd], marks.boxes[row, 3][~odd]) else 0


def _alike(looks: NDArray[np.float64], heights: Ints) -> bool:
    """`looks`: (N, 4) as of `_look`."""
    if len(looks) < 2:
        return False
    ink, ground, rough, stroke = looks.T
    contrast = max(1.0, float(np.abs(ink - ground).mean()))
    even = ink.std() <= INK * contrast and ground.std() <= GROUND * contrast and rough.mean() <= ROUGH * contrast
    thickness = stroke.mean() / np.median(heights)
    return bool(even and stroke.std() <= STROKES * stroke.mean() and THIN <= thickness <= THICK)


def _look(marks: _Marks, i: int, grey: Grey) -> tuple[float, float, float, float]:
    """Mean ink, median ground and its standard deviation, in grey levels; stroke width, in pixels."""
    x, y, w, h, area = marks.boxes[i].tolist()
    window = np.s_[max(0, y - MARGIN) : y + h + MARGIN, max(0, x - MARGIN) : x + w + MARGIN]
    labels, levels = marks.image[window], grey[window]
    mine, ground = labels == marks.labels[i], levels[labels == 0]
    if not ground.size:
        ground = levels
    outline = np.count_nonzero(mine[:, 1:] != mine[:, :-1]) + np.count_nonzero(mine[1:] != mine[:-1])
    return float(levels[mine].mean()), float(np.median(ground)), float(ground.std()), 2 * area / max(outline, 1)
