"""The description that a perfect annotator and `ouro.annotate.merge` would make of a nano scene."""

from __future__ import annotations

from ouro.annotate.merge import Piece, merge_text, plain
from ouro.nano.language import coarse_caption, container_caption, item_caption
from ouro.nano.scenes import Scene


def merged_description(scene: Scene) -> str:
    """What a perfect annotator and `ouro.annotate.merge` would make of the scene."""
    nodes: list[tuple[tuple[int, ...], tuple[tuple[Piece, ...], str]]] = []
    for c in scene.containers:
        parts = [((Piece(item_caption(i), "c"),), i.slot) for i in c.items]
        if c.sign:
            parts.append(((Piece(f"a sign that says {c.sign.word}", "c"),), "center"))
        nodes.append((_order(c.slot), (merge_text(Piece(container_caption(c), "c"), parts), c.slot)))
    nodes += [(_order(i.slot), ((Piece(item_caption(i), "c"),), i.slot)) for i in scene.loose]
    return plain(merge_text(Piece(coarse_caption(scene), "r"), [n for _, n in sorted(nodes, key=lambda n: n[0])]))


def _order(slot: str) -> tuple[int, ...]:
    return (slot.startswith("bottom"), slot.endswith("right"))
