"""The two doors through which other people's models come in: region proposers and vision-language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import PIL.Image

    from ouro.records import Box


class Proposal(NamedTuple):
    """A candidate region. `box`: xyxy, half-open, pixels of the given image (or of the full image once
    `ouro.annotate.recurse` has shifted it); `score` in 0..1; `text` is what OCR read, else ""."""

    box: Box
    score: float
    source: str
    text: str = ""


class RegionProposer(Protocol):
    """Finds candidate regions. `name` is "rpn", "ocr", ...; "ocr" is only ever shown whole images."""

    name: str

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """One list of proposals per RGB image, in the order given; images may differ in size."""
        ...


class Request(NamedTuple):
    """One question to a VLM about zero or more images.

    `max_pixels` bounds what the model sees of each image (None: the model's own bound); empty means no bounds.
    """

    images: tuple[PIL.Image.Image, ...]
    prompt: str
    max_pixels: tuple[int | None, ...] = ()

    def bounds(self) -> tuple[int | None, ...]:
        """One bound an image. Raises ValueError when their numbers differ."""
        if self.max_pixels and len(self.max_pixels) != len(self.images):
            raise ValueError(f"request has {len(self.images)} images but {len(self.max_pixels)} pixel bounds")
        return self.max_pixels or (None,) * len(self.images)


def batches(requests: Sequence[Request], size: int) -> list[list[int]]:
    """Indices of the requests in batches of similar size: by pixels shown, then by picture, then by the prompt.

    Questions about one picture stay together, so that a model can look at it once; long prompts go by their end,
    which says how long the reply will be, and by their length.
    """
    seen: dict[int, int] = {}

    def shown(i: int) -> tuple[int, str, int, int]:
        r = requests[i]
        pixels = sum(min(im.width * im.height, b or 1 << 40) for im, b in zip(r.images, r.bounds(), strict=True))
        picture = seen.setdefault(id(r.images[0]), len(seen)) if r.images else 0
        return (
            (pixels, r.prompt[-24:], len(r.prompt), 0) if len(r.prompt) > 200 else (pixels, "", picture, len(r.prompt))
        )

    order = sorted(range(len(requests)), key=shown)
    return [order[i : i + size] for i in range(0, len(order), size)]


class VisionLM(Protocol):
    """A vision-language model. `fingerprint` changes whenever its answers may change."""

    fingerprint: str

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """One answer per request, in order; `progress` is told how many more were answered, from time to time."""
        ...
