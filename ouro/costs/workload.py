"""The work of each stage on a collection of images: pictures encoded, tokens read and written.

Numbers that are not in the params come from ouro.costs.assumptions. Means are used throughout. That is exact for a
picture's tokens, and an approximation for the language model's attention, which grows with the square of a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ouro.annotate.prompts import ANSWERS, NAME, TEMPLATES, description_prompt, synthesis_prompt
from ouro.core.params import Params, Train
from ouro.costs.assumptions import Assumptions
from ouro.vision.architecture import Grid, PixelBounds, VisionTower
from ouro.vision.flops import causal_keys, visual_tokens

GridCounts = Mapping[Grid, float]  # patch grid -> how many pictures of it
NAME_REPLY = 6.0  # tokens of "a red sports car" and the end
ANSWER_TOKENS = 32  # at most, in a round-trip answer, as in ouro.annotate.synthesize


class Calls(NamedTuple):
    """`n` calls of a VLM. `grids`: the pictures of one call (grid -> number; fractions are means); `text` and `reply`:
    tokens; `batch`: calls per batch; `encoded`: the share of pictures that are encoded (the others share features)."""

    n: float
    grids: GridCounts
    text: float
    reply: float
    batch: int
    encoded: float = 1.0

    def prompt(self, vision: VisionTower) -> float:
        """Tokens of one prompt, visual ones included."""
        return self.text + count_visible_tokens(vision, self.grids)


class TrainingRows(NamedTuple):
    """`n` training rows. Per row: pictures encoded, tokens, keys attended to, positions with a loss."""

    n: float
    grids: GridCounts
    tokens: float
    attended: float
    supervised: float


class Workload(NamedTuple):
    """The work of all stages. `detections`: pictures that the proposal network processes; `rows` by packing."""

    images: float
    detections: float
    describe: Sequence[Calls]
    synthesize: Sequence[Calls]
    rows: Mapping[str, TrainingRows]
    benchmark: Sequence[Calls]


class PictureGrids(NamedTuple):
    """Patch grids of whole images and of regions (shares that add up to 1), by stage: describe (`image`, `region`),
    train (`trained_*`), benchmark (`asked_*`) and synthesize (`written`: whole images). Empty where there are none."""

    image: GridCounts
    region: GridCounts
    trained_image: GridCounts
    trained_region: GridCounts
    asked_image: GridCounts
    asked_region: GridCounts
    written: GridCounts


def count_visible_tokens(vision: VisionTower, grids: GridCounts) -> float:
    """Visual tokens of the pictures, plus the two special tokens around each."""
    return sum(n * (visual_tokens(vision, g) + 2) for g, n in grids.items())


def estimate_grids(params: Params, sight: PixelBounds, values: Assumptions) -> PictureGrids:
    """Grids of a typical image and of its typical region at each level; regions have the image's aspect ratio."""
    size = (values.width, values.height)
    levels = [(values.regions1, values.area1), (values.regions2, values.area2), (values.regions3, values.area3)]

    def region_shares(max_pixels: int, context: float = 0.0) -> GridCounts:
        shares: dict[Grid, float] = {}
        for n, area in levels:
            if n:
                scale = min(1.0, math.sqrt(area) * (1 + 2 * context))
                grid = sight.grid(max(1.0, size[0] * scale), max(1.0, size[1] * scale), max_pixels)
                shares[grid] = shares.get(grid, 0.0) + n / values.regions
        return shares

    def image_shares(max_pixels: int, min_pixels: int = 0) -> GridCounts:
        return {sight.grid(*size, max_pixels, min_pixels): 1.0}

    d, t, b = params.describe, params.train, params.benchmark
    return PictureGrids(
        image_shares(d.max_pixels), region_shares(d.region_max_pixels, d.context),
        image_shares(t.max_pixels, t.min_pixels), region_shares(t.region_max_pixels),
        image_shares(b.max_pixels), region_shares(b.region_max_pixels), image_shares(params.synthesize.max_pixels),
    )  # fmt: skip


