"""Converts pictures and prompts to model inputs, with Qwen2-VL style processors, for training and inference.

Each image has its own bound on pixels (the whole image is larger than its regions). One processor call takes one bound
only, so images are processed in groups of equal bound, and image placeholders are expanded here.

Shapes: B requests of a batch, T tokens of the longest, N images, M distinct images, L patches of the distinct images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    import numpy as np

    from ouro.vision.protocols import Request

Grid = tuple[int, int, int]
View = tuple[tuple[int, int], int | None]  # an image's width and height, and its bound on pixels
_SENTINEL = "\x1f"


class UnsupportedProcessor(OuroError, ValueError):
    """A processor that does not convert images to patch grids."""


class TurnTemplate(NamedTuple):
    """The chat template's text before (images included) and after the user's text."""

    before: str
    after: str


class Prepared(NamedTuple):
    """The model inputs of a batch of requests, as NumPy arrays, so that they can be passed between processes.

    `inputs`: input_ids, attention_mask and mm_token_type_ids (B, T), left-padded; with images also pixel_values
    (L, C*T*P*P) and image_grid_thw (N, 3). With shared pictures `grids` (M, 3) are those of the distinct pictures, and
    image i is distinct picture picture_of[i]; without sharing they are None and ().
    """

    inputs: dict[str, np.ndarray]
    grids: np.ndarray | None = None
    picture_of: tuple[int, ...] = ()


def views(request: Request) -> list[View]:
    """The image sizes and bounds of a request, which decide its number of visual tokens."""
    return [(image.size, bound) for image, bound in zip(request.images, request.bounds(), strict=True)]


class Encoder:
    """Wraps an AutoProcessor. Images have at least `min_pixels` pixels (0: the processor's own bound).

    Raises UnsupportedProcessor for a processor without image tokens or patch grids.
    """

    def __init__(self, processor: Any, min_pixels: int = 0) -> None:
        self.min_pixels = min_pixels
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.image_token: str = getattr(processor, "image_token", "")
        needed = ("merge_size", "get_number_of_image_patches")
        if not self.image_token or not all(hasattr(processor.image_processor, name) for name in needed):
            raise UnsupportedProcessor(
                f"processor {type(processor).__name__}: expected a Qwen2-VL style processor with image_token and "
                "merge_size; serve other models with an OpenAI-compatible server"
            )
        self.image_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self.merge: int = processor.image_processor.merge_size
        self.end: int = self.tokenizer.eos_token_id
        self.pad: int = self.tokenizer.pad_token_id
        self.turn = cache(self._turn)
        self.text = lru_cache(maxsize=4096)(self._text)
        self.visual_tokens = lru_cache(maxsize=65_536)(self._visual_tokens)
        self.special = tuple(sorted(self.tokenizer.get_added_vocab()))

    def _text(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def between(self) -> list[int]:
        """Token ids from after a reply's end token to the user's next text, in one conversation."""
        texts = [{"type": "text", "text": _SENTINEL}]
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": texts} for role in roles]
        rendered: str = self.processor.apply_chat_template(messages, add_generation_prompt=False, tokenize=False)
        ids = self.text(rendered.split(_SENTINEL)[2])
        if not ids or ids[0] != self.end:
            raise UnsupportedProcessor(
                f"processor {type(self.processor).__name__}: its chat template does not end a reply with the end token "
                f"{self.tokenizer.eos_token!r}; conversations cannot be packed"
            )
        return list(ids[1:])

    def _turn(self, n_images: int) -> TurnTemplate:
        parts = [{"type": "image"}] * n_images + [{"type": "text", "text": _SENTINEL}]
        messages = [{"role": "user", "content": parts}]
        rendered: str = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        before, _, after = rendered.partition(_SENTINEL)
        return TurnTemplate(before, after)

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
        for bound, members in groups.items():
            low, high = self._limits(bound)
            size = {"shortest_edge": low, "longest_edge": high}
            out = self.processor.image_processor(images=[images[i] for i in members], size=size, return_tensors="pt")
            counts = out["image_grid_thw"].prod(dim=1).tolist()
            for i, piece, grid in zip(members, out["pixel_values"].split(counts), out["image_grid_thw"], strict=True):
                patches[i], grids[i] = piece, grid
        return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.stack(grids)}

    def _limits(self, bound: int | None) -> tuple[int, int]:
        """The fewest and the most pixels of an image with this bound."""
        size = self.processor.image_processor.size
        high = min(bound or size["longest_edge"], size["longest_edge"])
        return min(max(size["shortest_edge"], self.min_pixels), high), high

    def _visual_tokens(self, view: View) -> int:
        """Visual tokens of an image: the processor's own count, without running it."""
        (width, height), bound = view
        low, high = self._limits(bound)
        limits = {"min_pixels": low, "max_pixels": high}
        return self.processor.image_processor.get_number_of_image_patches(height, width, limits) // self.merge**2

    def batch(self, requests: Sequence[Request], share: bool, replies: Sequence[Sequence[int]] = ()) -> Prepared:
        """The inputs of one batch. With `share`, a picture that occurs several times is processed once.

        `replies`: for each request the token ids with which its reply begins; none by default.
        """
        import numpy as np

        image_views = [view for r in requests for view in zip(r.images, r.bounds(), strict=True)]
        distinct = {(id(image), bound): (image, bound) for image, bound in image_views}
        pictures = list(distinct.values()) if share else image_views
        pixels = (
            {k: v.numpy() for k, v in self.pixels(*map(list, zip(*pictures, strict=True))).items()} if pictures else {}
        )
        grids, picture_of = pixels.get("image_grid_thw"), tuple[int, ...]()
        if grids is not None and share:
            number = {key: i for i, key in enumerate(distinct)}
            picture_of = tuple(number[id(image), bound] for image, bound in image_views)
            pixels["image_grid_thw"] = grids[list(picture_of)]
        rows = self._rows(requests, [tuple(g) for g in pixels["image_grid_thw"].tolist()] if pictures else [])
        rows = [[*row, *reply] for row, reply in zip(rows, replies or [()] * len(rows), strict=True)]
        width = max(map(len, rows))
        ids = np.array([[self.pad] * (width - len(row)) + row for row in rows])
        mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        text = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == self.image_id).astype(np.int32)}
        return Prepared(pixels | text, grids if share else None, picture_of)

    def _rows(self, requests: Sequence[Request], grids: Sequence[Grid]) -> list[list[int]]:
        """Token ids of each request; `grids` of all their images, in order."""
        rows: list[list[int]] = []
        offset = 0
        for r in requests:
            request_grids = grids[offset : offset + len(r.images)]
            rows.append([*self.prefix(request_grids), *self.prompt(r.prompt, len(request_grids))])
            offset += len(request_grids)
        return rows

    def prefix(self, grids: Sequence[Grid]) -> list[int]:
        """Token ids before the user's text, with every image placeholder expanded to its visual tokens."""
        pieces = self.turn(len(grids)).before.split(self.image_token)
        ids = [*self.text(pieces[0])]
        for (t, h, w), piece in zip(grids, pieces[1:], strict=True):
            ids += [self.image_id] * (t * h * w // self.merge**2) + [*self.text(piece)]
        return ids

    def plain(self, text: str) -> str:
        """The text with special tokens broken up ("<|im_end|>" becomes "< |im_end|>"), so that text of OCR, captions or
        models cannot end a turn or stand for a picture."""
        for token in self.special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def prompt(self, prompt: str, n_images: int) -> list[int]:
        """Token ids of the user's text and the opening of the assistant's turn."""
        return [*self.text(self.plain(prompt)), *self.text(self.turn(n_images).after)]

    def reply(self, text: str) -> list[int]:
        """Token ids of a reply with its end token."""
        return [*self.text(self.plain(text)), self.end]
