"""The layout of text: joins pieces to lines and blocks in reading order, finds tables, and classifies regions. Pure.

A piece is one text box of OCR: a word, or words without a wide gap. `read_page` joins pieces to lines and lines
to blocks bottom-up, by distance and alignment in units of the letters' height, as in the document spectrum
(O'Gorman, "The document spectrum for page layout analysis", PAMI 15(11), 1993); cells that overlap in x form the
columns of a table, as in T-Recs (Kieninger and Dengel, "The T-Recs table recognition and analysis system", DAS 1998).
Ours differs: the docstrum estimates its distances from histograms over the page; a sign of two words has too few, so
here they are constants. And skew is not estimated: the boxes are upright.

Legend: all boxes xyxy, pixels of one picture. Distances are in units of the smaller height of the two boxes compared.
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

OCR = "ocr"  # the source of proposals that are text only
READ_SIDE = 960  # pixels; text is detected in a picture whose longer side is scaled down to at most this
SAME_ROW = 0.5  # min overlap in y of two pieces of one line, as a share of the smaller height
SAME_SIZE = 1.6  # max ratio of the heights of a block's neighbouring lines; a heading's ratio to its text is larger
WORD_GAP = 1.0  # max gap within a line; the gap between columns of print is wider
LINE_GAP = 0.75  # max gap between the lines of a block; between paragraphs it is wider
STACKED = 0.5  # min overlap in x of neighbouring lines of a block, as a share of the shorter line's width
CELL_GAP = 10.0  # max gap between cells of a row
ROW_GAP = 1.5  # max gap between cells of a column
MIN_ROWS, MIN_COLUMNS = 3, 2
MIN_FILLED = 0.6  # min share of a table's rows x columns that have a cell
MAX_CELL_WORDS = 4  # max median of the words in a table's cells; columns of prose have more
MIN_CONTAINMENT = 0.85  # min share of a line's box that is inside its block
MOSTLY = 0.5


class Block(NamedTuple):
    """A paragraph, column, heading, caption or label (`kind` "text") or a "table", with its lines or cells.

    `whole`: the block as one proposal: the box around its lines, their texts in reading order joined by blanks, and
    their mean score weighted by text length.
    """

    whole: Proposal
    lines: list[Proposal]
    kind: str


def read_page(pieces: Sequence[Proposal]) -> list[Block]:
    """The blocks of a page in reading order; every piece is in exactly one block."""
    tables = find_tables(pieces)
    cell_ids = {id(cell) for table in tables for cell in table}
    lines = _join_lines([p for p in pieces if id(p) not in cell_ids])
    blocks = [_make_block(table, "table") for table in tables]
    blocks += [_make_block(paragraph, "text") for paragraph in _group_paragraphs(lines)]
    return [blocks[i] for i in boxes.page_order([b.whole.box for b in blocks])]


def to_proposals(blocks: Sequence[Block]) -> list[Proposal]:
    """Each block, followed by its lines if it has more than one: nested proposals, as other proposers give them."""
    return [p for b in blocks for p in ([b.whole, *b.lines] if len(b.lines) > 1 else [b.whole])]


def is_line_of(line: Proposal, block: Proposal) -> bool:
    """Whether `line` is a part of `block`: its box is inside the block's, and its text is part of the block's."""
    return (
        0 < len(line.text) < len(block.text)
        and line.text in block.text
        and boxes.containment(line.box, block.box) >= MIN_CONTAINMENT
    )


def smallest_texts(texts: Sequence[Proposal]) -> list[Proposal]:
    """The texts that contain no other text: lines and cells, without the blocks they belong to."""
    return [t for t in texts if not any(is_line_of(other, t) for other in texts)]


def kind_of(box: Box, text: str, words: Sequence[Proposal]) -> str:
    """One of records.KINDS for a region below the whole image (which is a "scene").

    `text`: the region's text if OCR proposed it as a block, else ""; `words`: lines or cells in it and around it.
    A "table" has most of its words in one grid; a "chart" has numbers along its left or lower border.
    """
    inside = [w for w in words if boxes.containment(w.box, box) >= MOSTLY]
    if any(len(table) >= MOSTLY * len(inside) for table in find_tables(inside)):
        return "table"
    if text:
        return "text"
    return "chart" if has_axis(box, words) else "object"


# ---- lines and blocks ----------------------------------------------------------------------------------------


def _join_lines(pieces: Sequence[Proposal]) -> list[Proposal]:
    """Join pieces on one baseline, without a wide gap between them, to lines, from left to right."""
    groups = _clusters(
        pieces,
        lambda a, b: _in_one_row(a, b) and _have_same_size(a, b) and _gap(a, b, 0) <= WORD_GAP * _min_height(a, b),
    )
    return [_join_pieces(sorted(group, key=lambda p: (p.box[0], p.box[1]))) for group in groups]


def _group_paragraphs(lines: Sequence[Proposal]) -> list[list[Proposal]]:
    """Group lines that are one below the other. A line above (or below) two lines side by side spans their columns and
    belongs to neither. A single character is not a line: OCR often reads drawn shapes as one character."""
    near = [(i, j) if _centre(lines[i], 1) < _centre(lines[j], 1) else (j, i) for i, j in _near_pairs(lines)]
    follows = [(i, j) for i, j in near if _is_next(lines[i], lines[j])]
    below = {i: [j for k, j in follows if k == i] for i, _ in follows}
    above = {j: [i for i, k in follows if k == j] for _, j in follows}
    spanning = {
        i for neighbours in (below, above) for i, near in neighbours.items() if _side_by_side([lines[j] for j in near])
    }
    linked = {(i, j) for i, j in follows if not {i, j} & spanning}
    index_of = {id(line): i for i, line in enumerate(lines)}

    def are_linked(a: Proposal, b: Proposal) -> bool:
        i, j = index_of[id(a)], index_of[id(b)]
        return (i, j) in linked or (j, i) in linked

    return _clusters(lines, are_linked)


def _is_next(a: Proposal, b: Proposal) -> bool:
    stacked = -_gap(a, b, 0) >= STACKED * min(_side(a, 0), _side(b, 0)) and not _in_one_row(a, b)
    words = min(len(a.text), len(b.text)) > 1
    return words and stacked and _have_same_size(a, b) and _gap(a, b, 1) <= LINE_GAP * _min_height(a, b)


def _side_by_side(lines: Sequence[Proposal]) -> bool:
    return any(_in_one_row(a, b) for a, b in combinations(lines, 2))


def _make_block(lines: Sequence[Proposal], kind: str) -> Block:
    ordered = [lines[i] for i in boxes.reading_order([p.box for p in lines])]
    return Block(_join_pieces(ordered), ordered, kind)


def _join_pieces(parts: Sequence[Proposal]) -> Proposal:
    if len(parts) == 1:
        return parts[0]
    weight = sum(len(p.text) for p in parts)
    score = sum(p.score * len(p.text) for p in parts) / weight
    return Proposal(boxes.hull([p.box for p in parts]), score, OCR, " ".join(p.text for p in parts))


# ---- tables --------------------------------------------------------------------------------------------------


def find_tables(cells: Sequence[Proposal]) -> list[list[Proposal]]:
    """Groups of cells that form a grid of at least 3 rows and 2 columns, most of it filled, with brief cells."""

    def are_near(a: Proposal, b: Proposal) -> bool:
        low = _min_height(a, b)
        same_row = _in_one_row(a, b) and _gap(a, b, 0) <= CELL_GAP * low
        return same_row or (_gap(a, b, 0) < 0 and _gap(a, b, 1) <= ROW_GAP * low)

    grids = [_select_grid_cells(group) for group in _clusters(cells, are_near)]
    return [grid for grid in grids if grid]


def _select_grid_cells(cells: Sequence[Proposal]) -> list[Proposal]:
    """The cells in rows of at least MIN_COLUMNS cells, if they form a table; else an empty list."""
    rows = [row for row in _clusters(cells, _in_one_row) if len(row) >= MIN_COLUMNS]
    grid_cells = [cell for row in rows for cell in row]
    columns = _group_columns(grid_cells)
    if len(rows) < MIN_ROWS or len(columns) < MIN_COLUMNS:
        return []
    column_of = {id(cell): n for n, column in enumerate(columns) for cell in column}
    filled = sum(len({column_of[id(cell)] for cell in row}) for row in rows)
    brief = statistics.median(len(cell.text.split()) for cell in grid_cells) <= MAX_CELL_WORDS
    return grid_cells if brief and filled >= MIN_FILLED * len(rows) * len(columns) else []


def _group_columns(cells: Sequence[Proposal]) -> list[list[Proposal]]:
    """Group cells that overlap in x, transitively; columns from left to right."""
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


def _min_height(a: Proposal, b: Proposal) -> float:
    return min(_side(a, 1), _side(b, 1))


def _gap(a: Proposal, b: Proposal, axis: int) -> float:
    """Pixels between two boxes along an axis (0: x, 1: y); negative: by how much they overlap."""
    return max(a.box[axis], b.box[axis]) - min(a.box[axis + 2], b.box[axis + 2])


def _have_same_size(a: Proposal, b: Proposal) -> bool:
    return max(_side(a, 1), _side(b, 1)) <= SAME_SIZE * _min_height(a, b)


def _in_one_row(a: Proposal, b: Proposal) -> bool:
    return -_gap(a, b, 1) >= SAME_ROW * _min_height(a, b)


def _near_pairs(items: Sequence[Proposal]) -> Iterator[tuple[int, int]]:
    """Index pairs, ascending, of boxes that overlap in y or are at most ROW_GAP apart; all relations in this module
    hold between such boxes only."""
    order = sorted(range(len(items)), key=lambda i: items[i].box[1])
    for n, i in enumerate(order):
        reach = items[i].box[3] + ROW_GAP * _side(items[i], 1)
        for j in order[n + 1 :]:
            if items[j].box[1] > reach:
                break
            yield min(i, j), max(i, j)


def _clusters(items: Sequence[Proposal], are_together: Callable[[Proposal, Proposal], bool]) -> list[list[Proposal]]:
    """The transitive closure of a symmetric relation between near boxes; groups and members in input order."""
    parent = list(range(len(items)))

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in _near_pairs(items):
        if are_together(items[i], items[j]):
            first, second = sorted((find(i), find(j)))
            parent[second] = first
    groups: dict[int, list[Proposal]] = {}
    for i, item in enumerate(items):
        groups.setdefault(find(i), []).append(item)
    return list(groups.values())
