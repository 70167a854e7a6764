"""Features of a picture, computed once for all that a batch asks about it: nine questions need one pass of the vision
tower instead of nine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any


class SharedFeatures:
    """Replaces a model's get_image_features: computes features once per distinct picture of a batch, then indexes."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.images: Sequence[int] = ()
        self._grids: Any = None
        self._picture_of: Sequence[int] = ()
        self._features: Any = None

    @contextmanager
    def of(self, grids: Any, picture_of: Sequence[int]) -> Generator[None]:
        """Within, calls are about the distinct pictures with `grids` (M, 3); image i is picture picture_of[i].

        `images` may be set to the numbers of the images that the next calls are about; at first it is all.
        """
        import torch

        self._grids, self._picture_of, self.images = torch.from_numpy(grids), picture_of, range(len(picture_of))
        try:
            yield
        finally:
            self._grids = self._features = None

    def __call__(self, pixel_values: Any, image_grid_thw: Any = None, **kwargs: Any) -> Any:
        if self._grids is None:  # outside of `of`: no sharing
            return self.make(pixel_values, image_grid_thw, **kwargs)
        if self._features is None:
            out = self.make(pixel_values, self._grids.to(pixel_values.device), **kwargs)
            self._features = out, out.pooler_output, getattr(out, "deepstack_features", None)
        out, pooled, layers = self._features
        pictures = [self._picture_of[i] for i in self.images]
        out.pooler_output = tuple(pooled[i] for i in pictures)
        if layers:  # Qwen3-VL: features of earlier layers, too
            out.deepstack_features = [tuple(layer[i] for i in pictures) for layer in layers]
        return out


def share_image_features(model: Any) -> SharedFeatures | None:
    """Let questions about one picture share its image features; None for other architectures than those listed here."""
    inner_model: Any = getattr(model, "model", None)
    if type(inner_model).__name__ not in ("Qwen2VLModel", "Qwen2_5_VLModel", "Qwen3VLModel"):
        return None
    shared = SharedFeatures(inner_model.get_image_features)
    inner_model.get_image_features = shared
    return shared
