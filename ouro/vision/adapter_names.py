"""Under which names other trainers save an adapter's tensors, and the names that they have in the base here.

Wrappers leave their own parts in a name: DistributedDataParallel `module.`, torch.compile `_orig_mod.`, FSDP
`_fsdp_wrapped_module.`; a state dict that was not saved by peft has the adapter's name in it (`lora_A.default.weight`)
or no `base_model.model.`. And transformers has renamed modules: Qwen2-VL's language model was `model.layers`, its
vision tower `visual` before release 4.52.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

PREFIX = "base_model.model."
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_NAMED = re.compile(r"\.lora_(?:A|B|magnitude_vector|embedding_A|embedding_B)\.(?P<name>[^.]+)(?:\.(?:weight|bias))?$")
_LANGUAGE, _VISION = "model.language_model.", "model.visual."
_SCHEMES: tuple[tuple[tuple[str, str], ...], ...] = (  # beginnings of names: (saved, here)
    (),
    (  # Qwen2-VL and Qwen2.5-VL before transformers 4.52
        ("model.layers.", f"{_LANGUAGE}layers."), ("model.embed_tokens", f"{_LANGUAGE}embed_tokens"),
        ("model.norm", f"{_LANGUAGE}norm"), ("visual.", _VISION),
    ),
    (  # LLaVA's kind before transformers 4.52
        ("language_model.model.", _LANGUAGE), ("language_model.lm_head", "lm_head"), ("visual.", _VISION),
        ("vision_tower.", "model.vision_tower."), ("multi_modal_projector.", "model.multi_modal_projector."),
    ),
    (("language_model.", _LANGUAGE), ("visual.", _VISION)),  # of the model without its output layer
    (("layers.", f"{_LANGUAGE}layers."), ("embed_tokens", f"{_LANGUAGE}embed_tokens"), ("norm", f"{_LANGUAGE}norm")),
)  # fmt: skip


class Renaming(NamedTuple):
    """`tensors`: by the names that peft expects for the base here; `parts`: (saved, here), the beginnings of modules'
    names that differ."""

    tensors: dict[str, Any]
    parts: tuple[tuple[str, str], ...]

    def saved_name(self, module: str) -> str:
        """How the trainer's base called a module of the base here."""
        for saved, here in self.parts:
            if module.startswith(here):
                return saved + module[len(here) :]
        return module


def rename_tensors(tensors: Mapping[str, Any], modules: Collection[str]) -> Renaming:
    """The tensors of an adapter as peft saves them, for a base with modules of these names."""
    plain = {_plain_name(name): tensor for name, tensor in tensors.items()}
    names = _adapter_names(plain)
    plain = {_without(name, names): t for name, t in plain.items() if ".original_module." not in name}
    scheme = max(_SCHEMES, key=lambda parts: sum(_has_module(_here(name, parts, modules), modules) for name in plain))
    return Renaming({_full_name(name, scheme, modules): t for name, t in plain.items()}, scheme)


def _full_name(name: str, parts: Collection[tuple[str, str]], modules: Collection[str]) -> str:
    """With peft's prefix, but for the few tensors that belong to no module (VeRA's `base_model.vera_A`)."""
    return name if name.startswith("base_model.") else PREFIX + _here(name, parts, modules)


def _plain_name(name: str) -> str:
    """Without wrappers and without `base_model.model.`."""
    name = _WRAPPERS.sub("", name)
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name.removeprefix(PREFIX)


def _adapter_names(names: Collection[str]) -> set[str]:
    found = {match["name"] for name in names if (match := _NAMED.search(name))}
    return {"default"} | found - {"weight", "bias"}


def _without(name: str, adapters: Collection[str]) -> str:
    """Without the adapter's name, which is the last part or the last but one; of modules to save the module itself."""
    for adapter in adapters:
        name = name.replace(f".modules_to_save.{adapter}.", ".")
        if adapter != "default" and ".lora_" not in name:
            continue
        head, _, last = name.rpartition(".")
        if last == adapter:
            return head
        if head.endswith(f".{adapter}"):
            return f"{head.removesuffix(f'.{adapter}')}.{last}"
    return name


def _here(name: str, parts: Collection[tuple[str, str]], modules: Collection[str]) -> str:
    if _has_module(name, modules):
        return name
    for saved, here in parts:
        if name.startswith(saved) and _has_module(here + name[len(saved) :], modules):
            return here + name[len(saved) :]
    return name


def _has_module(tensor: str, modules: Collection[str]) -> bool:
    """Whether a tensor's name begins with a module of at least three parts, or is of the output layer."""
    parts = tensor.split(".")
    return any(".".join(parts[:n]) in modules for n in range(len(parts) - 1, 0, -1) if n > 2 or parts[0] == "lm_head")
