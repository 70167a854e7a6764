"""What the nano base can and cannot do, on fresh scenes: `uv run python perf/nano_base.py [--scenes 150]`.

Fine questions by type on container crops and on whole scenes (the gap that bootstrapping closes), descriptions of
crops compared with ground truth, crops a second, and the share of the writer's pairs that its description bears
out, once by the stage's own check and once by exact ground truth. These are the numbers of models/nano/README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from ouro.annotate.pairs.replies import parse_pairs
from ouro.annotate.prompts import ASPECTS, synthesis_prompt
from ouro.core.crops import crop
from ouro.nano import language as say
from ouro.nano.ideal import merged_description
from ouro.nano.scenes import Scene, draw_scene, render
from ouro.nano.support import check_pair
from ouro.vision.hf import HFVisionLM
from ouro.vision.protocols import Request

REGION, WHOLE = 96 * 96, 128 * 128


def _share(hits: list[bool]) -> dict[str, float]:
    p, n = float(np.mean(hits)), len(hits)
    z = 1.96
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    half /= 1 + z * z / n
    return {"value": p, "low": float(middle - half), "high": float(middle + half), "n": n}  # Wilson interval


def _ask(vlm: HFVisionLM, questions: list[tuple[Request, say.QA]]) -> dict[str, Any]:
    replies = vlm.generate([r for r, _ in questions], max_new_tokens=6)
    hits: dict[str, list[bool]] = defaultdict(list)
    for (_, qa), reply in zip(questions, replies, strict=True):
        hits[qa.type].append(reply.strip(" .") == qa.answer)
    return {kind: _share(h) for kind, h in sorted(hits.items())}


def _crops(scenes: list[tuple[Scene, PILImage.Image]], rng: np.random.Generator) -> list[tuple[Request, say.QA]]:
    out: list[tuple[Request, say.QA]] = []
    for scene, picture in scenes:
        for c in scene.containers:
            view = crop(picture, tuple(map(float, c.box)), 0.06)  # type: ignore[arg-type]
            questions = say.container_questions(c) + say.existence(c.items, rng, 2)
            out += [(Request((view,), q.question, (REGION,)), q) for q in questions]
    return out


def _described(vlm: HFVisionLM, scenes: list[tuple[Scene, PILImage.Image]]) -> dict[str, Any]:
    requests: list[tuple[Request, str]] = []
    for scene, picture in scenes:
        boxes = [(c.box, say.container_caption(c)) for c in scene.containers]
        boxes += [(i.box, say.item_caption(i)) for i in scene.items]
        for box, truth in boxes:
            view = crop(picture, tuple(map(float, box)), 0.06)  # type: ignore[arg-type]
            requests.append((Request((view,), say.DESCRIBE, (REGION,)), truth))
    start = time.monotonic()
    replies = vlm.generate([r for r, _ in requests], max_new_tokens=48)
    seconds = time.monotonic() - start
    exact = _share([a == b for a, (_, b) in zip(replies, requests, strict=True)])
    return {"exact": exact, "crops_per_second": len(requests) / seconds}


def _written(vlm: HFVisionLM, scenes: list[tuple[Scene, PILImage.Image]], rng: np.random.Generator) -> dict[str, Any]:
    tasks = [(scene, picture, aspect) for scene, picture in scenes for aspect in ASPECTS]
    texts = [merged_description(scene) for scene, _, _ in tasks]
    requests = [
        Request((picture,), synthesis_prompt("nano", aspect, text), (WHOLE,))
        for (_, picture, aspect), text in zip(tasks, texts, strict=True)
    ]
    replies = vlm.generate(requests, max_new_tokens=280)
    supported: list[bool] = []
    true: list[bool] = []
    for (scene, _, _), text, reply in zip(tasks, texts, replies, strict=True):
        pairs = {(q.question, q.answer) for a in ASPECTS for q in say.aspect_pairs(scene, a, rng)}
        shades = {(i.color, i.shape) for i in scene.items}
        for pair in parse_pairs(reply):
            supported.append(check_pair(pair, text) == "")
            words = pair.question.rstrip("?").split()
            no = pair.answer == "no" and tuple(words[-2:]) not in shades
            true.append((pair.question, pair.answer) in pairs or no)
    return {"supported": _share(supported), "true": _share(true), "pairs_per_scene": len(true) / len(scenes)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--seed", type=int, default=9_000_001)
    parser.add_argument("--model", type=Path, default=Path("models/nano"))
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    drawn = [draw_scene(rng) for _ in range(args.scenes)]
    scenes = [(s, PILImage.fromarray(render(s))) for s in drawn]
    vlm = HFVisionLM(args.model)
    whole = [(Request((p,), q.question, (WHOLE,)), q) for s, p in scenes for q in say.fine_questions(s, rng)]
    coarse = [(Request((p,), q.question, (WHOLE,)), q) for s, p in scenes for q in say.coarse_questions(s)]
    captions = vlm.generate([Request((p,), say.DESCRIBE, (WHOLE,)) for _, p in scenes], max_new_tokens=48)
    result = {
        "container crops": _ask(vlm, _crops(scenes, rng)),
        "whole scenes, fine": _ask(vlm, whole),
        "whole scenes, coarse": _ask(vlm, coarse),
        "whole scenes, caption exact": _share(
            [c == say.coarse_caption(s) for c, (s, _) in zip(captions, scenes, strict=True)]
        ),
        "crop descriptions": _described(vlm, scenes),
        "writer": _written(vlm, scenes[: max(1, args.scenes // 3)], rng),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
