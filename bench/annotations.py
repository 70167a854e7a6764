"""How true and complete are the annotations in data/? `uv run python bench/annotations.py`, after `ouro bootstrap`.

Compares merged descriptions and kept question-answer pairs of the nano world with its exact ground truth
(data/annotations/facts.json): fact precision and recall of the descriptions, share of true pairs by type.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ouro.annotate.prompts import ASPECTS
from ouro.artifacts import read_all
from ouro.nano import language as say
from ouro.nano.facts import quality
from ouro.nano.scenes import Container, Item, Scene, Sign
from ouro.records import QAPair
from ouro.records import Scene as Described


def _item(i: Mapping[str, Any]) -> Item:
    return Item(i["shape"], i["color"], i["pattern"], tuple(i["box"]), i["slot"])


def _scene(f: Mapping[str, Any]) -> Scene:
    containers = tuple(
        Container(
            c["kind"], tuple(c["box"]), c["slot"], tuple(map(_item, c["items"])),
            Sign(c["sign"]["word"], tuple(c["sign"]["box"])) if c["sign"] else None,
        )
        for c in f["containers"]
    )  # fmt: skip
    return Scene(containers, tuple(map(_item, f["loose"])))


def _truth(scene: Scene, question: str, rng: np.random.Generator) -> tuple[str, str]:
    """(type, right answer) of a question about a scene; "?" when it asks about something that is not there."""
    words = question.rstrip("?").split()
    if question.startswith("is there a") and len(words) == 5:
        there = any((i.color, i.shape) == tuple(words[-2:]) for i in scene.items)
        return "existence", "yes" if there else "no"
    known = say.fine_questions(scene, rng) + [q for a in ASPECTS for q in say.aspect_pairs(scene, a, rng)]
    return next(((q.type, q.answer) for q in known if q.question == question), ("about nothing there", "?"))


def main() -> None:
    """Measure and print."""
    facts = json.loads(Path("data/annotations/facts.json").read_text())
    described = read_all(Path("data/scenes"), Described)
    q = quality((s.text, facts[s.image_id]) for s in described)
    print(f"descriptions: {len(described)}; facts stated {q.stated}, true {q.true}, right {q.right}")
    print(f"  precision {q.precision:.4f}, recall {q.recall:.4f}")
    rng = np.random.default_rng(0)
    scenes = {s.image_id: _scene(facts[s.image_id]) for s in described}
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for pair in read_all(Path("data/qa"), QAPair):
        kind, answer = _truth(scenes[pair.image_id], pair.question, rng)
        for name in (kind, "all"):
            total[name] += 1
            right[name] += pair.answer == answer
    for name, n in total.most_common():
        print(f"  pairs, {name}: {right[name] / n:.4f} of {n}")


if __name__ == "__main__":
    main()
