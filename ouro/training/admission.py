"""Selects the samples that can be trained on: their image exists, and they fit into the model's context.

Tokens are counted from sizes and texts alone, without reading a picture. What does not fit is dropped in this order:
questions whose branch is too long, the largest regions (so that any k that an epoch draws fit), the sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.json_text import parse_json
from ouro.core.pictures import say_absence, stored_path
from ouro.core.records import Rejected
from ouro.training.job import TrainingError
from ouro.training.samples import Sample, SampleRegion

if TYPE_CHECKING:
    from ouro.core.params import Train
    from ouro.vision.encoding import Encoder


class FilteredSamples(NamedTuple):
    """len(input) == len(samples) + len(rejected); `removals` counts the questions and regions that were dropped from
    accepted samples."""

    samples: list[Sample]
    rejected: list[Rejected]
    removals: Counter[str]


def read_context_length(base: str | Path, params: Train) -> int:
    """The most tokens of prefix and branch together: train.max_tokens, or the base's own limit.

    Raises TrainingError for an architecture without M-RoPE: packed rows need its positions.
    """
    config: dict[str, Any] = parse_json((Path(base) / "config.json").read_text())
    text: dict[str, Any] = config.get("text_config") or config
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if "mrope_section" not in rope:
        raise TrainingError(
            f"model {base}: got the architecture {config.get('model_type')!r} without M-RoPE; expected one of the "
            "families Qwen2-VL, Qwen2.5-VL, Qwen3-VL. Fix: set model.base to such a model; others can be trained on "
            "what `ouro export` writes"
        )
    return params.max_tokens or int(text.get("max_position_embeddings", 32_768))


def filter_samples(
    samples: Sequence[Sample], images: Path, encoder: Encoder, params: Train, prompt: str, context: int
) -> FilteredSamples:
    """Accept, shorten or reject each sample ("missing_image", "too_long"). `images` is the folder of image files.

    Raises ArtifactError for a path that leads out of it.
    """
    outcome = FilteredSamples([], [], Counter())
    for sample in samples:
        absence = say_absence(stored_path(images, sample.image_id, sample.path))
        if absence:
            outcome.rejected.append(Rejected("train", sample.image_id, "missing_image", absence))
            continue
        result = _ContextFitter(encoder, params, context).fit(sample, prompt)
        if isinstance(result, Rejected):
            outcome.rejected.append(result)
        else:
            outcome.removals["questions"] += len(sample.pairs) - len(result.pairs)
            outcome.removals["regions"] += len(sample.parts) - len(result.parts)
            outcome.samples.append(result)
    return outcome


class _ContextFitter(NamedTuple):
    encoder: Encoder
    params: Train
    context: int

    def fit(self, sample: Sample, prompt: str) -> Sample | Rejected:
        prefix_tokens = self.count_prefix_tokens(0) + self.encoder.visual_tokens((sample.size, self.params.max_pixels))
        description_tokens = self.count_branch_tokens(prompt, sample.description)
        if prefix_tokens + description_tokens > self.context:
            detail = f"{prefix_tokens + description_tokens} tokens of image and description, {self.context} allowed"
            return Rejected("train", sample.image_id, "too_long", detail)
        pairs = [
            p for p in sample.pairs if prefix_tokens + self.count_branch_tokens(p.question, p.answer) <= self.context
        ]
        longest_branch = max([description_tokens, *(self.count_branch_tokens(p.question, p.answer) for p in pairs)])
        return replace(
            sample,
            pairs=tuple(pairs),
            parts=self.drop_largest(sample.parts, self.context - prefix_tokens - longest_branch),
        )

    def count_prefix_tokens(self, regions: int) -> int:
        """Tokens before the user's text with so many regions, without the visual tokens."""
        smallest = (1, self.encoder.merge, self.encoder.merge)
        return len(self.encoder.prefix([smallest] * (1 + regions))) - (1 + regions)

    def count_branch_tokens(self, question: str, answer: str) -> int:
        return len(self.encoder.prompt(question, 1)) + len(self.encoder.reply(answer))

    def drop_largest(self, parts: Sequence[SampleRegion], room: int) -> tuple[SampleRegion, ...]:
        """The regions without the largest ones, as many dropped as needed for any k of the rest to fit into `room`."""
        sizes = {part.region_id: self.count_region_tokens(part) for part in parts}
        remaining = sorted(parts, key=lambda p: sizes[p.region_id])
        while remaining and sum(sizes[p.region_id] for p in remaining[-self.params.k :]) > room:
            remaining.pop()
        remaining_ids = {p.region_id for p in remaining}
        return tuple(p for p in parts if p.region_id in remaining_ids) if self.params.k else tuple(parts)

    def count_region_tokens(self, part: SampleRegion) -> int:
        x0, y0, x1, y1 = part.box
        visual = self.encoder.visual_tokens(((round(x1 - x0), round(y1 - y0)), self.params.region_max_pixels))
        return visual + self.count_prefix_tokens(1) - self.count_prefix_tokens(0)
