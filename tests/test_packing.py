"""Shared-prefix rows equal separate forwards; positions equal the model's own; the fast vision tower is exact."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.nano.model import build_model, build_processor
from ouro.training.attention import use_attention
from ouro.training.losses import joint_loss
from ouro.training.packing import PackedBranch, collate, mrope_positions, pack_bins, pack_row, separate_rows, tree_mask
from ouro.vision import fast
from ouro.vision.encoding import Encoder
from ouro.vision.fast import accelerate_vision


@pytest.fixture(scope="module")
def parts():  # type: ignore[no-untyped-def]
    processor = build_processor()
    return build_model(processor.tokenizer, 0).eval(), Encoder(processor)


def _pictures(seed: int) -> list[PILImage.Image]:
    rng = np.random.default_rng(seed)
    shapes = [(64, 64), (48, 96), (80, 48)]
    return [PILImage.fromarray(rng.integers(0, 255, (*s, 3), dtype=np.uint8)) for s in shapes]


def test_positions_equal_the_models_own(parts) -> None:  # type: ignore[no-untyped-def]
    model, encoder = parts
    pixels = encoder.pixels(_pictures(0), [None, 9216, None])
    grids = [tuple(g) for g in pixels["image_grid_thw"].tolist()]
    ids = encoder.prefix(grids) + encoder.prompt("describe the image.", len(grids))
    t = torch.tensor([ids])
    theirs, _ = model.model.get_rope_index(t, (t == encoder.image_id).int(), image_grid_thw=pixels["image_grid_thw"])
    assert torch.equal(theirs[:, 0], mrope_positions(ids, grids, encoder.image_id, encoder.merge))


def test_a_prefix_that_disagrees_with_its_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="no image grid is left"):
        mrope_positions([7], [], 7, 2)
    with pytest.raises(ValueError, match="expected a run of 4"):
        mrope_positions([7, 7], [(1, 4, 4)], 7, 2)
    with pytest.raises(ValueError, match="no image tokens"):
        mrope_positions([1], [(1, 4, 4)], 7, 2)


def test_the_mask_lets_a_branch_see_the_prefix_and_itself_only() -> None:
    mask = tree_mask(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0]
    expected = ["100000", "110000", "111000", "111100", "110010", "000001"]
    assert [["01"[int(v)] for v in row] for row in mask] == [list(row) for row in expected]


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(1, 60))
def test_bins_hold_every_image_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    groups = pack_bins(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or sum(lengths[i] for i in group) <= budget for group in groups)
    assert (
        len(groups) <= 1
        or all(  # first-fit: no two groups could be one
            sum(lengths[i] for i in a + b) > budget for n, a in enumerate(groups) for b in groups[:n]
        )
    )


def test_images_share_a_row_and_what_is_left_over_is_padding() -> None:
    """Lengths 3, 5, 2 in rows of 8: 5 + 3 fill the first, 2 stands in the second beside 6 of padding."""
    rows = [pack_row([9] * (n - 1), [], [PackedBranch([], [n], [1.0], 1)], image_token=-1, merge=2) for n in (3, 5, 2)]
    batch, order = collate(rows, 0, 8)
    assert order == [0, 1, 2]
    assert batch.ids.tolist() == [[9, 9, 3, 9, 9, 9, 9, 5], [9, 2, 0, 0, 0, 0, 0, 0]]
    assert batch.branch.tolist() == [[0, 0, 1, 0, 0, 0, 0, 1], [0, 1, -1, -1, -1, -1, -1, -1]]
    assert batch.positions[0].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert batch.source.tolist() == [[0, 0, 1, 3, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 0, 0]]
    assert batch.image.tolist() == [[0, 0, 0, 1, 1, 1, 1, 1], [2, 2, -1, -1, -1, -1, -1, -1]]
    # keys: 1 + 2 + 3, then 1 to 5, then 1 + 2
    assert batch.counts.tolist() == [10, 10, 6 + 15 + 3]


def test_what_sharing_saves_is_counted_by_what_separate_rows_need() -> None:
    branches = [PackedBranch([1, 2], [3], [1.0], 1), PackedBranch([1], [3, 3], [1.0, 1.0], 0)]
    row_options = {"image_token": -1, "merge": 2}
    shared, apart = pack_row([9] * 4, [], branches, **row_options), separate_rows([9] * 4, [], branches, **row_options)
    assert (shared.ids.numel(), shared.unshared) == (10, 14)
    assert sum(row.ids.numel() for row in apart) == 14


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 4))
def test_rows_hold_every_token_once(lengths: list[int], prefix: int) -> None:
    branches = [PackedBranch([1] * n, [2] * n, [1.0] * n, 1) for n in lengths]
    row = pack_row([3] * prefix, [], branches, image_token=9, merge=2)
    assert row.ids.numel() == prefix + 2 * sum(lengths) == row.positions.shape[1]
    assert int(row.weights.sum()) == sum(lengths)
    assert all(int(row.positions[0][row.branch == b].min()) == prefix for b in range(1, len(lengths) + 1))


def test_the_fast_vision_tower_equals_the_original(parts) -> None:  # type: ignore[no-untyped-def]
    model, encoder = parts
    quick = cast(Any, accelerate_vision(copy.deepcopy(model)))
    pixels = encoder.pixels(_pictures(2), [None, None, None])
    with torch.inference_mode():
        ours = quick.model.visual(pixels["pixel_values"], grid_thw=pixels["image_grid_thw"]).pooler_output
        theirs = model.model.visual(pixels["pixel_values"], grid_thw=pixels["image_grid_thw"]).pooler_output
    assert torch.allclose(torch.cat(tuple(ours)), torch.cat(tuple(theirs)), atol=1e-5)


def test_the_explicit_attention_equals_the_fused_one(parts, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Loss and every gradient of packed rows, in float32: vision and text, mask, shared key heads."""
    monkeypatch.setattr(fast, "EXPLICIT_DTYPES", (torch.float32,))
    taken: list[int] = []
    apply = fast.Explicit.apply
    monkeypatch.setattr(fast.Explicit, "apply", lambda *args: taken.append(1) or apply(*args))
    encoder = parts[1]
    fused, explicit = copy.deepcopy(parts[0]), accelerate_vision(copy.deepcopy(parts[0]))
    assert use_attention(explicit, "auto") == "segments"
    pixels = encoder.pixels(_pictures(3)[:2], [None, None])
    grids = [tuple(g) for g in pixels["image_grid_thw"].tolist()]
    branches = [
        PackedBranch(encoder.prompt(q, 1), encoder.reply(a), [1.0] * 3, t) for q, a, t in [("what?", "a star", 0)] * 2
    ]
    kwargs = {"image_token": encoder.image_id, "merge": encoder.merge}
    rows = [pack_row(encoder.prefix([g]), [g], branches[: 1 + i], **kwargs) for i, g in enumerate(grids)]
    losses = []
    for model in (fused, explicit):
        loss = joint_loss(model, collate(rows, encoder.pad, 1000).batch, pixels)
        loss.total.backward()
        losses.append(float(loss.total))
    assert abs(losses[0] - losses[1]) < 1e-5
    assert len(taken) == 3 * 2 + 5 * 2, "every layer of the explicit model: vision once a grid size, text once an image"
    others = dict(explicit.named_parameters())
    for name, p in fused.named_parameters():
        if p.grad is not None:
            scale = float(p.grad.abs().max()) + 1e-8
            assert float((p.grad - others[name].grad).abs().max()) / scale < 1e-4, name


