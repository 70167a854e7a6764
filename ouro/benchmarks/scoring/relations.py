"""Recall and mean recall of relations: panoptic scene graphs (PSG), in the setting sgdet.

Sources: `openpsg/evaluation/sgg_eval.py` and `sgg_metrics.py` of OpenPSG, after neural-motifs. A predicted triple hits
a true one if the classes of subject and object and the predicate are equal and both objects overlap theirs with
IoU >= 0.5. R@K is the mean over images of the share of true triples hit by the K best predictions. mR@K takes for each
predicate the mean over the images that have it, then the mean over ALL predicates (56 in PSG), so that one that never
occurs counts as 0. Predicates count from 0, as in psg.json (OpenPSG's evaluator counts from 1).

Quirks kept: images without a true relation and images without a predicted one are skipped, so that predicting nothing
is not counted as 0; the graph constraint is one predicate for each predicted row (the best of its scores), and several
rows may name one ordered pair of objects, each of which takes a place among the K; a true pair may have several
predicates, and a true triple that stands twice counts once, as in OpenPSG's test set; one prediction may hit several
true triples.
Deviations: predictions are sorted by score here, where OpenPSG takes them as its models sort them. Boxes are compared
as `ouro.core.boxes` does. No phrdet, no recall without the graph constraint, no pair accuracy.
Others: ASMv2's `eval_psg.py` pools the triples of all images, cuts at no K and reads classes by lemma and synonym; its
PredCls drops one more triple after the cut, so that its R@20 uses 19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]

PREDICATES = 56
"""Predicates of PSG."""


class Relation(NamedTuple):
    """Indexes of two objects of an image and of the predicate between them; `score` ranks predictions."""

    subject: int
    object: int
    predicate: int
    score: float = 0.0


class Graph(NamedTuple):
    """Class of each object of an image, and relations between them."""

    classes: Sequence[int]
    relations: Sequence[Relation]


class Hits(NamedTuple):
    """predicates: of the true triples; ranked: for each prediction, best first, which true triples it hits."""

    predicates: tuple[int, ...]
    ranked: tuple[frozenset[int], ...]


def match_relations(predicted: Graph, truth: Graph, overlap: Floats, iou: float = 0.5) -> Hits | None:
    """Which true triples of an image the predictions hit; None if the image is to be skipped.

    overlap: (P, T) IoU of each predicted with each true object, of boxes (`ouro.core.boxes.iou_matrix`) or of masks
    (`mask_iou`). Raises ValueError if it has another shape.
    """
    shape = (len(predicted.classes), len(truth.classes))
    if overlap.shape != shape:
        raise ValueError(f"relations: got an overlap of shape {overlap.shape}, expected {shape}")
    true = list(dict.fromkeys((r.subject, r.object, r.predicate) for r in truth.relations))
    ranked = sorted(predicted.relations, key=lambda r: -r.score)  # stable: ties in their order
    if not true or not ranked:
        return None
    classes = np.asarray(predicted.classes)[:, None] == np.asarray(truth.classes)[None, :]
    same = classes & (overlap >= iou)
    hits = (
        frozenset(
            i for i, (s, o, p) in enumerate(true) if p == r.predicate and same[r.subject, s] and same[r.object, o]
        )
        for r in ranked
    )
    return Hits(tuple(p for _, _, p in true), tuple(hits))


def recall_at(images: Sequence[Hits], k: int) -> float:
    """R@K over the images that are not skipped; 0 without any."""
    shares = [len(_hits_at(image, k)) / len(image.predicates) for image in images]
    return sum(shares) / len(shares) if shares else 0.0


def mean_recall_at(images: Sequence[Hits], k: int, predicates: int = PREDICATES) -> float:
    """mR@K: 1 only if every predicate occurs and all are found. Raises ValueError for a predicate out of range."""
    shares: list[list[float]] = [[] for _ in range(predicates)]
    for image in images:
        hits = _hits_at(image, k)
        for predicate in set(image.predicates):
            if not 0 <= predicate < predicates:
                raise ValueError(f"relations: got predicate {predicate}, expected 0 to {predicates - 1}")
            its = {i for i, p in enumerate(image.predicates) if p == predicate}
            shares[predicate].append(len(its & hits) / len(its))
    return sum(sum(each) / len(each) for each in shares if each) / predicates


def _hits_at(image: Hits, k: int) -> frozenset[int]:
    return frozenset[int]().union(*image.ranked[:k])


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Floats:
    """Pairwise IoU of masks: (N, H, W) x (M, H, W) -> (N, M); 0 for two empty ones, where OpenPSG divides by 0."""
    first, second = (masks.reshape(len(masks), -1).astype(np.float64) for masks in (a, b))
    common = first @ second.T
    union = first.sum(axis=1)[:, None] + second.sum(axis=1)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
