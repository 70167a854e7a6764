"""Which samples can be trained on: their image is there, and they fit into the model's context.

Tokens are counted from sizes and texts alone, without reading a picture. What does not fit is given up in this order:
questions whose branch is too long, the largest regions (so that any k that an epoch draws fit), the sample.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.records import Rejected
from ouro.training.job import TrainingError
from ouro.training.samples import Part, Sample

if TYPE_CHECKING:
    from ouro.core.params import Train
    from ouro.vision.encoding import Encoder


class Admitted(NamedTuple):
    """len(given) == len(samples) + len(rejected); `given_up` counts questions and regions of admitted samples."""

    samples: list[Sample]
    rejected: list[Rejected]
    given_up: Counter[str]


def context_length(base: str | Path, params: Train) -> int:
    """Most tokens of prefix and branch: train.max_tokens, or the base's own. Raises TrainingError for an architecture
    without M-RoPE, whose positions packed rows cannot have."""
    config: dict[str, Any] = json.loads((Path(base) / "config.json").read_text())
    text: dict[str, Any] = config.get("text_config") or config
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if "mrope_section" not in rope:
        raise TrainingError(
            f"model {base}: got the architecture {config.get('model_type')!r} without M-RoPE; expected one of the "
            "families Qwen2-VL, Qwen2.5-VL, Qwen3-VL. Fix: set model.base to such a model; others can be trained on "
            "what `ouro export` writes"
        )
    return params.max_tokens or int(text.get("max_position_embeddings", 32_768))


def admit(
    samples: Sequence[Sample], images: Path, encoder: Encoder, params: Train, prompt: str, context: int
) -> Admitted:
    """Reasons: "missing_image", "too_long". `images` is the folder of the samples' files."""
    made = Admitted([], [], Counter())
    for sample in samples:
        if not (images / sample.path).is_file():
            made.rejected.append(Rejected("train", sample.image_id, "missing_image", str(images / sample.path)))
            continue
        fitted = _Fit(encoder, params, context).fit(sample, prompt)
        if isinstance(fitted, Rejected):
            made.rejected.append(fitted)
        else:
            made.given_up["questions"] += len(sample.pairs) - len(fitted.pairs)
            made.given_up["regions"] += len(sample.parts) - len(fitted.parts)
            made.samples.append(fitted)
    return made


class _Fit(NamedTuple):
    encoder: Encoder
    params: Train
    context: int

    def fit(self, sample: Sample, prompt: str) -> Sample | Rejected:
        alone = self.prefix(0) + self.encoder.visual_tokens((sample.size, self.params.max_pixels))
        described = self.branch(prompt, sample.description)
        if alone + described > self.context:
            detail = f"{alone + described} tokens of image and description, {self.context} allowed"
            return Rejected("train", sample.image_id, "too_long", detail)
        pairs = [p for p in sample.pairs if alone + self.branch(p.question, p.answer) <= self.context]
        longest = max([described, *(self.branch(p.question, p.answer) for p in pairs)])
        return replace(sample, pairs=tuple(pairs), parts=self.parts(sample.parts, self.context - alone - longest))

    def prefix(self, regions: int) -> int:
        """Tokens of the turn's opening with so many regions, without the visual ones."""
        smallest = (1, self.encoder.merge, self.encoder.merge)
        return len(self.encoder.prefix([smallest] * (1 + regions))) - (1 + regions)

    def branch(self, question: str, answer: str) -> int:
        return len(self.encoder.asked(question, 1)) + len(self.encoder.reply(answer))

    def parts(self, parts: Sequence[Part], room: int) -> tuple[Part, ...]:
        """Those that stay when the largest go until any k of them have room."""
        sizes = {part.region_id: self.tokens(part) for part in parts}
        kept = sorted(parts, key=lambda p: sizes[p.region_id])
        while kept and sum(sizes[p.region_id] for p in kept[-self.params.k :]) > room:
            kept.pop()
        names = {p.region_id for p in kept}
        return tuple(p for p in parts if p.region_id in names) if self.params.k else tuple(parts)

    def tokens(self, part: Part) -> int:
        x0, y0, x1, y1 = part.box
        seen = self.encoder.visual_tokens(((round(x1 - x0), round(y1 - y0)), self.params.region_max_pixels))
        return seen + self.prefix(1) - self.prefix(0)
