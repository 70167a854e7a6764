"""The nano VLM's architecture and processor: a Qwen2-VL of about 3 M parameters in the standard layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ouro.core.json_text import parse_json

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<unk>",
)  # fmt: skip
PATCH, MERGE = 8, 2
MIN_PIXELS, MAX_PIXELS = 48 * 48, 128 * 128
REGION_MAX_PIXELS = 96 * 96  # crops are shown at no more than this

# Qwen2-VL's turn format without its default system message, which nano was never shown.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)

# How a server (`transformers serve`) finds the reply in what the model wrote; Qwen2-VL's own has a line break here.
RESPONSE_TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "fields": {"content": {"close": "<|im_end|>", "content": "text"}},
    "start_anchor": "<|im_start|> assistant",
}


def is_nano(folder: Path) -> bool:
    """Whether a model folder holds a nano VLM: its configuration says so."""
    try:
        return parse_json((folder / "config.json").read_text()).get("ouro_world") == "nano"
    except (OSError, ValueError):
        return False


def build_tokenizer() -> Any:
    """Word-level for the nano language; any other word is spelt in pieces, so nothing is lost to <unk>."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from ouro.nano.language import vocabulary

    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    alnum = [c for c in letters if c.isalnum()]
    tokens = [*SPECIAL, *letters, *(f"##{c}" for c in alnum), *vocabulary()]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|im_end|>", pad_token="<|endoftext|>",
        padding_side="left",
        response_template=RESPONSE_TEMPLATE,
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )  # fmt: skip


def build_processor() -> Any:
    """A Qwen2VLProcessor for 8 px patches; scenes of 256 px are seen at 128 px (64 visual tokens)."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    kwargs: dict[str, Any] = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 1, "size": size}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**kwargs), tokenizer=build_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(**kwargs), chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def build_model(tokenizer: Any, seed: int) -> Any:
    """A fresh Qwen2VLForConditionalGeneration: vision 3 x 128, text 5 x 192, tied embeddings.

    M-RoPE gives the last third of the frequencies to the column. At the usual base of 10,000 the fastest of them
    turns by 0.02 rad over eight columns, a base of 20 turns it by 1. (What that alone gains was not measured apart.)
    """
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in SPECIAL}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 3, "embed_dim": 128, "hidden_size": 192, "num_heads": 4, "mlp_ratio": 3, "patch_size": PATCH,
            "spatial_merge_size": MERGE, "temporal_patch_size": 1, "in_channels": 3,
        },
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 5,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 20.0, "mrope_section": [8, 8, 8]},
            "bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True, "use_sliding_window": False,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )  # fmt: skip
    config.update({"ouro_world": "nano"})
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write the ordinary Hugging Face folder, weights in bfloat16 safetensors."""
    import copy

    import torch

    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
