"""A test request with a picture: what a model answers with an adapter and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ouro.vision.protocols import Request

if TYPE_CHECKING:
    import torch

    from ouro.vision.encoding import Encoder

PROBE_SIDE = 112  # pixels of the picture; an adapter of the vision tower alone does not change a reply to text


def probe_logits(model: Any, encoder: Encoder) -> torch.Tensor:
    """The logits (1, T, V) of the test request."""
    import torch

    probe = encoder.batch([_make_probe()], share=False).inputs
    with torch.inference_mode():
        return model(**{k: torch.from_numpy(v).to(model.device) for k, v in probe.items()}).logits


def adapter_changes_output(wrapped: Any, encoder: Encoder) -> bool:
    """Whether the logits of the test request are finite and differ with and without the adapter."""
    import torch

    with_adapter = probe_logits(wrapped, encoder)
    with wrapped.disable_adapter():
        without_adapter = probe_logits(wrapped, encoder)
    return bool(torch.isfinite(with_adapter).all()) and not torch.equal(with_adapter, without_adapter)


def _make_probe() -> Request:
    """A request with a picture of noise, in which no two patches are equal."""
    import numpy as np
    from PIL import Image as PILImage

    noise = np.random.default_rng(0).integers(0, 256, (PROBE_SIDE, PROBE_SIDE, 3), dtype=np.uint8)
    return Request((PILImage.fromarray(noise),), "Describe the image.", (PROBE_SIDE**2,))
