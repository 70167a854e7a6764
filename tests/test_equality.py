"""Packed rows equal separate forwards of plain transformers: loss, every gradient, positions; for all families.

The other side of each comparison is transformers alone: each branch by itself with its images, positions and mask of
the model's own making.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from tiny_models import FAMILIES, tiny_model, tiny_processor
from torch.nn import functional as F

from ouro.training.attention import use_attention
from ouro.training.losses import joint_loss
from ouro.training.packing import (
    PackedBranch,
    PackedRow,
    collate,
    conversation_row,
    mrope_positions,
    pack_row,
    separate_rows,
)
from ouro.vision.encoding import Encoder
from ouro.vision.fast import accelerate_vision


class ImageRow(NamedTuple):
    """An image with its regions as a row would hold it: prefix ids, grids, pixels, branches."""

    prefix: list[int]
    grids: list[tuple[int, int, int]]
    pixels: dict[str, torch.Tensor]
    branches: list[PackedBranch]


@cache
def encoder_of(family: str) -> Encoder:
    return Encoder(tiny_processor(family))


@cache
def model_of(family: str) -> Any:
    return tiny_model(family, encoder_of(family).processor)


def make_row(family: str, seed: int, pictures: int, lengths: list[tuple[int, int]]) -> ImageRow:
    """Random pictures of random sizes, and branches of (prompt, target) lengths; the first is the description."""
    encoder, rng = encoder_of(family), np.random.default_rng(seed)
    sides = rng.integers(40, 160, (pictures, 2))
    images = [PILImage.fromarray(rng.integers(0, 255, (*s, 3), dtype=np.uint8)) for s in sides]
    pixels = encoder.pixels(images, [None, *[70 * 70] * (pictures - 1)])
    grids = [(int(t), int(h), int(w)) for t, h, w in pixels["image_grid_thw"].tolist()]

    def words(n: int) -> list[int]:
        return [int(i) for i in rng.integers(20, 200, n)]

    branches = [
        PackedBranch(encoder.prompt("x", pictures) + words(p), words(t), [1.0] * t, min(i, 1))
        for i, (p, t) in enumerate(lengths)
    ]
    return ImageRow(encoder.prefix(grids), grids, pixels, branches)


def alone(model: Any, encoder: Encoder, all_shown: list[ImageRow]) -> torch.Tensor:
    """The joint loss by separate forwards: token means per task over all branches, each forward by transformers."""
    sums, counts = [torch.tensor(0.0), torch.tensor(0.0)], [0, 0]
    for s in all_shown:
        for b in s.branches:
            ids = torch.tensor([[*s.prefix, *b.prompt, *b.target]])
            kinds = (ids == encoder.image_id).int()
            logits = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds, **s.pixels
            ).logits
            n = len(b.target)
            losses = F.cross_entropy(logits[0, -n - 1 : -1].float(), torch.tensor(b.target), reduction="sum")
            sums[b.task], counts[b.task] = sums[b.task] + losses, counts[b.task] + n
    return sum((s / max(1, n) for s, n in zip(sums, counts, strict=True)), torch.tensor(0.0))


def rows_of(s: ImageRow, encoder: Encoder) -> PackedRow:
    return pack_row(s.prefix, s.grids, s.branches, image_token=encoder.image_id, merge=encoder.merge)


def together(model: Any, encoder: Encoder, all_shown: list[ImageRow], budget: int) -> torch.Tensor:
    batch, order = collate([rows_of(s, encoder) for s in all_shown], encoder.pad, budget)
    pixels = {k: torch.cat([all_shown[i].pixels[k] for i in order]) for k in all_shown[0].pixels}
    return joint_loss(model, batch, pixels).total


def assert_equal_gradients(ours: Any, theirs: Any, most: float = 1e-4) -> None:
    """Every parameter's: largest difference at most 1e-4 of the largest gradient."""
    others = dict(theirs.named_parameters())
    learnt = 0
    for name, p in ours.named_parameters():
        q = others[name]
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            scale = float(q.grad.abs().max()) + 1e-7
            assert float((p.grad - q.grad).abs().max()) / scale < most, name
            learnt += 1
    assert learnt > 30


