"""Which candidates of one region become its children (Algorithm 1; OURO eq. 1 and 2).

`filter_proposals` applies the threshold tau, the size limits and non-maximum suppression; `nest` tells
siblings from the parts of siblings. Every dropped candidate carries one of the REASONS.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ouro import boxes
from ouro.records import Rejected
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.params import Propose
    from ouro.records import Box

REASONS = (
    "outside", "low_score", "single_character", "too_small", "bad_aspect", "covers_parent", "nms",
    "too_many", "max_depth",
)  # fmt: skip
OCR = "ocr"
INSIDE = 0.85  # share of a box inside a larger one that makes it a part of that one
MIN_CHARACTERS = 2  # OCR reads single drawn shapes as characters (a cross as "X"), with high scores
MIN_VISIBLE = 0.5  # a candidate with less than this share inside its parent belongs elsewhere


class Filtered(NamedTuple):
    kept: list[Proposal]
    rejected: list[Rejected]


class Nested(NamedTuple):
    """`siblings[i]` is a child of the region, `parts[i]` are candidates that lie in that child."""

    siblings: list[Proposal]
    parts: list[list[Proposal]]
    rejected: list[Rejected]


def filter_proposals(candidates: Sequence[Proposal], parent: Box, params: Propose, parent_id: str) -> Filtered:
    """Clip to `parent`, drop with a reason, suppress duplicates. All boxes in pixels of the full image.

    len(candidates) == len(kept) + len(rejected). Kept are in the order of their scores.
    """
    passed: list[Proposal] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        clipped = candidate._replace(box=boxes.intersection(candidate.box, parent))
        reason = _fault(candidate, clipped.box, parent, params)
        if reason:
            rejected.append(reject(candidate, reason, parent_id))
        else:
            passed.append(clipped)
    kept, dropped = _suppress(passed, params.nms_iou, parent_id)
    return Filtered(kept, rejected + dropped)


def reject(candidate: Proposal, reason: str, parent_id: str, note: str = "") -> Rejected:
    """The record of a dropped candidate; its id is that of the region in which it was looked for."""
    place = " ".join(f"{v:.0f}" if math.isfinite(v) else str(v) for v in candidate.box)
    detail = f"{candidate.source} score {candidate.score:.3f} box {place}{note and '; ' + note}"
    return Rejected("propose", parent_id, reason, detail)


def _fault(candidate: Proposal, clipped: Box, parent: Box, params: Propose) -> str:
    """The first reason to drop a candidate, or "". Text lines are long and thin by nature: for them
    min_side bounds the longer side, and max_aspect does not apply."""
    is_text = candidate.source == OCR
    if not all(map(math.isfinite, candidate.box)) or boxes.containment(candidate.box, parent) < MIN_VISIBLE:
        return "outside"
    if not candidate.score >= (params.ocr_min_score if is_text else params.tau):  # also drops NaN
        return "low_score"
    if is_text and len(candidate.text) < MIN_CHARACTERS:
        return "single_character"
    short, long = sorted((clipped[2] - clipped[0], clipped[3] - clipped[1]))
    if (long if is_text else short) < params.min_side:
        return "too_small"
    if not is_text and long / short > params.max_aspect:
        return "bad_aspect"
    if boxes.area(clipped) > params.max_parent_cover * boxes.area(parent):
        return "covers_parent"
    return ""


def _suppress(candidates: list[Proposal], threshold: float, parent_id: str) -> Filtered:
    """NMS over all sources. A text box and the best box without text that coincide with it become one "rpn+ocr"."""
    array = boxes.as_array([c.box for c in candidates])
    keep = boxes.nms(array, np.array([c.score for c in candidates], dtype=np.float64), threshold)
    overlap = boxes.iou_matrix(array, array)
    winners = {i: candidates[i] for i in keep}
    rejected: list[Rejected] = []
    for i in sorted(range(len(candidates)), key=lambda i: (-candidates[i].score, i)):
        if i in winners:
            continue
        candidate = candidates[i]
        winner = next(k for k in keep if overlap[i, k] >= threshold and overlap[i, k] > 0)
        fuse = "+" not in winners[winner].source and bool(candidate.text) != bool(winners[winner].text)
        if fuse:
            winners[winner] = _fused(winners[winner], candidate)
        rejected.append(reject(candidate, "nms", parent_id, "fused" if fuse else ""))
    return Filtered([winners[i] for i in keep], rejected)


def _fused(winner: Proposal, other: Proposal) -> Proposal:
    """The plain one's box (it bounds the thing, OCR's only the letters), the text, the better score."""
    text, plain = (winner, other) if winner.text else (other, winner)
    sources = dict.fromkeys([*plain.source.split("+"), *text.source.split("+")])
    return Proposal(plain.box, winner.score, "+".join(sources), text.text)


def nest(kept: Sequence[Proposal], params: Propose, parent_id: str) -> Nested:
    """Split one region's candidates into siblings (in reading order) and the parts that lie in each.

    A part lies to 85% or more in a larger candidate; it is handed to the sibling at the top of that chain
    and judged again there. Plain text contains nothing. Beyond max_children the lowest scores go, with
    their parts. len(kept) == len(siblings) + sum of len(parts) + len(rejected).
    """
    top = _tops([p.box for p in kept], [p.source != OCR for p in kept])
    roots = [i for i, t in enumerate(top) if i == t]
    best = sorted(roots, key=lambda i: (-kept[i].score, i))[: params.max_children]
    order = [best[i] for i in boxes.reading_order([kept[i].box for i in best])]
    rejected = [reject(p, "too_many", parent_id) for p, t in zip(kept, top, strict=True) if t not in best]
    parts = [[kept[i] for i, t in enumerate(top) if t == s and i != s] for s in order]
    return Nested([kept[s] for s in order], parts, rejected)


def _tops(items: list[Box], may_hold: list[bool]) -> list[int]:
    """For each box the index of the outermost box that (transitively) contains it, or its own."""
    order = sorted(range(len(items)), key=lambda i: (-boxes.area(items[i]), i))
    top = list(range(len(items)))
    for n, i in enumerate(order):
        holders = [j for j in order[:n] if may_hold[j] and boxes.containment(items[i], items[j]) >= INSIDE]
        if holders:
            top[i] = top[holders[-1]]  # the smallest holder's own top
    return top
