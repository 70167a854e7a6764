"""Merge (eq. 4): descriptions of sub-regions join their parent's, bottom-up, by object-name matching.

    parent:   a kitchen with a table and two cups
    children: "a wooden table with a laptop" (bottom), "a red mug" (left)
    merged:   a kitchen with a wooden table at the bottom and two cups. the table has a laptop. one of the cups is
              a red mug at the left.

`join` does one region; here the regions of a shard are joined from the leaves up, kept within the budget of tokens
and turned into scenes: text, provenance (insertions, sentences), decisions, and the tree as JSON.

Source: OURO section 3.1, eq. 4, and the limits of section 4.4. The paper gives no rules for the matching; these
are ours, and need no language model, so that a merge costs a millisecond and is the same every time.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ouro.annotate.english.phrases import BOUNDARY, DETERMINERS, Phrase, bare, noun_phrases, singular
from ouro.annotate.merging.budget import Count, Size, within_budget
from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.merging.provenance import Marked, Piece, insertions, plain, sentences_of
from ouro.annotate.merging.redundancy import without_repeats
from ouro.annotate.merging.region import join
from ouro.core.boxes import area, relative_position
from ouro.core.params import Merge
from ouro.core.records import Decision, Description, Image, Region, Rejected, Scene, training_images
from ouro.core.tokens import count_words

__all__ = [
    "BOUNDARY", "DETERMINERS", "Marked", "Merged", "Phrase", "Piece", "count_words", "merge_images", "merge_shard",
    "merge_text", "noun_phrases", "plain", "singular",
]  # fmt: skip

Children = Mapping[str | None, Sequence[Region]]


class Merged(NamedTuple):
    """The scenes of a shard; in `cut` of them a description was shortened to the budget of tokens."""

    scenes: list[Scene]
    rejected: list[Rejected]
    cut: int

    def meta(self) -> dict[str, int]:
        """For the sidecar: scenes that were shortened, words of their descriptions, and decisions by kind."""
        kinds = Counter(d.kind for scene in self.scenes for d in scene.decisions)
        words = sum(len(scene.text.split()) for scene in self.scenes)
        shown = {kind: kinds[kind] for kind in ("contradiction", "redundancy", "budget")}
        return {"cut": self.cut, "words": words, **shown}


def merge_text(description: Piece, children: Sequence[tuple[Marked, str]]) -> Marked:
    """Merge(d, {d_j}): the parent's description with its children's merged ones and their positions."""
    return join(description, children).marked


def merge_images(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count,
) -> Merged:
    """As `merge_shard`, of the training images."""
    return merge_shard(training_images(images), regions, descriptions, params, count)


def merge_shard(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count = count_words,
) -> Merged:
    """One Scene an image; an image whose root was not described is rejected ("not_described").

    `count`: how many tokens a text has for the model that will read it.
    """
    texts = {d.region_id: " ".join(d.text.split()) for d in descriptions}
    by_image: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        by_image[region.image_id].append(region)
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    n_cut = 0
    for image in images:
        root = next((r for r in by_image[image.image_id] if r.parent_id is None), None)
        if root is None or root.region_id not in texts:
            rejected.append(Rejected("merge", image.image_id, "not_described", "no description of the whole image"))
            continue
        scene, was_cut = _merge_image(image, root, by_image[image.image_id], texts, params, count)
        scenes.append(scene)
        n_cut += was_cut
    return Merged(scenes, rejected, n_cut)


def _merge_image(
    image: Image, root: Region, regions: Sequence[Region], texts: Mapping[str, str], params: Merge, count: Count
) -> tuple[Scene, bool]:
    """The scene, and whether one of its descriptions was shortened."""
    children: dict[str | None, list[Region]] = defaultdict(list)
    for region in regions:
        children[region.parent_id].append(region)
    merged, decisions = _merge_regions(regions, children, texts)
    if params.captions == "concatenated":
        merged[root.region_id], repeats = _prepend_captions(image.captions, merged[root.region_id], root.region_id)
        decisions += repeats
    sizes = {r.region_id: Size(area(r.box), r.level) for r in regions}
    shortened = {
        r: within_budget(marked, Piece(texts[r], r), sizes, params.max_tokens, count) for r, marked in merged.items()
    }
    text = shortened[root.region_id].marked
    scene = Scene(
        image.image_id,
        plain(text),
        insertions(text, root.region_id),
        tuple((r.region_id, plain(shortened[r.region_id].marked)) for r in regions if r.region_id in texts),
        sentences_of(text),
        (*decisions, *shortened[root.region_id].lost),
        tree_json(root, children, texts),
    )
    return scene, any(s.lost for s in shortened.values())


def _merge_regions(
    regions: Sequence[Region], children: Mapping[str | None, Sequence[Region]], texts: Mapping[str, str]
) -> tuple[dict[str, Marked], list[Decision]]:
    """The merged description of every described region, deepest first, and the decisions taken."""
    merged: dict[str, Marked] = {}
    decisions: list[Decision] = []
    for region in sorted((r for r in regions if r.region_id in texts), key=lambda r: -r.level):
        description, corrections = with_reading(texts[region.region_id], region)
        parts = [
            (merged[c.region_id], relative_position(c.box, region.box))
            for c in _nearest_described(region.region_id, children, texts)
        ]
        whole = join(Piece(description, region.region_id), parts)
        merged[region.region_id] = whole.marked
        decisions += [*corrections, *whole.decisions]
    return merged, decisions


def _nearest_described(
    region_id: str, children: Mapping[str | None, Sequence[Region]], texts: Mapping[str, str]
) -> Iterator[Region]:
    """The described children of a region; a child without a description is replaced by the nearest ones below it."""
    for child in children.get(region_id, ()):
        if child.region_id in texts:
            yield child
        else:
            yield from _nearest_described(child.region_id, children, texts)


def _prepend_captions(captions: Sequence[str], marked: Marked, root: str) -> tuple[Marked, list[Decision]]:
    """The collection's captions before the description (VILA^2 section 2.1, "concatenated")."""
    words = [f"{bare(' '.join(c.split()))}." for c in captions if any(x.isalnum() for x in c)]
    return without_repeats((*(Piece(f"{w} ", root) for w in words), *marked)) if words else (marked, [])


def tree_json(root: Region, children: Children, texts: Mapping[str, str]) -> str:
    """{"region_id", "kind", "box", "position" (in the parent; null of the root), "description", "children"}.

    Compact, keys sorted. A region that was not described has the description "".
    """
    return json.dumps(_node(root, None, children, texts), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _node(region: Region, parent: Region | None, children: Children, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "region_id": region.region_id,
        "kind": region.kind,
        "box": list(region.box),
        "position": relative_position(region.box, parent.box) if parent else None,
        "description": texts.get(region.region_id, ""),
        "children": [_node(child, region, children, texts) for child in children.get(region.region_id, ())],
    }
