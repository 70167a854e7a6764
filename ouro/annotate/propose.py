"""Which candidates of one region become its children (Algorithm 1; OURO eq. 1 and 2).

`filter_proposals` applies the threshold tau, the size limits and non-maximum suppression; `nest` separates
siblings from the parts of siblings. Every dropped candidate carries one of the REASONS.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ouro.core import boxes
from ouro.core.records import Rejected
from ouro.vision.layout import OCR, is_line_of
from ouro.vision.protocols import Proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ouro.core.params import Propose
    from ouro.core.records import Box

REASONS = (
    "outside", "low_score", "single_character", "too_small", "bad_aspect", "covers_parent", "nms",
    "too_many", "max_depth", "reread",
)  # fmt: skip
INSIDE = 0.85  # share of a box inside a larger one that makes it a part of that one
MIN_CHARACTERS = 2  # OCR reads single drawn shapes as characters (a cross as "X"), with high scores
MAX_TEXT_ASPECT = 200.0  # lines are long and thin by nature, but VLM processors refuse more (Qwen2-VL's does)
MIN_VISIBLE = 0.5  # a candidate with less than this share inside its parent belongs elsewhere


class Filtered(NamedTuple):
    """Proposals that pass, best score first, and the others with a reason."""

    proposals: list[Proposal]
    rejected: list[Rejected]


class Nested(NamedTuple):
    """`siblings[i]` is a child of the region, `parts[i]` are candidates that lie in that child."""

    siblings: list[Proposal]
    parts: list[list[Proposal]]
    rejected: list[Rejected]


def filter_proposals(
    candidates: Sequence[Proposal], parent: Box, params: Propose, parent_id: str, *, in_text: bool = False
) -> Filtered:
    """Clip to `parent`, drop with a reason, suppress duplicates. All boxes in pixels of the full image.

    `in_text`: the parent is a block of text, and has been read as a whole. len(candidates) == len(proposals) +
    len(rejected). `proposals` is sorted by score, best first.
    """
    valid: list[Proposal] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        clipped = candidate._replace(box=boxes.intersection(candidate.box, parent))
        reason = _fault(candidate, clipped.box, parent, params, in_text)
        if reason:
            rejected.append(reject(candidate, reason, parent_id))
        else:
            valid.append(clipped)
    proposals, duplicates = _suppress(valid, params.nms_iou, parent_id)
    return Filtered(proposals, rejected + duplicates)


def reject(candidate: Proposal, reason: str, parent_id: str, note: str = "") -> Rejected:
    """The record of a dropped candidate; its id is that of the region that was searched."""
    place = " ".join(f"{v:.0f}" if math.isfinite(v) else str(v) for v in candidate.box)
    detail = f"{candidate.source} score {candidate.score:.3f} box {place}{note and '; ' + note}"
    return Rejected("propose", parent_id, reason, detail)


def _fault(candidate: Proposal, clipped: Box, parent: Box, params: Propose, in_text: bool) -> str:
    """The first reason to drop a candidate, or "". Text is long and thin by nature: its aspect is bounded by
    MAX_TEXT_ASPECT, and min_side bounds its longer side; only of a line in its block, whose text has been read, it
    bounds both."""
    is_text = candidate.source == OCR
    if not all(map(math.isfinite, candidate.box)) or boxes.containment(candidate.box, parent) < MIN_VISIBLE:
        return "outside"
    if not candidate.score >= _least_score(candidate.source, params):  # also drops NaN
        return "low_score"
    if is_text and len(candidate.text) < MIN_CHARACTERS:
        return "single_character"
    short, long = sorted((clipped[2] - clipped[0], clipped[3] - clipped[1]))
    if (long if is_text and not in_text else short) < params.min_side:
        return "too_small"
    if long / short > (MAX_TEXT_ASPECT if is_text else params.max_aspect):
        return "bad_aspect"
    if boxes.area(clipped) > params.max_parent_cover * boxes.area(parent):
        return "covers_parent"
    return ""


def _least_score(source: str, params: Propose) -> float:
    """The threshold of a candidate's proposer; of a candidate of several proposers, the lowest."""
    thresholds = {OCR: params.ocr_min_score, "grounding": params.grounding_min_score}
    return min(thresholds.get(name, params.tau) for name in source.split("+"))


