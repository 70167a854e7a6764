"""Families of models: batches say what transformers' own processor and generate say to each request alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.nano import model as nano
from ouro.nano.scenes import draw_scene, render
from ouro.vision.encoding import Encoder, UnsupportedProcessor, views
from ouro.vision.hf import HFVisionLM, load_model
from ouro.vision.protocols import Request

BASE = Path(__file__).parent.parent / "models" / "nano"


def _processor(family: str) -> Any:
    """The family's own processor classes and patch size, for pictures of up to 16 visual tokens."""
    import transformers as hf

    side = 28 if family == "Qwen2_5_VL" else 32
    kinds = {"size": {"shortest_edge": (2 * side) ** 2, "longest_edge": (4 * side) ** 2}, "patch_size": side // 2}
    image = hf.Qwen2VLImageProcessor(**kinds, merge_size=2, temporal_patch_size=2)
    video = hf.Qwen3VLVideoProcessor() if family == "Qwen3VL" else hf.Qwen2VLVideoProcessor()
    made = getattr(hf, f"{family}Processor")
    return made(image, nano.build_tokenizer(), video, chat_template=nano.CHAT_TEMPLATE)


def _save(family: str, folder: Path) -> None:
    """A tiny model of the family with random weights, large enough that its replies differ."""
    import torch
    import transformers as hf

    processor = _processor(family)
    ids = {t: processor.tokenizer.convert_tokens_to_ids(t) for t in nano.SPECIAL}
    size = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "depth": 2, "initializer_range": 0.2}
    grid = {"patch_size": processor.image_processor.patch_size, "spatial_merge_size": 2, "temporal_patch_size": 2}
    own = {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    if family == "Qwen2_5_VL":
        own = {"window_size": 56, "fullatt_block_indexes": [1]}
    config = getattr(hf, f"{family}Config")(
        vision_config={**size, **grid, **own, "out_hidden_size": 64},
        text_config={
            "vocab_size": len(processor.tokenizer), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            "bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(hf, f"{family}ForConditionalGeneration")(config)
    model.generation_config.update(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _one_by_one(folder: Path, requests: list[Request]) -> list[str]:
    """What transformers' own processor and generate say to each request; all images of one have the same bound."""
    model, processor = load_model(folder)
    low = processor.image_processor.size["shortest_edge"]
    said: list[str] = []
    for r in requests:
        parts = [{"type": "image"}] * len(r.images) + [{"type": "text", "text": r.prompt}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        shown: dict[str, Any] = {"images": list(r.images)} if r.images else {}
        if r.max_pixels:
            shown["size"] = {"shortest_edge": low, "longest_edge": r.max_pixels[0]}
        inputs = processor(text=[text], return_tensors="pt", **shown)
        out = model.generate(**inputs, max_new_tokens=8, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        said.append(processor.tokenizer.decode(out[0], skip_special_tokens=True).strip())
    return said


@pytest.mark.parametrize("family", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
def test_batches_say_what_transformers_own_processor_and_generate_say_one_by_one(family: str, tmp_path: Path) -> None:
    folder = BASE
    if family != "Qwen2VL":
        folder = tmp_path
        _save(family, folder)
    pictures = [PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))) for i in range(4)]
    crops = [p.crop((0, 0, 60 + 60 * i, 100)) for i, p in enumerate(pictures)]
    requests = [Request((c,), q, b) for c in crops for q, b in (("describe the image.", ()), ("is it red?", (6000,)))]
    requests += [Request((), "what is a star?"), Request((crops[3], crops[0]), "how many stars are there?")]
    vlm = HFVisionLM(folder, batch_size=4, batch_tokens=40)
    assert type(vlm.model).__name__.startswith(family) and vlm.shares is not None
    said = vlm.generate(requests, max_new_tokens=8)
    assert said == _one_by_one(folder, requests)
    assert len(set(said)) > 5


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the workers; threads that wait for each other are slow on a machine that does other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _encoder(family: str) -> Encoder:
    return Encoder(_processor(family))


def test_processors_without_a_grid_of_patches_are_refused_with_what_to_do() -> None:
    import transformers as hf

    llava = hf.LlavaProcessor(
        hf.CLIPImageProcessor(), nano.build_tokenizer(), patch_size=14, image_token="<|image_pad|>"
    )
    with pytest.raises(UnsupportedProcessor, match=r"LlavaProcessor.*serve other models with an OpenAI-compatible"):
        Encoder(llava)


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"]),
    width=st.integers(8, 300),
    height=st.integers(8, 300),
    bound=st.none() | st.integers(200, 20_000),
)
def test_visual_tokens_are_known_without_running_the_processor(
    family: str, width: int, height: int, bound: int | None
) -> None:
    encoder = _encoder(family)
    request = Request((PILImage.new("RGB", (width, height)),), "q", (bound,))
    [grid] = encoder.pixels(list(request.images), [bound])["image_grid_thw"].tolist()
    assert list(map(encoder.visual_tokens, views(request))) == [grid[1] * grid[2] // 4]
