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
from tiny_models import FAMILIES, tiny_model, tiny_processor

from ouro.core.params import Train
from ouro.nano import model as nano
from ouro.nano.scenes import draw_scene, render
from ouro.training.lora import target_modules
from ouro.vision.encoding import Encoder, UnsupportedProcessor, views
from ouro.vision.folders import ModelError
from ouro.vision.hf import HFVisionLM, load_model
from ouro.vision.protocols import Request

BASE = Path(__file__).parent.parent / "models" / "nano"


def _save(family: str, folder: Path) -> None:
    processor = tiny_processor(family)
    tiny_model(family, processor).save_pretrained(folder)
    processor.save_pretrained(folder)


def _one_by_one(folder: Path, requests: list[Request]) -> list[str]:
    """What transformers' own processor and generate say to each request; all images of one have the same bound."""
    model, processor = load_model(folder)
    low = processor.image_processor.size["shortest_edge"]
    texts: list[str] = []
    for r in requests:
        parts = [{"type": "image"}] * len(r.images) + [{"type": "text", "text": r.prompt}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        image_options: dict[str, Any] = {"images": list(r.images)} if r.images else {}
        if r.max_pixels:
            image_options["size"] = {"shortest_edge": low, "longest_edge": r.max_pixels[0]}
        inputs = processor(text=[text], return_tensors="pt", **image_options)
        out = model.generate(**inputs, max_new_tokens=8, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        texts.append(processor.tokenizer.decode(out[0], skip_special_tokens=True).strip())
    return texts


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
    replies = vlm.generate(requests, max_new_tokens=8)
    assert replies == _one_by_one(folder, requests)
    assert len(set(replies)) > 5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["vision", "language"])
def test_an_adapter_of_one_tower_alone_is_worn_and_an_untrained_one_is_refused(
    family: str, part: str, tmp_path: Path
) -> None:
    """The probe once was text alone, on which an adapter of the vision tower has no bearing."""
    from peft import LoraConfig, get_peft_model

    base = tmp_path / "base"
    _save(family, base)
    frozen = {name: "frozen" for name in ("language", "merger", "vision")}
    model = load_model(base)[0]
    modules = target_modules(model, Train(**{**frozen, part: "lora"}))  # type: ignore[arg-type]
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=modules))
    wrapped.save_pretrained(str(tmp_path / "untrained"))
    with pytest.raises(ModelError, match="does not change"):
        HFVisionLM(base, adapter=tmp_path / "untrained")
    for name, weights in wrapped.named_parameters():
        if "lora_B" in name:
            weights.data.fill_(0.5)
    wrapped.save_pretrained(str(tmp_path / "trained"))
    HFVisionLM(base, adapter=tmp_path / "trained")  # does not raise: the logits differ


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
    return Encoder(tiny_processor(family))


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
