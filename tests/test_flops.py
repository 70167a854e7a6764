"""FLOPs counted from a config equal those that PyTorch counts while the model runs.

The models attend with plain matrix products (eager), since FlopCounterMode sees those on a CPU: such a kernel looks at
all T^2 keys, so `attended` is that here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ouro.core.params import Train
from ouro.nano import model as nano
from ouro.vision.architecture import ARCHITECTURES, ArchitectureError, read_architecture, read_model_config
from ouro.vision.flops import (
    causal_keys,
    count_language_weights,
    count_weights,
    decode_flops,
    full_keys,
    kv_bytes,
    prefill_flops,
    step_flops,
    vision_flops,
    visual_tokens,
)

FAMILIES = ("nano", "Qwen2_5_VL", "Qwen3VL")
GRIDS = [(1, 6, 10), (1, 4, 4)]  # in 2.5-VL's windows of 2 x 2 tokens: 3 x 5 tokens leave narrow ones
PARTS = {
    "vision": r".*visual\.blocks\..*",
    "merger": r".*visual\.(merger|deepstack_merger_list).*",
    "language": r".*language_model.*",
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _model(family: str) -> Any:
    """A model with random weights, attending with plain matrix products."""
    import transformers as hf

    if family == "nano":
        model = nano.build_model(nano.build_tokenizer(), 0)
    else:
        vision = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "depth": 3, "out_hidden_size": 64}
        vision_options = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
        if family == "Qwen2_5_VL":
            vision_options = {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
        text: dict[str, Any] = {
            "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        }  # fmt: skip
        text |= {"head_dim": 24} if family == "Qwen3VL" else {}  # 4 heads of 24: not the width
        text["rope_parameters"] |= {"mrope_section": [4, 4, 4]} if family == "Qwen3VL" else {}
        ids = {"image_token_id": 6, "video_token_id": 7, "vision_start_token_id": 3, "vision_end_token_id": 4}
        config = getattr(hf, f"{family}Config")(vision_config={**vision, **vision_options}, text_config=text, **ids)
        model = getattr(hf, f"{family}ForConditionalGeneration")(config)
    model.set_attn_implementation("eager")
    return model.eval()


def _arch(family: str) -> Any:
    return read_architecture(_model(family).config.to_dict())


def _inputs(family: str, grids: list[tuple[int, int, int]], words: int) -> dict[str, Any]:
    """One row: the pictures, then so many words."""
    vision = _arch(family).vision
    ids = [i for g in grids for i in (3, *[6] * visual_tokens(vision, g), 4)] + [20] * words
    row = torch.tensor([ids])
    patches = torch.randn(sum(t * h * w for t, h, w in grids), vision.values)
    return {
        "input_ids": row, "attention_mask": torch.ones_like(row), "mm_token_type_ids": (row == 6).int(),
        "pixel_values": patches, "image_grid_thw": torch.tensor(grids),
    }  # fmt: skip


def _counted(run: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forward_costs_what_pytorch_counts(family: str) -> None:
    model, arch = _model(family), _arch(family)
    inputs = _inputs(family, GRIDS, 9)
    tokens = inputs["input_ids"].shape[1]
    with torch.no_grad():
        got = _counted(lambda: model(**inputs, logits_to_keep=3))
    ours = sum(vision_flops(arch, g) for g in GRIDS) + prefill_flops(arch, tokens, full_keys(tokens), logits=3)
    assert ours == got


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_costs_what_pytorch_counts_token_by_token(family: str) -> None:
    model, arch = _model(family), _arch(family)
    row = torch.full((1, 12), 20)
    settings = {"do_sample": False, "min_new_tokens": 6, "max_new_tokens": 6, "pad_token_id": 0}
    got = _counted(lambda: model.generate(input_ids=row, attention_mask=torch.ones_like(row), **settings))
    assert prefill_flops(arch, 12, full_keys(12)) + decode_flops(arch, 12, 6) == got


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "lora", [("language",), ("merger",), ("vision",), ("language", "merger"), ("language", "merger", "vision")]
)
def test_a_training_step_costs_what_pytorch_counts(family: str, lora: tuple[str, ...]) -> None:
    trained: dict[str, Any] = {part: "lora" if part in lora else "frozen" for part in PARTS}
    params = Train(rank=4, **trained)
    assert _step(family, params) == _measured_step(family, lora, 4, checkpointing=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_adds_a_forward_of_the_layers(family: str) -> None:
    params = Train(rank=4, gradient_checkpointing=True)
    plain = _measured_step(family, tuple(PARTS), 4, checkpointing=False)
    got = _measured_step(family, tuple(PARTS), 4, checkpointing=True)
    assert got > 1.1 * plain
    assert _step(family, params) == pytest.approx(got, rel=0.03)
    assert _step(family, params, recompute=False) == plain


def _step(family: str, params: Train, *, recompute: bool = True) -> float:
    tokens = _inputs(family, GRIDS, 9)["input_ids"].shape[1]
    return step_flops(_arch(family), GRIDS, tokens, full_keys(tokens), 3, params, recompute=recompute)


def _measured_step(family: str, lora: tuple[str, ...], rank: int, *, checkpointing: bool) -> int:
    from peft import LoraConfig, get_peft_model

    model: Any = copy.deepcopy(_model(family)).train()
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    names = [n for n in linear if any(re.fullmatch(PARTS[part], n) for part in lora)]
    model = get_peft_model(model, LoraConfig(r=rank, target_modules=names))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    inputs = _inputs(family, GRIDS, 9)
    return _counted(lambda: model(**inputs, logits_to_keep=3, use_cache=False).logits.sum().backward())


def test_steps_add_up_over_their_rows_and_pictures() -> None:
    arch, params = read_architecture(ARCHITECTURES["Qwen2-VL-7B-Instruct"]), Train()
    one, two = (1, 20, 30), (1, 8, 8)
    whole = step_flops(arch, [one, two], 300, causal_keys(200) + causal_keys(100), 40, params)
    parts = step_flops(arch, [one], 200, causal_keys(200), 30, params) + step_flops(
        arch, [two], 100, causal_keys(100), 10, params
    )
    assert whole == pytest.approx(parts)


def test_lora_on_the_language_model_alone_costs_two_forwards_and_a_bit() -> None:
    arch = read_architecture(ARCHITECTURES["Qwen2-VL-7B-Instruct"])
    params = Train(vision="frozen", merger="frozen", rank=8)
    forward = prefill_flops(arch, 1000, logits=100)
    assert 1.99 < step_flops(arch, [], 1000, causal_keys(1000), 100, params) / forward < 2.05
    picture = (1, 40, 40)
    beside = step_flops(arch, [picture], 1000, causal_keys(1000), 100, params)
    assert beside - step_flops(arch, [], 1000, causal_keys(1000), 100, params) == vision_flops(arch, picture)


def test_the_7b_models_have_the_weights_that_their_cards_say() -> None:
    """Hugging Face's safetensors counts 8.29 B parameters for both; norms and biases are below a thousandth."""
    for name in ("Qwen2-VL-7B-Instruct", "Qwen2.5-VL-7B-Instruct"):
        assert count_weights(read_architecture(ARCHITECTURES[name])) == pytest.approx(8.29e9, rel=1e-3)


