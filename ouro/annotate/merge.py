"""Merge (eq. 4): the descriptions of an image's regions become one, by object-name matching and relative positions.

    whole:    The image shows a garage with metal shelves.
    region:   The image shows a set of gray metal shelves with boxes. (top right, "metal shelves")
    merged:   The image shows a garage with metal shelves. At the top right is the set of gray metal shelves with boxes.

In order: text that OCR read stands once; marks (what a crop alone suggests) are found; each region's object is matched
with what the regions above it name; what two regions tell differently is a conflict and settled; a writer composes.
`merge.writer`: "outline" (merging/outline.py), "vlm" (merging/rewrite.py: the annotator writes, a guard checks) or
"template" (the caller's own writer for texts of one template language; any other text is outlined).

Source: OURO section 3.1, eq. 4, and the limits of section 4.4. The paper gives no rules for matching and composing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ouro.annotate.marks import find_marks
from ouro.annotate.merging.budget import Count, Line, confirmations, joined, within_budget
from ouro.annotate.merging.conflicts import find_conflicts, settle_by_rules
from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.merging.match import match_regions
from ouro.annotate.merging.outline import Outline, outline
from ouro.annotate.merging.provenance import Composed, Marked, Piece, cuts, insertions, plain, sentences_of, told_by
from ouro.annotate.merging.rewrite import Rewriting, rewrite_trees
from ouro.annotate.merging.settled import with_settled
from ouro.annotate.merging.tree import Tree, build_tree
from ouro.core.boxes import relative_position
from ouro.core.params import Merge
from ouro.core.records import (
    Conflict,
    Decision,
    Description,
    Image,
    Match,
    Region,
    Rejected,
    Scene,
    Sentence,
    training_images,
)
from ouro.core.tokens import count_words

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.vision.protocols import VisionLM

KINDS = ("contradiction", "redundancy", "budget")


class Template(Protocol):
    """Merge(d, {d_j}) for a template language; None where a text is not in it.

    `children`: (merged description, place in the parent such as "top left") in reading order.
    """

    def __call__(self, own: Piece, children: Sequence[tuple[Marked, str]]) -> Composed | None: ...


class Merged(NamedTuple):
    """The scenes of a shard; in `cut` of them a description was shortened to the budget of tokens. `written`: how many
    scenes each writer wrote, and why the outline stands where it was not asked for."""

    scenes: list[Scene]
    rejected: list[Rejected]
    cut: int
    written: Counter[str]

    def meta(self) -> dict[str, Any]:
        """For the sidecar: scenes that were shortened, words, decisions by kind, matches, conflicts, writers."""
        kinds = Counter(d.kind for scene in self.scenes for d in scene.decisions)
        conflicts = [c for scene in self.scenes for c in scene.conflicts]
        return {
            "cut": self.cut,
            "words": sum(len(scene.text.split()) for scene in self.scenes),
            **{kind: kinds[kind] for kind in KINDS},
            "matches": sum(len(scene.matches) for scene in self.scenes),
            "conflicts": len(conflicts),
            "settled": sum(bool(c.rule) for c in conflicts),
            "written": dict(sorted(self.written.items())),
        }


class _Work(NamedTuple):
    """One image while it is merged: its described regions, and the composed text of each."""

    image: Image
    root: str
    regions: list[Region]
    said: dict[str, Description]  # as they came
    tree: Tree
    composed: dict[str, Composed]
    decisions: list[Decision]
    conflicts: list[Conflict]
    writer: str


def merge_images(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count,
    *,
    vlm: VisionLM | None = None,
    pictures: Mapping[str, PILImage.Image] | None = None,
    template: Template | None = None,
) -> Merged:
    """As `merge_shard`, of the training images."""
    return merge_shard(
        training_images(images), regions, descriptions, params, count, vlm=vlm, pictures=pictures, template=template
    )


def merge_shard(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count = count_words,
    *,
    vlm: VisionLM | None = None,
    pictures: Mapping[str, PILImage.Image] | None = None,
    template: Template | None = None,
) -> Merged:
    """One Scene an image; an image whose root was not described is rejected ("not_described").

    `count`: how many tokens a text has for the model that will read it. `vlm`: the annotator, which the writer "vlm",
    the matcher "asked" and settling by "look" need; `pictures`: image id -> picture, for "look". `template`: the writer
    of that name.
    """
    by_image, said = _by_image(regions), {d.region_id: d for d in descriptions}
    rejected: list[Rejected] = []
    works: list[_Work] = []
    for image in images:
        root = next((r for r in by_image[image.image_id] if r.parent_id is None), None)
        if root is None or root.region_id not in said:
            rejected.append(Rejected("merge", image.image_id, "not_described", "no description of the whole image"))
        else:
            works.append(_prepared(image, root, by_image[image.image_id], said, params, template))
