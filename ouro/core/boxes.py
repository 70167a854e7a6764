"""Geometry of boxes: overlap, suppression, containment, position, reading order.

Legend: a box is (x0, y0, x1, y1), float, pixels, half-open; `boxes` is (N, 4) float64 of such rows.
A box with x1 <= x0 or y1 <= y0 is empty: its area and its overlap with anything are 0.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.core.records import Box

Floats = NDArray[np.float64]
LOW, HIGH = 0.38, 0.62  # thirds of a parent, the middle one a little narrower


def area(box: Box) -> float:
    """Square pixels; 0 for an empty box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(a: Box, b: Box) -> Box:
    """The common part, which may be empty."""
    return (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around all of them. Raises ValueError for none."""
    return (
        min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
    )  # fmt: skip


def iou(a: Box, b: Box) -> float:
    """Intersection over union, in 0..1; 0 when both are empty."""
    common = area(intersection(a, b))
    union = area(a) + area(b) - common
    return min(1.0, common / union) if union > 0 else 0.0


def containment(inner: Box, outer: Box) -> float:
    """Share of `inner` that lies inside `outer`, in 0..1; 0 when `inner` is empty."""
    size = area(inner)
    return min(1.0, area(intersection(inner, outer)) / size) if size > 0 else 0.0


def as_array(boxes: Sequence[Box]) -> Floats:
    """(N, 4) float64, also for N = 0."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Pairwise IoU: (N, 4) x (M, 4) -> (N, M) in 0..1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    union = _areas(a)[:, None] + _areas(b)[None, :] - common
    return np.clip(np.divide(common, union, out=np.zeros_like(common), where=union > 0), 0.0, 1.0)


def _areas(boxes: Floats) -> Floats:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1)


def nms(boxes: Floats, scores: Floats, iou: float) -> list[int]:
    """Greedy, class-agnostic non-maximum suppression: indices kept, best first, ties by index.

    `boxes`: (N, 4), `scores`: (N,). A box goes when it overlaps a better kept one by IoU >= `iou` (and > 0).
    """
    return suppress(iou_matrix(boxes, boxes), scores, iou)


def suppress(overlap: Floats, scores: Floats, iou: float) -> list[int]:
    """`nms` on a given (N, N) `overlap`, where a pair of value 0 never suppresses each other."""
    indices: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        row = overlap[i, indices]
        if not bool(np.any((row >= iou) & (row > 0))):
            indices.append(int(i))
    return indices


def relative_position(child: Box, parent: Box) -> str:
    """Where the centre of `child` lies in `parent`: "top left", "top", ..., "center", ..., "bottom right"."""
    x = _band((child[0] + child[2]) / 2, parent[0], parent[2], ("left", "", "right"))
    y = _band((child[1] + child[3]) / 2, parent[1], parent[3], ("top", "", "bottom"))
    return f"{y} {x}".strip() or "center"


def _band(value: float, low: float, high: float, names: tuple[str, str, str]) -> str:
    share = (value - low) / (high - low) if high > low else 0.5
    return names[0] if share < LOW else names[2] if share > HIGH else names[1]


def turn_back(box: Box, turn: float) -> Box:
    """The box of what lies turned clockwise by `turn` degrees, once the picture is turned back around its origin.

    `box` is the upright box around a turned rectangle; that rectangle is what is left of the box.
    """
    quarters = round(turn / 90)
    cos, sin = (f(math.radians(turn)) for f in (math.cos, math.sin))
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x, y = x * cos + y * sin, y * cos - x * sin
    width, height = box[2] - box[0], box[3] - box[1]
    if quarters % 2:
        width, height = height, width
    width, height = _inner_sides(width, height, abs(math.radians(turn - 90 * quarters)))
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inner_sides(width: float, height: float, slant: float) -> tuple[float, float]:
    """The sides of a rectangle that slants by less than 45 degrees, from those of the upright box around it."""
    cos, sin, both = math.cos(slant), math.sin(slant), math.cos(2 * slant)
    return max(1.0, (width * cos - height * sin) / both), max(1.0, (height * cos - width * sin) / both)


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Indices row by row, left to right. A row is led by its highest centre and takes every box whose
    centre lies above the leader's lower edge. The order is the boxes' own: only equal boxes keep that of the input."""
    left = sorted(range(len(boxes)), key=lambda i: (boxes[i][1] + boxes[i][3], boxes[i], i))
    order: list[int] = []
    while left:
        edge = boxes[left[0]][3]
        row = [i for i in left if i == left[0] or (boxes[i][1] + boxes[i][3]) / 2 < edge]
        order += sorted(row, key=lambda i: (boxes[i][0] + boxes[i][2], boxes[i], i))
        left = [i for i in left if i not in row]
    return order


def page_order(boxes: Sequence[Box]) -> list[int]:
    """Indices as a page is read: column by column, and row by row where no gap runs from top to bottom.

    Recursive X-Y cut (Nagy and Seth, "Hierarchical representation of optically scanned documents", ICPR 1984; on
    boxes: Ha, Haralick and Phillips, ICDAR 1995). Ours: cuts between columns come first, and a cut between rows does
    not go through columns that run on, so that paragraphs that end at one height are not read as rows. What no cut
    divides (interlocking L shapes, boxes that overlap) is read by `reading_order`.
    """
    return _cut(list(range(len(boxes))), boxes)


def _cut(members: list[int], boxes: Sequence[Box]) -> list[int]:
    parts = _columns(members, boxes) or _bands(members, boxes)
    if len(parts) > 1:
        return [i for part in parts for i in _cut(part, boxes)]
    return [members[i] for i in reading_order([boxes[i] for i in members])]


def _columns(members: list[int], boxes: Sequence[Box]) -> list[list[int]]:
    """From left to right, if there are several and each stands beside its neighbour (shares a height with it)."""
    groups = _groups(members, boxes, 0)
    hulls = [hull([boxes[i] for i in group]) for group in groups]
    beside = all(max(a[1], b[1]) < min(a[3], b[3]) for a, b in pairwise(hulls))
    return groups if len(groups) > 1 and beside else []


def _bands(members: list[int], boxes: Sequence[Box]) -> list[list[int]]:
    """From top to bottom; rows that make columns together stay together."""
    bands: list[list[int]] = []
    for row in _groups(members, boxes, 1):
        if bands and _columns(bands[-1] + row, boxes):
            bands[-1] += row
        else:
            bands.append(row)
    return bands


def _groups(members: list[int], boxes: Sequence[Box], axis: int) -> list[list[int]]:
    """Split where no box casts a shadow on the axis (0: x, 1: y), in ascending order."""
    groups: list[list[int]] = []
    edge = -float("inf")
    for i in sorted(members, key=lambda i: (boxes[i][axis], boxes[i], i)):
        if boxes[i][axis] >= edge:
            groups.append([])
        groups[-1].append(i)
        edge = max(edge, boxes[i][axis + 2])
    return groups
