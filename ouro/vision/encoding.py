"""Pictures and prompts to model inputs, for Qwen2-VL style processors, in training and inference alike.

Each image carries its own bound on pixels (the whole image is seen larger than its regions), which a processor
call cannot express; so images are processed by bound, and image placeholders are expanded here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

Grid = tuple[int, int, int]
_SENTINEL = "\x1f"


class Turn(NamedTuple):
    """The chat template around a user's text: what comes before it (images included) and after it."""

    before: str
    after: str


class Encoder:
    """Wraps an AutoProcessor. Raises ValueError for processors without image tokens and patch grids."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.image_token: str = getattr(processor, "image_token", "")
        if not self.image_token or not hasattr(processor.image_processor, "merge_size"):
            raise ValueError(
                f"processor {type(processor).__name__}: expected a Qwen2-VL style processor with image_token and "
                "merge_size; serve other models with an OpenAI-compatible server"
            )
        self.image_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self.merge: int = processor.image_processor.merge_size
        self.end: int = self.tokenizer.eos_token_id
        self.pad: int = self.tokenizer.pad_token_id
        self.turn = cache(self._turn)
        self.text = cache(self._text)

    def _text(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _turn(self, n_images: int) -> Turn:
        parts = [{"type": "image"}] * n_images + [{"type": "text", "text": _SENTINEL}]
        messages = [{"role": "user", "content": parts}]
        rendered: str = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        before, _, after = rendered.partition(_SENTINEL)
        return Turn(before, after)

    def pixels(self, images: Sequence[Any], bounds: Sequence[int | None]) -> dict[str, Any]:
        """pixel_values (patches, C*T*P*P) and image_grid_thw (N, 3), in the order of `images`.

        `bounds`: the most pixels of each image, None for the processor's own.
        """
        import torch

        groups: dict[int | None, list[int]] = defaultdict(list)
        for i, bound in enumerate(bounds):
            groups[bound].append(i)
        patches: list[Any] = [None] * len(images)
        grids: list[Any] = [None] * len(images)
        own = self.processor.image_processor.size
        for bound, members in groups.items():
            low, high = own["shortest_edge"], min(bound or own["longest_edge"], own["longest_edge"])
            size = {"shortest_edge": min(low, high), "longest_edge": high}
            out = self.processor.image_processor(images=[images[i] for i in members], size=size, return_tensors="pt")
            counts = out["image_grid_thw"].prod(dim=1).tolist()
            for i, piece, grid in zip(members, out["pixel_values"].split(counts), out["image_grid_thw"], strict=True):
                patches[i], grids[i] = piece, grid
        return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.stack(grids)}

    def prefix(self, grids: Sequence[Grid]) -> list[int]:
        """Token ids before the user's text, with every image placeholder expanded to its visual tokens."""
        pieces = self.turn(len(grids)).before.split(self.image_token)
        ids = [*self.text(pieces[0])]
        for (t, h, w), piece in zip(grids, pieces[1:], strict=True):
            ids += [self.image_id] * (t * h * w // self.merge**2) + [*self.text(piece)]
        return ids

    def asked(self, prompt: str, n_images: int) -> list[int]:
        """Token ids of the user's text and the opening of the assistant's turn."""
        return [*self.text(prompt), *self.text(self.turn(n_images).after)]

    def reply(self, text: str) -> list[int]:
        """Token ids of a reply with its end token."""
        return [*self.text(text), self.end]