def compare(family: str, all_shown: list[ImageRow], budget: int, form: str, checkpointing: bool = False) -> None:
    encoder = encoder_of(family)
    theirs = copy.deepcopy(model_of(family))
    ours = cast(Any, accelerate_vision(copy.deepcopy(theirs)))
    assert use_attention(ours, form) == form
    if checkpointing:
        ours.activation_checkpointing_enable({"use_reentrant": False})
        ours.train()
    packed, separate = together(ours, encoder, all_shown, budget), alone(theirs, encoder, all_shown)
    assert abs(float(packed.detach()) - float(separate.detach())) < 1e-5 * max(1.0, float(separate.detach()))
    packed.backward()
    separate.backward()
    assert_equal_gradients(ours, theirs)


branches = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 7)), min_size=1, max_size=4)
images = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 5), branches), min_size=1, max_size=3)


@pytest.mark.parametrize("form", ["sdpa", "segments"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(images=images, budget=st.sampled_from([1, 90, 150, 10_000]))
def test_packed_loss_and_gradients_equal_separate_forwards(family: str, form: str, images: Any, budget: int) -> None:
    """Random shapes, 0 to 4 regions, numbers and lengths of branches, images a row."""
    compare(family, [make_row(family, *one) for one in images], budget, form)


FIXED = [(1, 3, [(2, 6), (0, 1), (4, 2)]), (2, 1, [(1, 3), (1, 2)]), (3, 2, [(0, 5)])]


@pytest.mark.parametrize("family", FAMILIES)
def test_flex_attention_gives_the_loss_of_separate_forwards(family: str) -> None:
    """Without gradients: FlexAttention has no backward on a CPU."""
    encoder, all_shown = encoder_of(family), [make_row(family, *one) for one in FIXED]
    ours = copy.deepcopy(model_of(family))
    assert use_attention(ours, "flex") == "flex"
    with torch.no_grad():
        packed, separate = together(ours, encoder, all_shown, 100), alone(model_of(family), encoder, all_shown)
    assert abs(float(packed) - float(separate)) < 1e-5 * float(separate)


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["flex", "segments", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_on_a_gpu_equal_separate_forwards(family: str, form: str) -> None:
    """Compiled FlexAttention and the others; the looser bound is that of a GPU's matrix products in float32."""
    encoder = encoder_of(family)
    all_shown = [make_row(family, *one) for one in FIXED]
    on_gpu = [s._replace(pixels={k: v.cuda() for k, v in s.pixels.items()}) for s in all_shown]
    theirs, ours = copy.deepcopy(model_of(family)), copy.deepcopy(model_of(family)).cuda()
    assert use_attention(ours, form) == form
    batch, order = collate([rows_of(s, encoder) for s in on_gpu], encoder.pad, 100)
    pixels = {k: torch.cat([on_gpu[i].pixels[k] for i in order]) for k in on_gpu[0].pixels}
    packed = joint_loss(ours, type(batch)(*(x.cuda() for x in batch)), pixels).total
    packed.backward()
    separate = alone(theirs, encoder, all_shown)
    separate.backward()
    assert abs(float(packed.detach()) - float(separate.detach())) < 1e-4 * float(separate.detach())
    assert_equal_gradients(ours.cpu(), theirs, 1e-3)


@pytest.mark.parametrize("form", ["sdpa", "segments"])
def test_gradient_checkpointing_changes_nothing(form: str) -> None:
    compare("Qwen2VL", [make_row("Qwen2VL", *one) for one in FIXED], 10_000, form, checkpointing=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_equal_the_models_own(family: str) -> None:
    encoder, s = encoder_of(family), make_row(family, 5, 3, [(4, 3), (2, 2)])
    row = rows_of(s, encoder)
    for number in (1, 2):
        ids = row.ids[(row.branch == 0) | (row.branch == number)][None]
        kinds = (ids == encoder.image_id).int()
        theirs, _ = model_of(family).model.get_rope_index(ids, kinds, image_grid_thw=s.pixels["image_grid_thw"])
        assert torch.equal(theirs[-3:, 0], row.positions[:, (row.branch == 0) | (row.branch == number)])
    assert torch.equal(row.positions[:, row.branch == 0], mrope_positions(s.prefix, s.grids, encoder.image_id, 2))


def test_a_branch_without_a_prompt_is_predicted_from_the_prefix() -> None:
    encoder = encoder_of("Qwen2VL")
    one = make_row("Qwen2VL", 1, 2, [(2, 4), (2, 3)])
    bare = one._replace(branches=[b._replace(prompt=[]) for b in one.branches])
    assert encoder.prompt("x", 2)  # what was taken away
    compare("Qwen2VL", [bare, one], 10_000, "segments")


def test_separate_rows_have_the_losses_of_branches_and_repeat_the_images() -> None:
    encoder, s = encoder_of("Qwen2VL"), make_row("Qwen2VL", 4, 2, [(2, 4), (1, 3), (2, 1)])
    row_options = {"image_token": encoder.image_id, "merge": encoder.merge}
    rows = separate_rows(s.prefix, s.grids, s.branches, **row_options)
    model = copy.deepcopy(model_of("Qwen2VL"))
    use_attention(model, "segments")
    pixels = {k: torch.cat([v] * 3) for k, v in s.pixels.items()}
    with torch.no_grad():
        apart = joint_loss(model, collate(rows, encoder.pad, 60).batch, pixels).total
        assert abs(float(apart) - float(together(model, encoder, [s], 60))) < 1e-5


def test_a_conversation_is_the_chat_templates_and_its_answers_see_the_description() -> None:
    """Ids equal those of the rendered conversation; changing the description changes what answers are predicted."""
    encoder = encoder_of("Qwen2VL")
    s = make_row("Qwen2VL", 7, 2, [])
    turns = [("describe the image.", "a red star."), ("what color is it?", "red."), ("where?", "top left.")]

    def packed(first: str) -> PackedRow:
        pairs = [(q, first if i == 0 else a) for i, (q, a) in enumerate(turns)]
        branches = [
            PackedBranch(encoder.prompt(q, 2), encoder.reply(a), [1.0] * len(encoder.reply(a)), min(i, 1))
            for i, (q, a) in enumerate(pairs)
        ]
        row_options = {"image_token": encoder.image_id, "merge": encoder.merge}
        return conversation_row(s.prefix, s.grids, branches, encoder.between(), **row_options)

    row = packed("a red star.")
    messages: list[dict[str, Any]] = []
    for n, (q, a) in enumerate(turns):
        shown_here = [{"type": "image"}] * 2 if n == 0 else []
        messages.append({"role": "user", "content": [*shown_here, {"type": "text", "text": q}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": a}]})
    rendered = encoder.processor.apply_chat_template(messages, tokenize=False)
    counts = [g[0] * g[1] * g[2] // 4 for g in s.grids]
    for n in counts:
        rendered = rendered.replace(encoder.image_token, "<PICTURE>" * n, 1)
    whole = encoder.tokenizer(rendered.replace("<PICTURE>", encoder.image_token), add_special_tokens=False).input_ids
    assert row.ids.tolist() == whole
    assert [int(t) for t in row.ids[row.weights > 0]] == [t for _, a in turns for t in encoder.reply(a)]
    model = copy.deepcopy(model_of("Qwen2VL"))
    losses: list[float] = []
    for first in ("a red star.", "a blue box."):
        with torch.no_grad():
            losses.append(float(joint_loss(model, collate([packed(first)], encoder.pad, 500).batch, s.pixels).qa))
    assert losses[0] != losses[1]
