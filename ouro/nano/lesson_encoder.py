"""Lessons of nano's pretraining as packed batches of training."""

from __future__ import annotations

from typing import Any

from ouro.nano.curriculum import Lesson
from ouro.nano.model import MAX_PIXELS, MIN_PIXELS, REGION_MAX_PIXELS

WEIGHTS = {"caption": 0.4, "writer": 0.4}  # answers weigh 1
END_WEIGHT = 0.1


class LessonEncoder:
    """Lessons to packed batches, with the very processor that later serves inference."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        ids = self.tokenizer.convert_tokens_to_ids
        self.image, self.start, self.end = ids("<|image_pad|>"), ids("<|im_start|>"), ids("<|im_end|>")
        self.vision = ids("<|vision_start|>"), ids("<|vision_end|>")

    def text(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _pixels(self, lessons: list[Lesson]) -> dict[str, Any]:
        """Crops under the bound for regions, then whole scenes under the processor's own."""
        import torch

        parts = []
        for whole, bound in ((False, REGION_MAX_PIXELS), (True, MAX_PIXELS)):
            pictures = [x.picture for x in lessons if x.whole == whole]
            if pictures:
                size = {"shortest_edge": MIN_PIXELS, "longest_edge": bound}
                parts.append(self.processor.image_processor(images=pictures, size=size, return_tensors="pt"))
        return {k: torch.cat([p[k] for p in parts]) for k in ("pixel_values", "image_grid_thw")}

    def __call__(self, lessons: list[Lesson]) -> tuple[Any, dict[str, Any], list[str]]:
        """Batch, model inputs, and the kind of every supervised token in row-major order."""
        from ouro.training.packing import PackedBranch, collate, pack_row

        lessons = sorted(lessons, key=lambda lesson: lesson.whole)
        pixels = self._pixels(lessons)
        merge = self.processor.image_processor.merge_size
        rows, kinds = [], []
        for lesson, grid in zip(lessons, pixels["image_grid_thw"].tolist(), strict=True):
            n = grid[0] * grid[1] * grid[2] // merge**2
            prefix = [self.start, *self.text("user"), self.vision[0], *[self.image] * n, self.vision[1]]
            prefix += self.text(lesson.context)
            branches = []
            for kind, prompt, reply in lesson.turns:
                target = [*self.text(reply), self.end]
                weight = WEIGHTS.get(kind, 1.0)
                weights = [weight] * (len(target) - 1) + [END_WEIGHT]
                question = [*self.text(prompt), self.end, self.start, *self.text("assistant")]
                branches.append(PackedBranch(question, target, weights, 1))
                kinds += [kind] * (len(target) - 1) + ["end"]
            rows.append(pack_row(prefix, [tuple(grid)], branches, image_token=self.image, merge=merge))
        one_row = sum(r.ids.numel() for r in rows)
        return collate(rows, self.tokenizer.pad_token_id, one_row).batch, pixels, kinds
