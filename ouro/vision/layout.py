"""The geometry of text: pieces to lines to blocks in reading order, tables, and the kinds of regions. Pure.

A piece is what OCR read at once: a word, or words without a wide gap. `read_page` joins pieces to lines and lines
to blocks bottom-up, by closeness and alignment in units of the letters' height, as in the document spectrum
(O'Gorman, "The document spectrum for page layout analysis", PAMI 15(11), 1993); cells that overlap in x make the
columns of a table, as in T-Recs (Kieninger and Dengel, "The T-Recs table recognition and analysis system", DAS 1998).
Ours differs: the docstrum estimates its distances from the histograms of the page, and a sign of two words has none,
so here they are constants; and skew is not estimated: the boxes are upright.

Legend: all boxes xyxy, pixels of one picture. Distances are in heights of the lower one of the two boxes compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from ouro.core import boxes
from ouro.vision.axes import has_axis
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.core.records import Box

OCR = "ocr"  # the source of proposals that are text and nothing else
READ_SIDE = 960  # pixels; text is looked for in a picture that is scaled down to this, if it is longer
SAME_ROW = 0.5  # share of the lower box's height that two pieces of one line have in common
SAME_SIZE = 1.6  # most that the heights of a block's neighbouring lines differ by, as a ratio; headings differ by more
WORD_GAP = 1.0  # widest gap in a line; the gap between columns of print is wider
LINE_GAP = 0.75  # widest gap between the lines of a block; between paragraphs it is wider
STACKED = 0.5  # share of the shorter line's width that a neighbouring line of its block lies above or below
CELL_GAP = 10.0  # widest gap between cells of a row
ROW_GAP = 1.5  # and of a column
MIN_ROWS, MIN_COLUMNS = 3, 2
MIN_FILLED = 0.6  # share of a table's rows x columns that hold something
MAX_CELL_WORDS = 4  # half of a table's cells have at most so many words; columns of prose have more
PART = 0.85  # share of a line that lies in its block
MOSTLY = 0.5


class Block(NamedTuple):
    """A paragraph, column, heading, caption or label (`kind` "text") or a "table", with its lines or cells.

    `whole`: the box around them; their texts in reading order, joined by blanks; their mean score weighted by length.
    """

    whole: Proposal
    lines: list[Proposal]
    kind: str


def read_page(pieces: Sequence[Proposal]) -> list[Block]:
    """The blocks of a page in reading order; every piece goes into exactly one."""
    tables = find_tables(pieces)
    used = {id(cell) for table in tables for cell in table}
    lines = _lines([p for p in pieces if id(p) not in used])
    found = [_block(table, "table") for table in tables]
    found += [_block(paragraph, "text") for paragraph in _paragraphs(lines)]
    return [found[i] for i in boxes.page_order([b.whole.box for b in found])]


def as_proposals(blocks: Sequence[Block]) -> list[Proposal]:
    """Each block, followed by its lines when it has more than one: nested candidates, as other proposers' are."""
    return [p for b in blocks for p in ([b.whole, *b.lines] if len(b.lines) > 1 else [b.whole])]


def is_line_of(line: Proposal, block: Proposal) -> bool:
    """Whether one text is a part of another: it lies in it, and its words are among the other's."""
    return (
        0 < len(line.text) < len(block.text)
        and line.text in block.text
        and boxes.containment(line.box, block.box) >= PART
    )


def smallest(texts: Sequence[Proposal]) -> list[Proposal]:
    """The texts without those that hold others: lines and cells, not the blocks that they make."""
    return [t for t in texts if not any(is_line_of(other, t) for other in texts)]


def kind_of(box: Box, text: str, words: Sequence[Proposal]) -> str:
    """One of records.KINDS for a region below the whole image (which is a "scene").

    `text`: what was read in it as one block, else ""; `words`: lines or cells read in it and around it.
    A "table" holds most of its words in one grid; a "chart" has numbers along its left or lower border.
    """
    inside = [w for w in words if boxes.containment(w.box, box) >= MOSTLY]
    if any(len(found) >= MOSTLY * len(inside) for found in find_tables(inside)):
        return "table"
    if text:
        return "text"
    return "chart" if has_axis(box, words) else "object"


# ---- lines and blocks ----------------------------------------------------------------------------------------


def _lines(pieces: Sequence[Proposal]) -> list[Proposal]:
    """Pieces on one baseline without a wide gap become one line, from left to right."""
    groups = _clusters(
        pieces, lambda a, b: _in_one_row(a, b) and _of_one_size(a, b) and _gap(a, b, 0) <= WORD_GAP * _low(a, b)
    )
    return [_joined(sorted(group, key=lambda p: (p.box[0], p.box[1]))) for group in groups]


def _paragraphs(lines: Sequence[Proposal]) -> list[list[Proposal]]:
    """Lines one below the other. A line above (or below) two that stand side by side belongs to neither: it spans
    their columns. A single character is no line: OCR reads drawn shapes as such."""
    near = [(i, j) if _centre(lines[i], 1) < _centre(lines[j], 1) else (j, i) for i, j in _near_pairs(lines)]
    follows = [(i, j) for i, j in near if _is_next(lines[i], lines[j])]
    below = {i: [j for k, j in follows if k == i] for i, _ in follows}
    above = {j: [i for i, k in follows if k == j] for _, j in follows}
    spans = {i for some in (below, above) for i, near in some.items() if _side_by_side([lines[j] for j in near])}
    linked = {(i, j) for i, j in follows if not {i, j} & spans}
    place = {id(line): i for i, line in enumerate(lines)}

    def joined(a: Proposal, b: Proposal) -> bool:
        i, j = place[id(a)], place[id(b)]
        return (i, j) in linked or (j, i) in linked

    return _clusters(lines, joined)


