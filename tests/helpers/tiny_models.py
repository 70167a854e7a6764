"""Tiny models of the families that Ouro trains and asks, with random weights: built in memory, in milliseconds."""

from __future__ import annotations

from typing import Any

from ouro.nano import model as nano

FAMILIES = ("Qwen2VL", "Qwen2_5_VL", "Qwen3VL")


def tiny_processor(family: str) -> Any:
    """The family's own processor classes and patch size, for pictures of up to 16 visual tokens."""
    import transformers as hf

    side = 32 if family == "Qwen3VL" else 28
    bounds = {"shortest_edge": (2 * side) ** 2, "longest_edge": (4 * side) ** 2}
    image = hf.Qwen2VLImageProcessor(size=bounds, patch_size=side // 2, merge_size=2, temporal_patch_size=2)
    video = hf.Qwen3VLVideoProcessor() if family == "Qwen3VL" else hf.Qwen2VLVideoProcessor()
    processor = getattr(hf, f"{family}Processor")
    return processor(image, nano.build_tokenizer(), video, chat_template=nano.CHAT_TEMPLATE)


def tiny_model(family: str, processor: Any, seed: int = 0) -> Any:
    """Random weights, large enough that its replies differ."""
    import torch
    import transformers as hf

    ids = {t: processor.tokenizer.convert_tokens_to_ids(t) for t in nano.SPECIAL}
    size = {"depth": 2, "initializer_range": 0.2}
    grid = {"patch_size": processor.image_processor.patch_size, "spatial_merge_size": 2, "temporal_patch_size": 2}
    vision: dict[str, Any] = {
        "Qwen2VL": {"embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        "Qwen2_5_VL": {"window_size": 56, "fullatt_block_indexes": [1]},
        "Qwen3VL": {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
    }[family]
    if family != "Qwen2VL":
        vision |= {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64}
    config = getattr(hf, f"{family}Config")(
        vision_config={**size, **grid, **vision},
        text_config={
            "vocab_size": len(processor.tokenizer), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            "bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    torch.manual_seed(seed)
    model = getattr(hf, f"{family}ForConditionalGeneration")(config)
    model.generation_config.update(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    return model.eval()
