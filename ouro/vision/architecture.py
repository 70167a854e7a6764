"""The shape of a vision-language model, read from its Hugging Face config.json: what counting FLOPs needs, no torch.

Qwen2-VL (nano is one), Qwen2.5-VL and Qwen3-VL, dense. A config.json leaves out what equals its class's default, and
older ones keep the language model's keys at the top: both are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ouro.core.errors import OuroError


class ArchitectureError(OuroError, ValueError):
    """A model whose FLOPs cannot be counted: no config.json, or one of another family."""


class Vision(NamedTuple):
    """The vision tower. `values` of one patch; `width` of its tokens; `inner` of the MLP, which is gated (three
    matrices) or not (two); `mergers` of merge x merge patches to a token of `out` values (DeepStack has more than
    one). In Qwen2.5-VL only `full` of the `depth` layers attend over the whole frame, the others within windows of
    `window` x `window` merged tokens (0: no windows)."""

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


class Text(NamedTuple):
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
    vision: Vision
    text: Text


Grid = tuple[int, int, int]  # frames, rows and columns of patches, as image_grid_thw
MIN_TOKENS, MAX_TOKENS = 4, 16_384  # visual tokens of a picture: Qwen2-VL's own bounds


class Sight(NamedTuple):
    """How large a model sees pictures: its processor's own bounds, in pixels."""

    vision: Vision
    least: int
    most: int

    def grid(self, width: float, height: float, most: int, least: int = 0) -> Grid:
        """The patches of a picture of this size (pixels) that may show `most` pixels, and at least `least` (0: the
        processor's own bound): Qwen2-VL's smart_resize, and ouro.vision.encoding's bounds."""
        unit = self.vision.patch * self.vision.merge
        most = min(most, self.most)
        least = min(least or self.least, most)
        h, w = round(height / unit) * unit, round(width / unit) * unit
        if h * w > most:
            scale = math.sqrt(height * width / most)
            h, w = (max(unit, math.floor(side / scale / unit) * unit) for side in (height, width))
        elif h * w < least:
            scale = math.sqrt(least / (height * width))
            h, w = (math.ceil(side * scale / unit) * unit for side in (height, width))
        return 1, h // self.vision.patch, w // self.vision.patch


FAMILIES: Final = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

_TEXT_7B: Final = {
    "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064,
}  # fmt: skip

# What the hub's config.json of these models say, as far as FLOPs depend on it; used where model.base has no folder.
KNOWN: Final[dict[str, dict[str, Any]]] = {
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


def model_config(base: str) -> tuple[dict[str, Any], str]:
    """The config of model.base, and where it comes from. Raises ArchitectureError when there is none."""
    path = Path(base) / "config.json"
    if path.is_file():
        try:
            return json.loads(path.read_text("utf-8")), str(path)
        except ValueError as error:
            raise ArchitectureError(f"{path}: not valid JSON ({error}); fetch the model again") from error
    name = next((n for n in KNOWN if n.lower() == Path(base).name.lower()), None)
    if name is None:
        raise ArchitectureError(
            f"model.base {base}: no config.json in it, and no model known by that name; expected a Hugging Face folder"
            f" or one named as {', '.join(KNOWN)}. Fix: --set model.base=models/{next(iter(KNOWN))}"
        )
    return KNOWN[name], f"the numbers of {name} that ship with ouro ({path} is not there)"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """What a config.json says. Raises ArchitectureError for another family, or a key that is missing or no number."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ArchitectureError(
            f"config.json: model_type {family!r}; expected one of {', '.join(FAMILIES)}, whose FLOPs ouro can count. "
            "Fix: name such a model in model.base, or estimate with one of its size"
        )
    try:
        return Architecture(family, _vision(family, config["vision_config"]), _text(config))
    except (KeyError, TypeError, ValueError) as error:
        raise ArchitectureError(
            f"config.json of {family}: not as expected ({error!r}); fetch the model again"
        ) from error


def sight(base: str, vision: Vision) -> Sight:
    """The bounds of model.base's processor, or Qwen2-VL's where it says none."""
    unit = (vision.patch * vision.merge) ** 2
    own = [MIN_TOKENS * unit, MAX_TOKENS * unit]
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = Path(base) / name
        if path.is_file():
            said = json.loads(path.read_text("utf-8"))
            said = said.get("image_processor", said)
            size = said.get("size") or {}
            own[0] = int(size.get("shortest_edge") or said.get("min_pixels") or own[0])
            own[1] = int(size.get("longest_edge") or said.get("max_pixels") or own[1])
            break
    return Sight(vision, *own)


def _text(config: Mapping[str, Any]) -> Text:
    own: Mapping[str, Any] = config.get("text_config") or config
    width, heads = int(own["hidden_size"]), int(own["num_attention_heads"])
    tied = bool(config.get("tie_word_embeddings") or own.get("tie_word_embeddings"))
    return Text(
        int(own["num_hidden_layers"]), width, int(own["intermediate_size"]), heads,
        int(own.get("num_key_value_heads") or heads), int(own.get("head_dim") or width // heads),
        int(own["vocab_size"]), tied,
    )  # fmt: skip


def _vision(family: str, own: Mapping[str, Any]) -> Vision:
    patch, merge = int(own.get("patch_size", 16 if family == "qwen3_vl" else 14)), int(own.get("spatial_merge_size", 2))
    channels = int(own.get("in_channels", own.get("in_chans", 3)))
    shape = {"values": channels * int(own.get("temporal_patch_size", 2)) * patch**2, "patch": patch, "merge": merge}
    depth = int(own["depth"])
    if family == "qwen2_vl":
        width = int(own["embed_dim"])
        inner = int(width * own.get("mlp_ratio", 4))
        return Vision(depth, width, inner, False, mergers=1, out=int(own["hidden_size"]), full=depth, window=0, **shape)
    width, inner, out = (int(own[name]) for name in ("hidden_size", "intermediate_size", "out_hidden_size"))
    if family == "qwen3_vl":
        mergers = 1 + len(own.get("deepstack_visual_indexes", (8, 16, 24)))
        return Vision(depth, width, inner, False, mergers=mergers, out=out, full=depth, window=0, **shape)
    full = len({i for i in own.get("fullatt_block_indexes", (7, 15, 23, 31)) if 0 <= i < depth})
    window = int(own.get("window_size", 112)) // merge // patch
    return Vision(depth, width, inner, True, mergers=1, out=out, full=full, window=window, **shape)