def estimate_workload(
    params: Params,
    sight: PixelBounds,
    images: float,
    values: Assumptions,
    grids_by_use: PictureGrids,
    count: Callable[[str], float],
) -> Workload:
    """The work on `images` images. `count` counts the tokens of a text."""
    searched_per_image = sum([1.0, values.regions1, values.regions2, values.regions3][: params.propose.max_depth])
    return Workload(
        images,
        images * searched_per_image if "rpn" in params.propose.proposers else 0.0,
        _estimate_describe(params, sight.vision, images, values, grids_by_use, count),
        _estimate_synthesize(params, images, values, grids_by_use, count),
        {
            packing: _estimate_rows(params, sight.vision, images, values, grids_by_use, count, packing)
            for packing in PACKINGS
        },
        _estimate_benchmark(params, values, grids_by_use, count),
    )


PACKINGS = ("shared", "separate", "conversation")


def _batch_size(params: Params, size: int, tokens: float = 0.0) -> int:
    """Calls per batch: a server's concurrency, else at most `size` calls and describe.batch_tokens tokens."""
    if params.model.backend == "openai":
        return params.model.concurrency
    return max(1, min(size, int(params.describe.batch_tokens / tokens))) if tokens else size


def _estimate_describe(
    params: Params,
    vision: VisionTower,
    images: float,
    values: Assumptions,
    grids_by_use: PictureGrids,
    count: Callable[[str], float],
) -> list[Calls]:
    d = params.describe
    total = sum(d.prompts.values())

    def count_text(kind: str) -> float:
        prompt_tokens = sum(w * count(description_prompt(name, kind, d.prompt)) for name, w in d.prompts.items())
        return values.template + prompt_tokens / total

    def make_calls(grids: GridCounts, n: float, kind: str, reply: float) -> list[Calls]:
        tokens = min(reply, d.max_new_tokens)
        return [
            Calls(
                n * share,
                {g: 1.0},
                count_text(kind),
                tokens,
                _batch_size(params, d.batch_size, visual_tokens(vision, g)),
            )
            for g, share in grids.items()
            if n * share
        ]

    image_calls = make_calls(grids_by_use.image, images, "scene", values.image_reply)
    calls = image_calls + make_calls(grids_by_use.region, images * values.regions, "object", values.region_reply)
    if d.name != "asked" or (d.structured and params.model.backend == "openai"):
        return calls
    name_tokens = values.template + count(NAME)
    return calls + [c._replace(text=name_tokens, reply=NAME_REPLY, encoded=0.0) for c in calls]


def _estimate_synthesize(
    params: Params, images: float, values: Assumptions, grids_by_use: PictureGrids, count: Callable[[str], float]
) -> list[Calls]:
    s, grids = params.synthesize, grids_by_use.written
    batch = _batch_size(params, s.batch_size)
    calls: list[Calls] = []
    if s.writer == "vlm":
        prompt_tokens = count(synthesis_prompt(s.template, s.aspects[0], "")) if s.template in TEMPLATES else 0.0
        text = values.template + prompt_tokens + _description_tokens(params, values)
        reply = min(values.written, s.max_new_tokens)
        n = images * len(s.aspects)
        calls.append(Calls(n, grids, text, reply, batch, _encoded_share(len(s.aspects), batch)))
    if s.round_trip:
        text = values.template + values.question + count(ANSWERS[s.template].format(question=""))
        reply = min(values.answer, ANSWER_TOKENS)
        calls.append(Calls(images * values.pairs, grids, text, reply, batch, _encoded_share(values.pairs, batch)))
    return calls


def _encoded_share(questions: float, batch: int) -> float:
    """Share of pictures that are encoded when there are so many questions per picture and a batch shares features."""
    return 1 / max(1.0, min(questions, batch))


def _description_tokens(params: Params, values: Assumptions) -> float:
    return min(values.merged, params.merge.max_tokens)


