"""The two doors through which other people's models come in: region proposers and vision-language models."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import PIL.Image

    from ouro.core.records import Box


LONG_PROMPT = 200  # characters; longer ones carry a description


class Proposal(NamedTuple):
    """A candidate region. `box`: xyxy, half-open, pixels of the given image (or of the full image once
    `ouro.annotate.recurse` has shifted it); `score` in 0..1; `text` is what OCR read, else ""."""

    box: Box
    score: float
    source: str
    text: str = ""


class RegionProposer(Protocol):
    """Finds candidate regions. `name` is "rpn", "ocr", ...; "ocr" is shown whole images, and crops
    that it sees larger than before (`ouro.annotate.recurse.is_shown`)."""

    name: str

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """One list of proposals per RGB image, in the order given; images may differ in size."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A proposer that may leave out a picture: `skipped` counts them, `why` by reason."""

    skipped: int
    why: Counter[str]

    def counting(self) -> RegionProposer:
        """The same proposer with counters of its own, from 0."""
        ...

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """As RegionProposer's."""
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


class Refused(str):
    """The reply to a request that the model's server did not take: "", and in `why` what it said, never a key.

    Whoever keeps count of what was rejected asks for it (`isinstance(reply, Refused)`); to others it is an empty reply.
    """

    why: str

    def __new__(cls, why: str) -> Refused:
        """`why` is no part of the text."""
        made = super().__new__(cls)
        made.why = why
        return made

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        """Survive the way to another process."""
        return Refused, (self.why,)


def batches(
    requests: Sequence[Request], size: int, tokens: Sequence[int] | None = None, budget: int | None = None
) -> list[list[int]]:
    """Indices of the requests in batches, longest first: what memory does not hold shows at once, the tail is short.

    `tokens`: visual tokens of each request, the pixels shown if none are given. A batch holds at most `size` requests
    and, each counted as long as its longest (they are padded), at most `budget` tokens; a longer request is alone.

    Among equals, questions about one picture stay together, so that a model can look at it once; pictures that are
    asked about once go by their prompt; long prompts by their end, which says how long the reply will be, and length.
    The order depends on the requests alone.
    """
    length = tokens if tokens is not None else [_pixels(r) for r in requests]
    asked = Counter(id(r.images[0]) for r in requests if r.images)
    seen: dict[int, int] = {}

    def place(i: int) -> tuple[int, str, int, int, str]:
        prompt, images = requests[i].prompt, requests[i].images
        if len(prompt) > LONG_PROMPT:
            return -length[i], prompt[-24:], 0, -len(prompt), ""
        shared = bool(images) and asked[id(images[0])] > 1
        picture = seen.setdefault(id(images[0]), len(seen) + 1) if shared else 0
        return -length[i], "", picture, -len(prompt), prompt

    made: list[list[int]] = []
    for i in sorted(range(len(requests)), key=place):
        full = not made or len(made[-1]) == size
        if full or (budget is not None and (len(made[-1]) + 1) * length[made[-1][0]] > budget):
            made.append([])
        made[-1].append(i)
    return made


def _pixels(request: Request) -> int:
    bounds = (b or 1 << 40 for b in request.bounds())
    return sum(min(im.width * im.height, b) for im, b in zip(request.images, bounds, strict=True))


class VisionLM(Protocol):
    """A vision-language model. `fingerprint` changes whenever its answers may change."""

    fingerprint: str

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """One answer per request, in order; `progress` is told how many more were answered, from time to time.

        An answer may be Refused: the model's server takes others, not this request.
        """
        ...
