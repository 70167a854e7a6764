"""The description that a perfect annotator and nano's own merge would make of a nano scene."""

from __future__ import annotations

from ouro.annotate.merging.provenance import Marked, Piece, plain
from ouro.nano.language import coarse_caption, container_caption, item_caption
from ouro.nano.merging import merge_nano
from ouro.nano.scenes import Scene


def merged_description(scene: Scene) -> str:
    """What a perfect annotator and `merge_nano` would make of the scene."""
    nodes: list[tuple[tuple[int, ...], tuple[Marked, str]]] = []
    for c in scene.containers:
        parts = [((Piece(item_caption(i), "c"),), i.slot) for i in c.items]
        if c.sign:
            parts.append(((Piece(f"a sign that says {c.sign.word}", "c"),), "center"))
        nodes.append((_order(c.slot), (_merge(container_caption(c), "c", parts), c.slot)))
    nodes += [(_order(i.slot), ((Piece(item_caption(i), "c"),), i.slot)) for i in scene.loose]
    return plain(_merge(coarse_caption(scene), "r", [n for _, n in sorted(nodes, key=lambda n: n[0])]))


def _merge(text: str, region_id: str, parts: list[tuple[Marked, str]]) -> Marked:
    composition = merge_nano(Piece(text, region_id), parts)
    assert composition is not None, f"nano's language has no {text!r}"
    return composition.marked


def _order(slot: str) -> tuple[int, ...]:
    return (slot.startswith("bottom"), slot.endswith("right"))