def _estimate_benchmark(
    params: Params, values: Assumptions, grids_by_use: PictureGrids, count: Callable[[str], float]
) -> list[Calls]:
    """Each question is asked of the base and of the bootstrapped model, with its own image and with a wrong one."""
    b = params.benchmark
    n = values.asked * 4
    region_grids = {g: share * min(b.k, values.regions) for g, share in grids_by_use.asked_region.items()}
    arms = [dict(grids_by_use.asked_image), *([_add_grids(grids_by_use.asked_image, region_grids)] if b.k else [])]
    text = values.template + values.question + (count(b.suffix) if b.suffix else 0.0)
    reply, encoded = min(values.answer, b.max_new_tokens), _encoded_share(values.asked_per_image, b.batch_size)
    return [Calls(n, grids, text, reply, b.batch_size, encoded) for grids in arms if n]


def _add_grids(first: GridCounts, second: GridCounts) -> dict[Grid, float]:
    return {g: first.get(g, 0.0) + second.get(g, 0.0) for g in (*first, *second)}


class BranchTokens(NamedTuple):
    """Tokens of a branch's prompt and of its target."""

    prompt: float
    target: float


def _estimate_rows(
    params: Params, vision: VisionTower, images: float, values: Assumptions, grids_by_use: PictureGrids,
    count: Callable[[str], float], packing: str,
) -> TrainingRows:  # fmt: skip
    """One row per image and epoch; in a share of the batches (region_dropout) rows have the image alone."""
    t = params.train
    k = min(t.k, values.regions)
    image_only = _estimate_row(t, vision, values, grids_by_use.trained_image, params, count, packing)
    if not k or t.region_dropout == 1.0:
        mean_rows = image_only
    else:
        region_grids = {g: share * k for g, share in grids_by_use.trained_region.items()}
        with_regions = _estimate_row(
            t, vision, values, _add_grids(grids_by_use.trained_image, region_grids), params, count, packing
        )
        mean_rows = _mix_rows(image_only, with_regions, t.region_dropout)
    return mean_rows._replace(n=images * t.epochs)


def _estimate_row(
    t: Train, vision: VisionTower, values: Assumptions, grids: GridCounts, params: Params,
    count: Callable[[str], float], packing: str,
) -> TrainingRows:  # fmt: skip
    end_tokens = 4.0  # the template's tokens that follow the prompt in every branch
    description = BranchTokens(count(params.describe.prompt) + end_tokens, _description_tokens(params, values) + 1)
    questions = min(t.questions, values.pairs)
    question = BranchTokens(values.question + end_tokens, values.answer)
    return estimate_packed_row(
        values.template - end_tokens + count_visible_tokens(vision, grids),
        description,
        question,
        questions,
        grids,
        packing,
    )


def estimate_packed_row(
    prefix: float, description: BranchTokens, question: BranchTokens, questions: float, grids: GridCounts, packing: str
) -> TrainingRows:  # fmt: skip
    """One image's row. Shared: the prefix once; each branch of b tokens attends to it and to itself, which is
    b * P + b (b + 1) / 2 keys. Separate: the prefix and its pictures again for every branch. Conversation: one causal
    text."""
    branches = [(1.0, sum(description)), (questions, sum(question))]
    supervised = description.target + questions * question.target
    branch_tokens = sum(n * size for n, size in branches)
    if packing == "separate":
        copies = 1 + questions
        attended = sum(n * causal_keys(prefix + size) for n, size in branches)
        repeated_grids = {g: n * copies for g, n in grids.items()}
        return TrainingRows(1, repeated_grids, copies * prefix + branch_tokens, attended, supervised)
    if packing == "conversation":
        return TrainingRows(1, grids, prefix + branch_tokens, causal_keys(prefix + branch_tokens), supervised)
    attended = causal_keys(prefix) + sum(n * (size * prefix + causal_keys(size)) for n, size in branches)
    return TrainingRows(1, grids, prefix + branch_tokens, attended, supervised)


def _mix_rows(first: TrainingRows, second: TrainingRows, share: float) -> TrainingRows:
    """The mean row when `share` of the rows are like `first` and the rest like `second`."""
    grids = {
        g: share * first.grids.get(g, 0.0) + (1 - share) * second.grids.get(g, 0.0)
        for g in (*first.grids, *second.grids)
    }
    means = [share * a + (1 - share) * b for a, b in zip(first[2:], second[2:], strict=True)]
    return TrainingRows(1, grids, *means)
