r"""Recall at IoU 0.5: RefCOCO, RefCOCO+, RefCOCOg.

A reply is right if its first box overlaps the true one with IoU >= 0.5 (lmms-eval, VLMEvalKit, Qwen-VL, InternVL; ASMv2
and the first papers write > 0.5).

Which numbers a reply's box has and what they mean: `ouro.vision.box_conventions`. Bare numbers beside replies that all
name one convention are read by that.

Others: lmms-eval reads `[a, b, c, d]` of fractions only, and a reply without one as a box of no size; VLMEvalKit takes
the first four numbers anywhere and their scale by their magnitude, reply by reply; Qwen-VL and ASMv2 divide by 999,
InternVL by 1000, as here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.core import boxes

if TYPE_CHECKING:
    from ouro.core.records import Box


def hit(box: Box | None, truth: Box, iou: float = 0.5) -> bool:
    """Whether a box was given that overlaps the true one with at least this IoU; one without area never."""
    return box is not None and boxes.iou(box, truth) >= iou
