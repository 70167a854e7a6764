"""What a collection of images asks of the models: pictures shown, tokens read and written, by stage.

Numbers that the params do not say are those of ouro.costs.assumptions. Means are used throughout: of a picture's tokens
exactly, and of the language model's attention, which grows with the square of a text, nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ouro.annotate.prompts import ANSWERS, TEMPLATES, description_prompt, synthesis_prompt
from ouro.core.params import Params, Train
from ouro.costs.assumptions import Assumptions
from ouro.vision.architecture import Grid, Sight, Vision
from ouro.vision.flops import causal, visual_tokens

Shown = Mapping[Grid, float]  # patch grid -> how many pictures of it
ANSWER_TOKENS = 32  # most of a round-trip answer, as in ouro.annotate.synthesize


class Calls(NamedTuple):
    """`n` calls of a VLM: what one shows (grid -> pictures; fractions are means), the tokens around it, those of the
    reply, its batch, and `encoded`, the share of pictures whose features must be made (others share them)."""

    n: float
    shown: Shown
    text: float
    reply: float
    batch: int
    encoded: float = 1.0

    def prompt(self, vision: Vision) -> float:
        """Tokens of one prompt, visual ones included."""
        return self.text + visible(vision, self.shown)


class Rows(NamedTuple):
    """`n` training rows: pictures encoded, tokens, keys seen and positions with a loss of one."""

    n: float
    shown: Shown
    tokens: float
    attended: float
    supervised: float


class Workload(NamedTuple):
    """What all stages ask for. `detections`: pictures that the proposal network sees; `rows` by packing."""

    images: float
    detections: float
    describe: Sequence[Calls]
    synthesize: Sequence[Calls]
    rows: Mapping[str, Rows]
    benchmark: Sequence[Calls]


class Pictures(NamedTuple):
    """Patch grids by use: of whole images and of regions (shares that add up to 1), as describing, training, the
    benchmark and (`written`: whole images) synthesizing see them. Empty where there are none."""

    image: Shown
    region: Shown
    trained_image: Shown
    trained_region: Shown
    asked_image: Shown
    asked_region: Shown
    written: Shown


def visible(vision: Vision, shown: Shown) -> float:
    """Tokens of the pictures, and the two around each."""
    return sum(n * (visual_tokens(vision, g) + 2) for g, n in shown.items())


def pictures(params: Params, sight: Sight, values: Assumptions) -> Pictures:
    """Grids of a typical image and of its typical region at each level, in the image's own proportions."""
    size = (values.width, values.height)
    levels = [(values.regions1, values.area1), (values.regions2, values.area2), (values.regions3, values.area3)]

    def parts(most: int, context: float = 0.0) -> Shown:
        shares: dict[Grid, float] = {}
        for n, area in levels:
            if n:
                scale = min(1.0, math.sqrt(area) * (1 + 2 * context))
                made = sight.grid(max(1.0, size[0] * scale), max(1.0, size[1] * scale), most)
                shares[made] = shares.get(made, 0.0) + n / values.regions
        return shares

    def whole(most: int, least: int = 0) -> Shown:
        return {sight.grid(*size, most, least): 1.0}

    d, t, b = params.describe, params.train, params.benchmark
    return Pictures(
        whole(d.max_pixels), parts(d.region_max_pixels, d.context),
        whole(t.max_pixels, t.min_pixels), parts(t.region_max_pixels),
        whole(b.max_pixels), parts(b.region_max_pixels), whole(params.synthesize.max_pixels),
    )  # fmt: skip


def workload(
    params: Params, sight: Sight, images: float, values: Assumptions, seen: Pictures, count: Callable[[str], float]
) -> Workload:
    """What `images` images ask for. `count` says how many tokens a text has."""
    searched = sum([1.0, values.regions1, values.regions2, values.regions3][: params.propose.max_depth])
    return Workload(
        images,
        images * searched if "rpn" in params.propose.proposers else 0.0,
        _describe(params, sight.vision, images, values, seen, count),
        _synthesize(params, images, values, seen, count),
        {packing: _rows(params, sight.vision, images, values, seen, count, packing) for packing in PACKINGS},
        _benchmark(params, values, seen, count),
    )


PACKINGS = ("shared", "separate", "conversation")


def _batch(params: Params, size: int, tokens: float = 0.0) -> int:
    """Calls at once: of a server those under way, else a batch of at most `size` and describe.batch_tokens tokens."""
    if params.model.backend == "openai":
        return params.model.concurrency
    return max(1, min(size, int(params.describe.batch_tokens / tokens))) if tokens else size


def _describe(
    params: Params, vision: Vision, images: float, values: Assumptions, seen: Pictures, count: Callable[[str], float]
) -> list[Calls]:
    d = params.describe
    total = sum(d.prompts.values())

    def text(kind: str) -> float:
        asked = sum(w * count(description_prompt(name, kind, d.prompt)) for name, w in d.prompts.items())
        return values.template + asked / total

    def made(shown: Shown, n: float, kind: str, reply: float) -> list[Calls]:
        tokens = min(reply, d.max_new_tokens)
        return [
            Calls(n * share, {g: 1.0}, text(kind), tokens, _batch(params, d.batch_size, visual_tokens(vision, g)))
            for g, share in shown.items()
            if n * share
        ]

    whole = made(seen.image, images, "scene", values.image_reply)
    return whole + made(seen.region, images * values.regions, "object", values.region_reply)