def test_a_layer_by_hand() -> None:
    """Qwen2-VL-7B: a layer's matrices are 2 * 3584^2 (query, out) + 2 * 3584 * 512 (key, value) + 3 * 3584 * 18944."""
    arch = read_architecture(ARCHITECTURES["Qwen2-VL-7B-Instruct"])
    layer = 2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944
    assert count_language_weights(arch.text) == 28 * layer + 3584 * 152064
    assert prefill_flops(arch, 2, attended=3, logits=0) == 2 * 2 * 28 * layer + 4 * 3 * 28 * 3584
    assert kv_bytes(arch.text, 1) == 2 * 28 * 512 * 2


def test_windows_of_qwen2_5_see_their_own_patches_only() -> None:
    """3 x 5 merged tokens in windows of 2 x 2: rows 2, 1 and columns 2, 2, 1 give 5 * 9 times the 4^2 of a token."""
    arch = read_architecture(ARCHITECTURES["Qwen2.5-VL-7B-Instruct"])
    small = arch._replace(vision=arch.vision._replace(window=2, depth=1, full=0))
    bare = small._replace(vision=small.vision._replace(window=0))
    assert vision_flops(small, (1, 6, 10)) - vision_flops(bare, (1, 6, 10)) == 4 * 5 * 9 * 16 * 1280


@given(grid=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
def test_windows_never_cost_more_than_the_whole_frame(grid: tuple[int, int, int]) -> None:
    arch = read_architecture(ARCHITECTURES["Qwen2.5-VL-7B-Instruct"])
    t, h, w = grid[0], 2 * grid[1], 2 * grid[2]
    whole = arch._replace(vision=arch.vision._replace(full=arch.vision.depth))
    assert vision_flops(arch, (t, h, w)) <= vision_flops(whole, (t, h, w))


def test_a_hub_config_with_the_language_models_keys_at_the_top_reads_as_a_nested_one() -> None:
    flat = ARCHITECTURES["Qwen2-VL-7B-Instruct"]
    nested = {"model_type": "qwen2_vl", "vision_config": flat["vision_config"], "text_config": flat}
    assert read_architecture(flat) == read_architecture(nested)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "llava"}, "model_type 'llava'; expected one of qwen2_vl"),
        ({"model_type": "qwen2_vl"}, r"not as expected \(KeyError\('vision_config'\)"),
    ],
)
def test_other_models_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        read_architecture(config)


def test_a_model_that_is_not_there_is_known_by_name_or_refused() -> None:
    config, where = read_model_config("models/qwen2-vl-7b-instruct")
    assert config["num_attention_heads"] == 28 and "is not there" in where
    with pytest.raises(ArchitectureError, match=r"no config.json in it, and no model known by that name"):
        read_model_config("models/none")
