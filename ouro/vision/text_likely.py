"""A cheap test whether a picture may contain text, so that OCR is run only on pictures with text.

Letters of printed text are marks of one colour on a uniform background, drawn with strokes of one width, in rows of one
height. So: threshold the picture against its surroundings (dark on light, then light on dark), take connected marks
of the shape and size of letters, chain each to its nearest neighbour on the right of similar height, and test every
chain for similar marks. The cues are those of the stroke width transform (Epshtein, Ofek and Wexler,
"Detecting text in natural scenes with stroke width transform", CVPR 2010, section 3: strokes of constant width,
letters grouped in lines by height, distance and colour). Ours differs: a mark's stroke width is one number, twice
its area over its outline, and marks come from a threshold instead of from rays between edges, which makes it fast; and
the background around the marks must be uniform, which separates rows of letters from rows of gravel.

It misses slanted and vertical rows, handwriting and scripts with joined letters, groups of fewer than three letters,
text on a textured background, and letters of less than 5 pixels in height at the size that PaddleOCR's text detector
scales the picture to.

Legend: `grey` (H, W) uint8; marks (N, 5) int32 rows of x0, y0, width, height, area, by x0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import PIL.Image

SCALES = (1.0, 0.4)  # letters of 5 to 60 pixels, and of up to 150
WINDOW = 25  # pixels; side of the window whose mean a pixel is compared with
CONTRAST = 20  # min difference, in grey levels, of a mark's pixels from that mean
LOWEST, HIGHEST = 5, 60  # pixels
WIDEST, NARROWEST = 4.0, 0.125  # width over height: touching letters are one mark, "l" is narrow
SOLID = 0.15  # min share of its box that a letter fills
SAME_ROW, SAME_HEIGHT, GAP, OVERLAP = 0.6, 1.8, 0.7, 0.2  # of neighbours in a row, in units of the smaller height
MARGIN = 2  # pixels around a mark from which its background is measured
INK, GROUND, ROUGH = (
    0.2,
    0.3,
    0.25,
)  # max variation of ink and of background along a row, and of the background around a mark; shares of the contrast
STROKES = 0.22  # max variation of stroke widths along a row: standard deviation over mean
ODD = 0.5  # a mark whose ink or stroke width differs from the row's median by a larger share is an outlier
THIN, THICK = 0.08, 0.3  # bounds of stroke width over height
LEVEL = 0.85  # min overlap in y of the marks of a row of two, as a share of the larger height
WORD = 3  # a row of so many letters is text
PAIRS = 4  # and so are so many rows of two, such as the numbers of an axis

Grey = NDArray[np.uint8]
Ints = NDArray[np.int32]


class TextLikelihood(NamedTuple):
    """`reason`: "rows_of_letters", "no_letters" (no letter-like marks) or "no_rows" (marks, but not in similar rows).

    `counts`: the numbers that decided it.
    """

    likely: bool
    reason: str
    counts: str


class _Marks(NamedTuple):
    boxes: Ints
    labels: Ints  # (N,) the marks' labels in `image`
    image: NDArray[np.int32]  # (H, W); 0 is the background


def is_text_likely(picture: PIL.Image.Image, max_side: int) -> TextLikelihood:
    """Whether the picture has rows of letters when its longer side is scaled down to at most `max_side` pixels."""
    import cv2

    grey = np.asarray(picture.convert("L"))
    marks, longest, pairs = 0, 0, 0
    for scale in SCALES:
        scaled = _shrink(cv2, grey, scale * min(1.0, max_side / max(grey.shape)))
        for letters in (_find_marks(cv2, scaled, dark=True), _find_marks(cv2, scaled, dark=False)):
            row_lengths = [_count_alike(row, letters, scaled) for row in _chain_rows(letters.boxes)]
            marks += len(letters.boxes)
            longest, pairs = max([longest, *row_lengths]), pairs + row_lengths.count(2)
    numbers = f"{marks} letter-like marks, longest even row {longest}, rows of two {pairs}"
    if longest >= WORD or pairs >= PAIRS:
        return TextLikelihood(True, "rows_of_letters", numbers)
    return TextLikelihood(False, "no_rows" if marks else "no_letters", numbers)


def _shrink(cv2: Any, grey: Grey, scale: float) -> Grey:
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _find_marks(cv2: Any, grey: Grey, *, dark: bool) -> _Marks:
    """The letter-like marks that are darker, or lighter, than their surroundings."""
    surroundings = cv2.boxFilter(grey, -1, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE)
    ink = cv2.subtract(surroundings, grey) if dark else cv2.subtract(grey, surroundings)
    _, image, stats, _ = cv2.connectedComponentsWithStats((ink > CONTRAST).astype(np.uint8), connectivity=8)
    _, _, w, h, area = stats.T
    is_letter = (h >= LOWEST) & (h <= HIGHEST) & (w <= WIDEST * h) & (w >= NARROWEST * h) & (area >= SOLID * w * h)
    is_letter[0] = False  # the background
    labels = np.flatnonzero(is_letter)
    labels = labels[np.argsort(stats[labels, 0], kind="stable")]
    return _Marks(stats[labels], labels.astype(np.int32), image)


def _chain_rows(marks: Ints) -> list[list[int]]:
    """Chains of at least two marks; each mark is followed by the nearest one on its right in the same row."""
    next_marks = _find_next_marks(marks)
    followers = set(next_marks)
    rows: list[list[int]] = []
    for first in range(len(marks)):
        row, follower = [first], next_marks[first]
        while follower >= 0 and first not in followers:
            row.append(follower)
            follower = next_marks[follower]
        if len(row) >= WORD or (len(row) == 2 and _are_level(marks[row[0]], marks[row[1]])):
            rows.append(row)
    return rows


def _are_level(a: Ints, b: Ints) -> bool:
    """Whether two marks have about the same height and vertical position, like the digits of a number."""
    common = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return bool(common >= LEVEL * max(a[3], b[3]))


def _find_next_marks(marks: Ints) -> list[int]:
    """For each mark the index of the next one in its row, or -1. One vector operation per step to the right."""
    x0, y0, w, h, _ = marks.T
    last = np.searchsorted(x0, x0 + w + GAP * h, "right")
    next_marks = np.full(len(marks), -1)
    for step in range(1, int((last - np.arange(len(marks))).max(initial=0))):
        i = np.flatnonzero((next_marks[:-step] < 0) & (np.arange(len(marks) - step) + step < last[:-step]))
        j = i + step
        low = np.minimum(h[i], h[j])
        common = np.minimum(y0[i] + h[i], y0[j] + h[j]) - np.maximum(y0[i], y0[j])
        gap = x0[j] - x0[i] - w[i]
        is_neighbour = (common >= SAME_ROW * low) & (np.maximum(h[i], h[j]) <= SAME_HEIGHT * low)
        is_neighbour &= (gap <= GAP * low) & (gap >= -OVERLAP * low)
        next_marks[i[is_neighbour]] = j[is_neighbour]
    return next_marks.tolist()


def _count_alike(row: list[int], marks: _Marks, grey: Grey) -> int:
    """The number of a row's marks with the same ink, background and stroke width; 0 if they are not similar.

    Single marks that differ from the row's median (a drawn letter of a logo) are left out first. For speed, a row whose
    first mark has a background with twice the allowed variation is rejected at once.
    """
    first_measures = _measure_mark(marks, row[0], grey)
    if first_measures[2] > 2 * ROUGH * abs(first_measures[0] - first_measures[1]):
        return 0
    measures = np.array([first_measures, *(_measure_mark(marks, i, grey) for i in row[1:])])
    ink, ground, _, stroke = np.median(measures, axis=0)
    outliers = np.abs(measures[:, 0] - ink) > ODD * abs(ink - ground)
    outliers |= np.abs(measures[:, 3] - stroke) > ODD * stroke
    return len(row) - int(outliers.sum()) if _are_alike(measures[~outliers], marks.boxes[row, 3][~outliers]) else 0


def _are_alike(measures: NDArray[np.float64], heights: Ints) -> bool:
    """Whether marks are similar. `measures`: (N, 4), the results of `_measure_mark`; `heights`: (N,) pixels."""
    if len(measures) < 2:
        return False
    ink, ground, rough, stroke = measures.T
    contrast = max(1.0, float(np.abs(ink - ground).mean()))
    is_even = ink.std() <= INK * contrast and ground.std() <= GROUND * contrast and rough.mean() <= ROUGH * contrast
    thickness = stroke.mean() / np.median(heights)
    return bool(is_even and stroke.std() <= STROKES * stroke.mean() and THIN <= thickness <= THICK)


def _measure_mark(marks: _Marks, i: int, grey: Grey) -> tuple[float, float, float, float]:
    """Mean ink, median background and its standard deviation, in grey levels; stroke width, in pixels."""
    x, y, w, h, area = marks.boxes[i].tolist()
    window = np.s_[max(0, y - MARGIN) : y + h + MARGIN, max(0, x - MARGIN) : x + w + MARGIN]
    labels, levels = marks.image[window], grey[window]
    mark_pixels, ground = labels == marks.labels[i], levels[labels == 0]
    if not ground.size:
        ground = levels
    outline = np.count_nonzero(mark_pixels[:, 1:] != mark_pixels[:, :-1]) + np.count_nonzero(
        mark_pixels[1:] != mark_pixels[:-1]
    )
    return float(levels[mark_pixels].mean()), float(np.median(ground)), float(ground.std()), 2 * area / max(outline, 1)