def _is_next(a: Proposal, b: Proposal) -> bool:
    stacked = -_gap(a, b, 0) >= STACKED * min(_side(a, 0), _side(b, 0)) and not _in_one_row(a, b)
    words = min(len(a.text), len(b.text)) > 1
    return words and stacked and _of_one_size(a, b) and _gap(a, b, 1) <= LINE_GAP * _low(a, b)


def _side_by_side(lines: Sequence[Proposal]) -> bool:
    return any(_in_one_row(a, b) for a, b in combinations(lines, 2))


def _block(lines: Sequence[Proposal], kind: str) -> Block:
    ordered = [lines[i] for i in boxes.reading_order([p.box for p in lines])]
    return Block(_joined(ordered), ordered, kind)


def _joined(parts: Sequence[Proposal]) -> Proposal:
    if len(parts) == 1:
        return parts[0]
    weight = sum(len(p.text) for p in parts)
    score = sum(p.score * len(p.text) for p in parts) / weight
    return Proposal(boxes.hull([p.box for p in parts]), score, OCR, " ".join(p.text for p in parts))


# ---- tables --------------------------------------------------------------------------------------------------


def find_tables(cells: Sequence[Proposal]) -> list[list[Proposal]]:
    """Groups of cells that form a grid of at least 3 rows and 2 columns, most of it filled, with brief cells."""

    def near(a: Proposal, b: Proposal) -> bool:
        low = _low(a, b)
        beside = _in_one_row(a, b) and _gap(a, b, 0) <= CELL_GAP * low
        return beside or (_gap(a, b, 0) < 0 and _gap(a, b, 1) <= ROW_GAP * low)

    grids = [_grid(group) for group in _clusters(cells, near)]
    return [grid for grid in grids if grid]


def _grid(cells: Sequence[Proposal]) -> list[Proposal]:
    """The cells of the rows that have several, if they are a table; else none."""
    rows = [row for row in _clusters(cells, _in_one_row) if len(row) >= MIN_COLUMNS]
    held = [cell for row in rows for cell in row]
    columns = _columns(held)
    if len(rows) < MIN_ROWS or len(columns) < MIN_COLUMNS:
        return []
    column_of = {id(cell): n for n, column in enumerate(columns) for cell in column}
    filled = sum(len({column_of[id(cell)] for cell in row}) for row in rows)
    brief = statistics.median(len(cell.text.split()) for cell in held) <= MAX_CELL_WORDS
    return held if brief and filled >= MIN_FILLED * len(rows) * len(columns) else []


def _columns(cells: Sequence[Proposal]) -> list[list[Proposal]]:
    """Cells that overlap in x, transitively; from left to right."""
    columns: list[list[Proposal]] = []
    edge = -float("inf")
    for cell in sorted(cells, key=lambda c: c.box[0]):
        if cell.box[0] >= edge:
            columns.append([])
        columns[-1].append(cell)
        edge = max(edge, cell.box[2])
    return columns


# ---- pairs of boxes ------------------------------------------------------------------------------------------


def _side(p: Proposal, axis: int) -> float:
    return p.box[axis + 2] - p.box[axis]


def _centre(p: Proposal, axis: int) -> float:
    return (p.box[axis] + p.box[axis + 2]) / 2


def _low(a: Proposal, b: Proposal) -> float:
    return min(_side(a, 1), _side(b, 1))


def _gap(a: Proposal, b: Proposal, axis: int) -> float:
    """Pixels between two boxes along an axis (0: x, 1: y); negative: by how much they overlap."""
    return max(a.box[axis], b.box[axis]) - min(a.box[axis + 2], b.box[axis + 2])


def _of_one_size(a: Proposal, b: Proposal) -> bool:
    return max(_side(a, 1), _side(b, 1)) <= SAME_SIZE * _low(a, b)


def _in_one_row(a: Proposal, b: Proposal) -> bool:
    return -_gap(a, b, 1) >= SAME_ROW * _low(a, b)


def _near_pairs(items: Sequence[Proposal]) -> Iterator[tuple[int, int]]:
    """Index pairs, ascending, of boxes that overlap in y or are at most ROW_GAP apart: every relation here is that."""
    order = sorted(range(len(items)), key=lambda i: items[i].box[1])
    for n, i in enumerate(order):
        reach = items[i].box[3] + ROW_GAP * _side(items[i], 1)
        for j in order[n + 1 :]:
            if items[j].box[1] > reach:
                break
            yield min(i, j), max(i, j)


def _clusters(items: Sequence[Proposal], together: Callable[[Proposal, Proposal], bool]) -> list[list[Proposal]]:
    """The transitive closure of a symmetric relation of near ones; groups and members in the order given."""
    leader = list(range(len(items)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    for i, j in _near_pairs(items):
        if together(items[i], items[j]):
            first, second = sorted((find(i), find(j)))
            leader[second] = first
    groups: dict[int, list[Proposal]] = {}
    for i, item in enumerate(items):
        groups.setdefault(find(i), []).append(item)
    return list(groups.values())