def _synthesize(
    params: Params, images: float, values: Assumptions, seen: Pictures, count: Callable[[str], float]
) -> list[Calls]:
    s, shown = params.synthesize, seen.written
    batch = _batch(params, s.batch_size)
    calls: list[Calls] = []
    if s.writer == "vlm":
        asked = count(synthesis_prompt(s.template, s.aspects[0], "")) if s.template in TEMPLATES else 0.0
        text = values.template + asked + _merged(params, values)
        reply = min(values.written, s.max_new_tokens)
        n = images * len(s.aspects)
        calls.append(Calls(n, shown, text, reply, batch, _shared(len(s.aspects), batch)))
    if s.round_trip:
        text = values.template + values.question + count(ANSWERS[s.template].format(question=""))
        reply = min(values.answer, ANSWER_TOKENS)
        calls.append(Calls(images * values.pairs, shown, text, reply, batch, _shared(values.pairs, batch)))
    return calls


def _shared(about: float, batch: int) -> float:
    """Share of pictures that are encoded when `about` questions ask about one, and a batch shares features."""
    return 1 / max(1.0, min(about, batch))


def _merged(params: Params, values: Assumptions) -> float:
    return min(values.merged, params.merge.max_tokens)


def _benchmark(params: Params, values: Assumptions, seen: Pictures, count: Callable[[str], float]) -> list[Calls]:
    """Base and bootstrapped, each question about its own image and about a wrong one."""
    b = params.benchmark
    n = values.asked * 4
    beside = {g: share * min(b.k, values.regions) for g, share in seen.asked_region.items()}
    arms = [dict(seen.asked_image), *([_add(seen.asked_image, beside)] if b.k else [])]
    text = values.template + values.question + (count(b.suffix) if b.suffix else 0.0)
    reply, encoded = min(values.answer, b.max_new_tokens), _shared(values.asked_per_image, b.batch_size)
    return [Calls(n, shown, text, reply, b.batch_size, encoded) for shown in arms if n]


def _add(one: Shown, other: Shown) -> dict[Grid, float]:
    return {g: one.get(g, 0.0) + other.get(g, 0.0) for g in (*one, *other)}


class Branch(NamedTuple):
    """What is asked, and what is learnt, in tokens."""

    prompt: float
    target: float


def _rows(
    params: Params, vision: Vision, images: float, values: Assumptions, seen: Pictures,
    count: Callable[[str], float], packing: str,
) -> Rows:  # fmt: skip
    """One row an image and epoch; a share of the batches, region_dropout, shows the image alone."""
    t = params.train
    k = min(t.k, values.regions)
    alone = _row(t, vision, values, seen.trained_image, params, count, packing)
    if not k or t.region_dropout == 1.0:
        mixed = alone
    else:
        beside = {g: share * k for g, share in seen.trained_region.items()}
        both = _row(t, vision, values, _add(seen.trained_image, beside), params, count, packing)
        mixed = _mix(alone, both, t.region_dropout)
    return mixed._replace(n=images * t.epochs)


def _row(
    t: Train, vision: Vision, values: Assumptions, shown: Shown, params: Params, count: Callable[[str], float],
    packing: str,
) -> Rows:  # fmt: skip
    ends = 4.0  # of the template's tokens these follow the prompt, in every branch
    description = Branch(count(params.describe.prompt) + ends, _merged(params, values) + 1)
    questions = min(t.questions, values.pairs)
    question = Branch(values.question + ends, values.answer)
    return packed(values.template - ends + visible(vision, shown), description, question, questions, shown, packing)


def packed(
    prefix: float, description: Branch, question: Branch, questions: float, shown: Shown, packing: str
) -> Rows:  # fmt: skip
    """One image's row. Shared: the prefix once, every branch sees it and itself: b * P + b (b + 1) / 2 keys each.
    Separate: the prefix and its pictures again for every branch. Conversation: one causal text."""
    branches = [(1.0, sum(description)), (questions, sum(question))]
    supervised = description.target + questions * question.target
    told = sum(n * size for n, size in branches)
    if packing == "separate":
        times = 1 + questions
        attended = sum(n * causal(prefix + size) for n, size in branches)
        again = {g: n * times for g, n in shown.items()}
        return Rows(1, again, times * prefix + told, attended, supervised)
    if packing == "conversation":
        return Rows(1, shown, prefix + told, causal(prefix + told), supervised)
    attended = causal(prefix) + sum(n * (size * prefix + causal(size)) for n, size in branches)
    return Rows(1, shown, prefix + told, attended, supervised)


def _mix(one: Rows, other: Rows, share: float) -> Rows:
    """`share` of the rows as `one`, the rest as `other`."""
    shown = {
        g: share * one.shown.get(g, 0.0) + (1 - share) * other.shown.get(g, 0.0) for g in (*one.shown, *other.shown)
    }
    mean = [share * a + (1 - share) * b for a, b in zip(one[2:], other[2:], strict=True)]
    return Rows(1, shown, *mean)
