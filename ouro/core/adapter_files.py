"""What an adapter's folder holds, and what of an adapter_config.json can never be merged or would run or fetch things.

peft follows names in a config: `megatron_core` is imported, caches of `corda_config` and `lora_ga_config` are pickles,
`arrow_config` and XLORA name further adapters, of the hub too, and a prompt's config a tokenizer. None of these is
ever handed on. `auto_mapping`, `base_model_name_or_path`, `revision` and `task_type` are not needed, and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
UNUSED = frozenset(("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode"))
MAX_BYTES = 2**24  # of an adapter_config.json; lists of thousands of modules have about 100 KB

_PROMPTS = "PROMPT_TUNING MULTITASK_PROMPT_TUNING P_TUNING PREFIX_TUNING ADAPTION_PROMPT CPT CARTRIDGE".split()
_ROUTED = {"XLORA": "mixes further adapters anew for every token", "POLY": "mixes its parts by the task of a request"}
_OPTIONS = {
    "alora_invocation_tokens": "whether it acts depends on the text that came before",
    "layer_replication": "it repeats layers of the base, which makes it another model",
    "megatron_config": "it names code that would be imported, which is never done",
    "arrow_config": "it names further adapters, which are mixed anew for every token",
    "use_bdlora": "it is laid out for servers of several devices",
}
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica", "pissa", "olora")


def find_adapter_problems(folder: Path) -> list[str]:
    """Why a folder is no adapter that can be merged, each reason a sentence; reads no weights."""
    if not folder.is_dir():
        return [f"no such folder; expected one with {CONFIG} and {WEIGHTS}"]
    if not (folder / CONFIG).is_file():
        return [_find_elsewhere(folder)]
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / PICKLE).is_file() or any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        fix = "save it with safe_serialization=True where it was trained"
        found = f"it has {PICKLE}, a pickle, which is never loaded; {fix}" if pickled else "copy it whole"
        return [f"no {WEIGHTS} in it; {found}"]
    config = read_adapter_config(folder)
    return [config] if isinstance(config, str) else list(_find_in_config(config))


def read_adapter_config(folder: Path) -> dict[str, Any] | str:
    """adapter_config.json of a folder, or the sentence that says why it cannot be read."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_BYTES:
            return f"{CONFIG}: {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}"
        value: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return f"{CONFIG} is not valid JSON ({type(error).__name__}); copy it again, or train again"
    if not isinstance(value, dict):
        return f"{CONFIG}: got a {type(value).__name__}, expected an object"
    return cast("dict[str, Any]", value)


def _find_elsewhere(folder: Path) -> str:
    below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if below:
        return f"no {CONFIG} in it, but in {', '.join(below[:5])}; name that folder"
    if (folder / "config.json").is_file():
        return f"no {CONFIG} in it, but a config.json: a whole model; set model.base to it, without an adapter"
    return f"no {CONFIG} in it; expected {CONFIG} and {WEIGHTS}, which peft and `train` write"


def _find_in_config(config: Mapping[str, Any]) -> Iterator[str]:
    kind = config.get("peft_type")
    if not isinstance(kind, str):
        yield f"{CONFIG} has no peft_type; expected an adapter that peft saved"
        return
    if kind in _PROMPTS:
        yield f"peft_type {kind}: it adds to the prompt and changes no weights of the model: nothing to merge"
    if kind in _ROUTED:
        yield f"peft_type {kind}: cannot be merged into one model; it {_ROUTED[kind]}"
    for key, reason in _OPTIONS.items():
        if config.get(key):
            yield f"{key}: cannot be merged into one model; {reason}"
    start = config.get("init_lora_weights")
    if start not in _PLAIN_STARTS:
        yield (
            f"init_lora_weights {start}: its start changed the base's weights in a way that cannot be repeated from "
            "the adapter; save it with path_initial_model_for_weight_conversion where it was trained"
        )
