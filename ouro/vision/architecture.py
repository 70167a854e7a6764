"""The dimensions of a vision-language model, read from its Hugging Face config.json without torch, to count FLOPs.

Dense Qwen2-VL (nano is one), Qwen2.5-VL and Qwen3-VL. A config.json leaves out values that equal its class's defaults,
and older ones have the language model's keys at the top level: both are handled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json


class ArchitectureError(OuroError, ValueError):
    """A model whose FLOPs cannot be counted: no config.json, or one of another model family."""


class VisionTower(NamedTuple):
    """The vision tower. `values`: numbers in one patch; `width`: hidden size; `inner`: hidden size of the MLP, which is
    gated (three matrices) or not (two); `mergers`: number of mergers from merge x merge patches to a token of size
    `out` (DeepStack has more than one). In Qwen2.5-VL only `full` of the `depth` layers attend to the whole frame, the
    others within windows of `window` x `window` merged tokens (0: no windows)."""

    depth: int
    width: int
    inner: int
    gated: bool
    values: int
    patch: int
    merge: int
    mergers: int
    out: int
    full: int
    window: int


class LanguageModel(NamedTuple):
    """The language model: grouped-query attention, a gated MLP, `vocab` logits."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    tied: bool


class Architecture(NamedTuple):
    """`family`: the config's model_type."""

    family: str
    vision: VisionTower
    text: LanguageModel


Grid = tuple[int, int, int]  # frames, rows and columns of patches, as image_grid_thw
MIN_TOKENS, MAX_TOKENS = 4, 16_384  # visual tokens of a picture: Qwen2-VL's own bounds


class PixelBounds(NamedTuple):
    """The fewest (`least`) and most (`most`) pixels that a model's processor resizes pictures to."""

    vision: VisionTower
    least: int
    most: int

    def grid(self, width: float, height: float, max_pixels: int, min_pixels: int = 0) -> Grid:
        """The patch grid of a picture of this size (pixels) with at most `max_pixels` and at least `min_pixels` (0: the
        processor's own bound): Qwen2-VL's smart_resize, with the bounds of ouro.vision.encoding."""
        unit = self.vision.patch * self.vision.merge
        max_pixels = min(max_pixels, self.most)
        min_pixels = min(min_pixels or self.least, max_pixels)
        h, w = round(height / unit) * unit, round(width / unit) * unit
        if h * w > max_pixels:
            scale = math.sqrt(height * width / max_pixels)
            h, w = (max(unit, math.floor(side / scale / unit) * unit) for side in (height, width))
        elif h * w < min_pixels:
            scale = math.sqrt(min_pixels / (height * width))
            h, w = (math.ceil(side * scale / unit) * unit for side in (height, width))
        return 1, h // self.vision.patch, w // self.vision.patch


FAMILIES: Final = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

_TEXT_7B: Final = {
    "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064,
}  # fmt: skip

