"""The two interfaces for models: region proposers and vision-language models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ouro.core.errors import OuroError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

    from ouro.core.records import Box


LONG_PROMPT = 200  # characters; longer prompts contain a description


class Proposal(NamedTuple):
    """A candidate region. `box`: xyxy, half-open, pixels of the given image (or of the full image once
    `ouro.annotate.recurse` has shifted it); `score` in 0..1; `text`: the text read by OCR, else ""; `turn`: degrees
    by which the page that the text stands on is turned clockwise."""

    box: Box
    score: float
    source: str
    text: str = ""
    turn: float = 0.0


class RegionProposer(Protocol):
    """Finds candidate regions. `name` is "rpn", "ocr", ...; "ocr" gets whole images, and crops that are
    magnified compared with before (`ouro.annotate.recurse.is_shown`)."""

    name: str

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """One list of proposals per RGB image, in input order; images may differ in size."""
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
    """One prompt to a VLM with zero or more images.

    `max_pixels`: the most pixels that each image is resized to (None: the model's own bound); empty: no bounds.
    `most_tokens`: of the reply, where that is fewer than the `max_new_tokens` of the call (None: those).
    `confidence`: whether the reply is wanted as a Reply with the probabilities of its tokens.
    `schema`: a JSON schema, as JSON, that a server should hold the reply to (ouro.vision.extras); "" for none. A
    backend without `takes_schemas` does not look at it.
    """

    images: tuple[PIL.Image.Image, ...]
    prompt: str
    max_pixels: tuple[int | None, ...] = ()
    most_tokens: int | None = None
    confidence: bool = False
    schema: str = ""

    def bounds(self) -> tuple[int | None, ...]:
        """One bound per image. Raises ValueError when the numbers of bounds and images differ."""
        if self.max_pixels and len(self.max_pixels) != len(self.images):
            raise ValueError(f"request has {len(self.images)} images but {len(self.max_pixels)} pixel bounds")
        return self.max_pixels or (None,) * len(self.images)


class Reply(str):
    """A reply with the mean and the lowest probability of its tokens, in 0..1, the end token apart.

    For code that does not ask how sure the model was, it is its text.
    """

    mean_probability: float
    min_probability: float

    def __new__(cls, text: str, mean_probability: float, min_probability: float) -> Reply:
        """A string with both attributes."""
        reply = super().__new__(cls, text)
        reply.mean_probability, reply.min_probability = mean_probability, min_probability
        return reply

    def __reduce__(self) -> tuple[type[Reply], tuple[str, float, float]]:
        """Pickle with both attributes."""
        return Reply, (str(self), self.mean_probability, self.min_probability)


class Refused(str):
    """The reply to a request that the model's server refused: an empty string. `why`: the server's reason, without key.

    Code that counts rejections tests for it (`isinstance(reply, Refused)`); for all other code it is an empty reply.
    """

    why: str

    def __new__(cls, why: str) -> Refused:
        """An empty string with the attribute `why`."""
        reply = super().__new__(cls)
        reply.why = why
        return reply

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        """Pickle with `why`."""
        return Refused, (self.why,)


def plan_batches(
    requests: Sequence[Request], size: int, tokens: Sequence[int] | None = None, budget: int | None = None
) -> list[list[int]]:
    """Indices of the requests in batches, longest first: running out of memory then shows in the first batch, and the
    last batches are short.

    `tokens`: visual tokens of each request; by default its number of pixels. A batch holds at most `size` requests and
    at most `budget` tokens, each request counted as long as the longest, since they are padded; a request over the
    budget is a batch of its own.

    Among requests of equal length, those about one picture stay together, so that a model can encode it once. Requests
    about a picture with no other request are sorted by prompt. Long prompts are sorted by their end, which predicts the
    length of the reply, then by length. The order depends on the requests alone.

    A request with `most_tokens` joins the batch of the first request without about its picture, uncounted, so that the
    picture is encoded once and the other batches are as they would be without it; `split_by_length` keeps it from
    being held up there. Those without such a companion have batches of their own at the end.
    """
    short = [i for i, r in enumerate(requests) if r.most_tokens is not None]
    if not short:
        return _plan(requests, range(len(requests)), size, tokens, budget)
    groups = _plan(requests, [i for i, r in enumerate(requests) if r.most_tokens is None], size, tokens, budget)
    group_of: dict[int, list[int]] = {}
    for group in groups:
        for i in group:
            if requests[i].images:
                group_of.setdefault(id(requests[i].images[0]), group)
    alone: list[int] = []
    for i in short:
        images = requests[i].images
        (group_of.get(id(images[0]), alone) if images else alone).append(i)
    return groups + _plan(requests, alone, size, tokens, budget)


def split_by_length(requests: Sequence[Request]) -> list[list[int]]:
    """Indices of a batch's requests by the most tokens of their replies, those without a limit of their own first.

    They share pictures but not a generation, which lasts as long as its longest reply.
    """
    groups: dict[int | None, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(request.most_tokens, []).append(i)
    return [groups[limit] for limit in sorted(groups, key=lambda n: (n is not None, n))]


def _plan(
    requests: Sequence[Request], indices: Sequence[int], size: int, tokens: Sequence[int] | None, budget: int | None
) -> list[list[int]]:
    """`plan_batches` of the requests with these indices."""
    lengths = tokens if tokens is not None else [_count_pixels(r) for r in requests]
    question_counts = Counter(id(requests[i].images[0]) for i in indices if requests[i].images)
    picture_numbers: dict[int, int] = {}

    def sort_key(i: int) -> tuple[int, str, int, int, str]:
        prompt, images = requests[i].prompt, requests[i].images
        if len(prompt) > LONG_PROMPT:
            return -lengths[i], prompt[-24:], 0, -len(prompt), ""
        shared = bool(images) and question_counts[id(images[0])] > 1
        picture = picture_numbers.setdefault(id(images[0]), len(picture_numbers) + 1) if shared else 0
        return -lengths[i], "", picture, -len(prompt), prompt

    groups: list[list[int]] = []
    for i in sorted(indices, key=sort_key):
        full = not groups or len(groups[-1]) == size
        if full or (budget is not None and (len(groups[-1]) + 1) * lengths[groups[-1][0]] > budget):
            groups.append([])
        groups[-1].append(i)
    return groups


def _count_pixels(request: Request) -> int:
    bounds = (b or 1 << 40 for b in request.bounds())
    return sum(min(im.width * im.height, b) for im, b in zip(request.images, bounds, strict=True))


OnReplies = Callable[[Mapping[int, str]], None]


class VisionLM(Protocol):
    """A vision-language model. `fingerprint` changes whenever its replies may change."""

    fingerprint: str

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One reply per request, in order; `progress` is called from time to time with the number of new replies.

        `on_replies` gets the replies of each batch by the index of their request as soon as they are there, so that
        they can be stored; it may be called from another thread, never twice at once.

        A reply may be a Refused: the model's server refuses this request, but not others. It may be a Reply where the
        request wants its confidence, and is a plain str where the backend gives none.
        """
        ...


@runtime_checkable
class Structuring(Protocol):
    """A model whose replies can be held to `Request.schema`; `takes_schemas` becomes False when its server refuses."""

    @property
    def takes_schemas(self) -> bool: ...


class ScoringUnavailable(OuroError, ValueError):
    """A backend that cannot tell the probabilities of replies; its text says which, and what to set instead."""


@runtime_checkable
class Scoring(Protocol):
    """A model that tells how probable replies are: yes or no, one of two values, one of several phrases."""

    fingerprint: str

    def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
        """For each request the probability of each of its options as the reply, normalised over its options.

        `options`: one tuple for each request, of two or more different replies. What counts are an option's tokens up
        to the first that tells it from all others, so that a longer one is not less probable for its length; with and
        without a capital it is one option. Options that the model cannot tell apart, and all where it would say none of
        them, are equally probable. Raises ScoringUnavailable, and ValueError where the numbers of requests and tuples
        differ or a tuple has fewer than two options or the same twice.
        """
        ...


def check_options(requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> None:
    """Raise ValueError unless each request has two or more options that differ in more than case and blanks."""
    if len(requests) != len(options):
        raise ValueError(f"choose: got {len(requests)} requests and {len(options)} tuples of options; expected as many")
    for number, choices in enumerate(options):
        names = {" ".join(choice.casefold().split()) for choice in choices}
        if len(names) != len(choices) or len(names) < 2 or "" in names:
            raise ValueError(f"choose: request {number}: got options {choices!r}, expected two or more different texts")
