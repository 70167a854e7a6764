"""Relaxed accuracy: ChartQA.

A number is right within 5% of the target (Methani et al. 2020, PlotQA), anything else only when it is the same string
without regard to case. Source: `relaxed_correctness` of pix2struct (`pix2struct/metrics.py`), which
`lmms_eval/tasks/chartqa/utils.py` repeats. Numbers are what Python's float() reads (`1e3`, `10_0`, full-width digits,
not `1,000` or `$5`), or a percentage, which is divided by 100: `45` and `45%` are never the same. The tolerance is
relative to the target, so a target of 0 is compared as a string, and years get 5% as well (1910 is right for 2010).

Deviations: the reply is stripped first, as one does with the output of a model; the best of several references counts.
Other harnesses: VLMEvalKit also strips, and reads a list in the reference as several references; Qwen-VL and InternVL
swap the arguments, which makes the tolerance relative to the prediction; big_vision minds the case.
A reference does not always match itself: not with whitespace around a text, not when it is NaN or infinite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def relaxed_accuracy(reply: str, references: Sequence[str], tolerance: float = 0.05) -> float:
    """1 if the reply is right for any of the references, else 0. Raises ValueError without references."""
    if not references:
        raise ValueError("relaxed accuracy: got no reference, expected at least one")
    return float(any(_right(reply.strip(), reference, tolerance) for reference in references))


def _right(reply: str, target: str, tolerance: float) -> bool:
    predicted, expected = _number(reply), _number(target)
    if predicted is not None and expected:  # NaN counts as true here: comparing with it is False
        return abs(predicted - expected) / abs(expected) <= tolerance
    return reply.lower() == target.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