def test_the_explicit_attention_in_bfloat16_is_as_close_to_exact_as_the_fused_one() -> None:
    """The only form that training takes it in. 60 tokens, scores spread as a trained model's are."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, grad = (torch.randn(2, 4, 60, 48, generator=generator) for _ in range(4))
    bias = torch.zeros(2, 1, 60, 60).masked_fill_(~torch.ones(60, 60, dtype=torch.bool).tril(), float("-inf"))

    def run(dtype: torch.dtype, explicit: bool) -> list[torch.Tensor]:
        ins = [(3 * x if n == 0 else x).to(dtype).detach().requires_grad_() for n, x in enumerate((q, k, v))]
        if explicit:
            out = fast.Explicit.apply(*ins, bias.to(dtype), 48**-0.5)
        else:
            out = torch.nn.functional.scaled_dot_product_attention(*ins, attn_mask=bias.to(dtype))
        out.backward(grad.to(dtype))
        return [out.detach().float(), *(x.grad.float() for x in ins if x.grad is not None)]

    exact, ours, theirs = run(torch.float32, False), run(torch.bfloat16, True), run(torch.bfloat16, False)
    for name, e, o, t in zip(("out", "q", "k", "v"), exact, ours, theirs, strict=True):
        error, usual = (float((x - e).norm() / e.norm()) for x in (o, t))
        assert error < max(0.02, 2 * usual), name


def test_the_tokenizer_loses_no_word(parts, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, encoder = parts
    text = "what does the sign on the table say? xylograph 42."
    assert encoder.tokenizer.decode(list(encoder.text(text))) == text