def _suppress(candidates: list[Proposal], threshold: float, parent_id: str) -> Filtered:
    """NMS over all sources; a block of text and its lines do not suppress each other. The winner takes over the source
    of what it suppresses ("selective-search+grounding"), and a text and the best box without text that coincide with it
    become one ("rpn+ocr")."""
    array = boxes.as_array([c.box for c in candidates])
    overlap = boxes.iou_matrix(array, array)
    for i, j in [*_lines_of(candidates), *_slanting_pairs(candidates)]:
        overlap[i, j] = overlap[j, i] = 0.0
    keep = boxes.suppress(overlap, np.array([c.score for c in candidates], dtype=np.float64), threshold)
    winners = {i: candidates[i] for i in keep}
    rejected: list[Rejected] = []
    for i in sorted(range(len(candidates)), key=lambda i: (-candidates[i].score, i)):
        if i in winners:
            continue
        winner = next(k for k in keep if overlap[i, k] >= threshold and overlap[i, k] > 0)
        fusion = _fuse(winners[winner], candidates[i])
        rejected.append(reject(candidates[i], "nms", parent_id, "fused" if fusion != winners[winner] else ""))
        winners[winner] = fusion
    return Filtered([winners[i] for i in keep], rejected)


def _lines_of(candidates: Sequence[Proposal]) -> list[tuple[int, int]]:
    """Index pairs (line, block)."""
    texts = [i for i, c in enumerate(candidates) if c.text]
    return [(i, j) for i in texts for j in texts if is_line_of(candidates[i], candidates[j])]


def _slanting_pairs(candidates: Sequence[Proposal]) -> list[tuple[int, int]]:
    """Index pairs of texts of one slanting page: the upright boxes around its lines overlap, the lines do not."""
    slanting = [i for i, c in enumerate(candidates) if c.text and c.turn % 90]
    return [(i, j) for i in slanting for j in slanting if i < j]


def _fuse(winner: Proposal, other: Proposal) -> Proposal:
    """The winner with the other's source. Text that has only OCR's box takes the other's (it bounds the object, OCR's
    only the letters), and a box without text takes the text. The better score stays."""
    sources = dict.fromkeys([*winner.source.split("+"), *other.source.split("+")])
    source = "+".join(sorted(sources, key=lambda name: name == OCR))  # OCR last, the others as they came
    box = other.box if winner.source == OCR and other.source != OCR else winner.box
    return Proposal(box, winner.score, source, winner.text or other.text)


def nest(proposals: Sequence[Proposal], params: Propose, parent_id: str) -> Nested:
    """Split one region's candidates into siblings (in reading order) and the parts that lie in each.

    A part lies to 85% or more in a larger candidate; it goes to the outermost sibling that contains it
    and is filtered again there. A line of text contains nothing, a block its lines and what has no text. A region that
    holds a block is read like a page, column by column, any other row by row; where its text lies turned, in the order
    of the page turned back. Beyond max_children the lowest scores
    go, with their parts. len(proposals) == len(siblings) + sum of len(parts) + len(rejected).
    """
    lines = _lines_of(proposals)
    top = _outermost(proposals, lines)
    roots = [i for i, t in enumerate(top) if i == t]
    best = sorted(roots, key=lambda i: (-proposals[i].score, i))[: params.max_children]
    in_order = boxes.page_order if lines else boxes.reading_order
    turn = next((p.turn for p in proposals if p.turn), 0.0)
    places = [boxes.turn_back(proposals[i].box, turn) if turn else proposals[i].box for i in best]
    order = [best[i] for i in in_order(places)]
    rejected = [reject(p, "too_many", parent_id) for p, t in zip(proposals, top, strict=True) if t not in best]
    parts = [[proposals[i] for i, t in enumerate(top) if t == s and i != s] for s in order]
    return Nested([proposals[s] for s in order], parts, rejected)


def _outermost(proposals: Sequence[Proposal], lines: Sequence[tuple[int, int]]) -> list[int]:
    """For each candidate the index of the outermost one that (transitively) contains it, or its own."""
    blocks, pairs = {j for _, j in lines}, set(lines)

    def holds(j: int, i: int) -> bool:
        may = proposals[j].source != OCR or (i, j) in pairs or (j in blocks and not proposals[i].text)
        return may and boxes.containment(proposals[i].box, proposals[j].box) >= INSIDE

    order = sorted(range(len(proposals)), key=lambda i: (-boxes.area(proposals[i].box), i))
    top = list(range(len(proposals)))
    for n, i in enumerate(order):
        holders = [j for j in order[:n] if holds(j, i)]
        if holders:
            top[i] = top[holders[-1]]  # the smallest holder's own top
    return top