# The values in the hub's config.json of these models that FLOPs depend on; used when model.base is not a local folder.
ARCHITECTURES: Final[dict[str, dict[str, Any]]] = {
    "Qwen2-VL-7B-Instruct": {
        "model_type": "qwen2_vl", **_TEXT_7B,
        "vision_config": {
            "depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14,
            "temporal_patch_size": 2, "spatial_merge_size": 2,
        },
    },
    "Qwen2.5-VL-7B-Instruct": {
        "model_type": "qwen2_5_vl", **_TEXT_7B,
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
            "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
}  # fmt: skip


def read_model_config(base: str) -> tuple[dict[str, Any], str]:
    """The config of model.base, and a text that names its source. Raises ArchitectureError when there is none."""
    path = Path(base) / "config.json"
    if path.is_file():
        try:
            return parse_json(path.read_text("utf-8")), str(path)
        except ValueError as error:
            raise ArchitectureError(f"{path}: not valid JSON ({error}); fetch the model again") from error
    name = next((n for n in ARCHITECTURES if n.lower() == Path(base).name.lower()), None)
    if name is None:
        raise ArchitectureError(
            f"model.base {base}: no config.json in it, and no model known by that name; expected a Hugging Face folder"
            f" or one named as {', '.join(ARCHITECTURES)}. Fix: --set model.base=models/{next(iter(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name], f"the numbers of {name} that ship with ouro ({path} is not there)"


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """The architecture in a config.json. Raises ArchitectureError for another model family or a malformed key."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ArchitectureError(
            f"config.json: model_type {family!r}; expected one of {', '.join(FAMILIES)}, whose FLOPs ouro can count. "
            "Fix: name such a model in model.base, or estimate with one of its size"
        )
    try:
        return Architecture(family, _read_vision(family, config["vision_config"]), _read_text(config))
    except (KeyError, TypeError, ValueError) as error:
        raise ArchitectureError(
            f"config.json of {family}: not as expected ({error!r}); fetch the model again"
        ) from error


def read_pixel_bounds(base: str, vision: VisionTower) -> PixelBounds:
    """The pixel bounds of model.base's processor, or Qwen2-VL's if it has none."""
    unit = (vision.patch * vision.merge) ** 2
    bounds = [MIN_TOKENS * unit, MAX_TOKENS * unit]
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = Path(base) / name
        if path.is_file():
            config = parse_json(path.read_text("utf-8"))
            config = config.get("image_processor", config)
            size = config.get("size") or {}
            bounds[0] = int(size.get("shortest_edge") or config.get("min_pixels") or bounds[0])
            bounds[1] = int(size.get("longest_edge") or config.get("max_pixels") or bounds[1])
            break
    return PixelBounds(vision, *bounds)


def _read_text(config: Mapping[str, Any]) -> LanguageModel:
    text_config: Mapping[str, Any] = config.get("text_config") or config
    width, heads = int(text_config["hidden_size"]), int(text_config["num_attention_heads"])
    tied = bool(config.get("tie_word_embeddings") or text_config.get("tie_word_embeddings"))
    return LanguageModel(
        int(text_config["num_hidden_layers"]), width, int(text_config["intermediate_size"]), heads,
        int(text_config.get("num_key_value_heads") or heads), int(text_config.get("head_dim") or width // heads),
        int(text_config["vocab_size"]), tied,
    )  # fmt: skip


def _read_vision(family: str, vision_config: Mapping[str, Any]) -> VisionTower:
    patch, merge = (
        int(vision_config.get("patch_size", 16 if family == "qwen3_vl" else 14)),
        int(vision_config.get("spatial_merge_size", 2)),
    )
    channels = int(vision_config.get("in_channels", vision_config.get("in_chans", 3)))
    shape = {
        "values": channels * int(vision_config.get("temporal_patch_size", 2)) * patch**2,
        "patch": patch,
        "merge": merge,
    }
    depth = int(vision_config["depth"])
    if family == "qwen2_vl":
        width = int(vision_config["embed_dim"])
        inner = int(width * vision_config.get("mlp_ratio", 4))
        return VisionTower(
            depth, width, inner, False, mergers=1, out=int(vision_config["hidden_size"]), full=depth, window=0, **shape
        )
    width, inner, out = (int(vision_config[name]) for name in ("hidden_size", "intermediate_size", "out_hidden_size"))
    if family == "qwen3_vl":
        mergers = 1 + len(vision_config.get("deepstack_visual_indexes", (8, 16, 24)))
        return VisionTower(depth, width, inner, False, mergers=mergers, out=out, full=depth, window=0, **shape)
    full = len({i for i in vision_config.get("fullatt_block_indexes", (7, 15, 23, 31)) if 0 <= i < depth})
    window = int(vision_config.get("window_size", 112)) // merge // patch
    return VisionTower(depth, width, inner, True, mergers=1, out=out, full=full, window=window, **shape)
