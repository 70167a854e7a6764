"""Synthesize (eq. 5): QA = VLM(I, P, d0), over five aspects; parsed, deduplicated, checked for support.

The model writes; this module keeps only what the merged description bears out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from PIL import Image as PILImage

from ouro.annotate.prompts import synthesis_prompt
from ouro.annotate.replies import Leftover, Written, parse_reply
from ouro.annotate.support import support
from ouro.params import Synthesize
from ouro.records import QAPair, Rejected, Scene
from ouro.vision.protocols import Request, VisionLM


def synthesize_shard(
    pictures: Mapping[str, PILImage.Image],
    scenes: Sequence[Scene],
    vlm: VisionLM,
    params: Synthesize,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[QAPair], list[Rejected], int]:
    """Kept pairs, rejected pieces with reasons, and how many pieces the model wrote (an empty reply counts one)."""
    asked = [(scene, aspect) for scene in scenes for aspect in params.aspects]
    requests = [
        Request(
            (pictures[scene.image_id],),
            synthesis_prompt(params.template, aspect, scene.text),
            (params.max_pixels,),
        )
        for scene, aspect in asked
    ]
    replies = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
    kept: list[QAPair] = []
    rejected: list[Rejected] = []
    n_in = 0
    seen: dict[str, set[str]] = {s.image_id: set() for s in scenes}
    for (scene, aspect), reply in zip(asked, replies, strict=True):
        pieces = parse_reply(reply, params.max_new_tokens) or [Leftover(reply, "unparsable")]
        n_in += len(pieces)
        for number, piece in enumerate(pieces):
            record = f"{scene.image_id}/{aspect}/{number}"
            if isinstance(piece, Leftover):
                rejected.append(Rejected("synthesize", record, piece.reason, piece.text[:200]))
                continue
            reason = _keep(piece, scene, seen[scene.image_id], params)
            if reason:
                rejected.append(Rejected("synthesize", record, reason, " ".join(piece)))
                continue
            seen[scene.image_id].add(piece.question.lower())
            qa_id = hashlib.sha256(f"{scene.image_id}\0{piece.question}".encode()).hexdigest()[:16]
            kept.append(QAPair(qa_id, scene.image_id, aspect, piece.question, piece.answer))
    return kept, rejected, n_in


def _keep(pair: Written, scene: Scene, seen: set[str], params: Synthesize) -> str:
    if pair.question.lower() in seen:
        return "duplicate_question"
    if len(seen) >= params.max_pairs:
        return "too_many_pairs"
    return support(pair, scene.text)
