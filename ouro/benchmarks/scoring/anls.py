"""ANLS: DocVQA, InfoVQA, ST-VQA, EST-VQA.

Average normalised Levenshtein similarity (Biten et al. 2019, "Scene Text Visual Question Answering", equation 1) in
the form of the RRC script, which published DocVQA and InfoVQA numbers use: both strings are stripped, lower-cased
and their inner whitespace collapsed before the edit distance is taken; the distance is divided by the longer of the
two RAW strings in upper case, so that raw whitespace counts and a sharp s counts twice; a similarity of exactly the
threshold is kept; two empty strings score 1. No articles, punctuation, digits or accents are touched.

Sources: `eval_mm/infographicsvqa_eval.py` of Qwen-VL (the RRC script), `lmms_eval/api/metrics.py:anls`, which agrees
with it, as VLMEvalKit does. Deviations: none in the value; no distance is taken where the lengths alone put it below
the threshold.
Other harnesses: anls_star and mmf (STVQAANLS) divide by the longer NORMALISED string; the PyPI package anls,
pix2struct, DUE and EST-VQA score exactly 0.5 as 0; pix2struct, DUE and EST-VQA neither strip nor collapse; DUE with -i
upper-cases, so that a sharp s equals SS; EST-VQA converts to simplified Chinese and reads the first reference only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from collections.abc import Sequence


def anls(reply: str, references: Sequence[str], threshold: float = 0.5) -> float:
    """The best similarity of the reply to a reference, in 0..1; below `threshold` it is 0.

    A reference repeated word for word scores 1. Raises ValueError without references.
    """
    if not references:
        raise ValueError("anls: got no reference, expected at least one")
    best = max(_similarity(reply, reference, threshold) for reference in references)
    return best if best >= threshold and best > 0 else 0.0


def _similarity(reply: str, reference: str, threshold: float) -> float:
    """1 - distance / length; 0 as soon as the lengths show that it is below the threshold."""
    length = max(len(reference.upper()), len(reply.upper()))
    if length == 0:
        return 1.0
    a, b = (" ".join(text.lower().split()) for text in (reply, reference))
    if 1 - abs(len(a) - len(b)) / length < threshold:
        return 0.0
    return 1 - Levenshtein.distance(a, b) / length
