"""What a saved adapter holds: whole tensors of the rank asked for, under names that vLLM's LoRA loader takes.

vLLM refuses at load time what is checked here (vllm/lora/peft_helper.py, `PEFTHelper._validate_features` and
`validate_legal`; vllm/lora/utils.py, `parse_fine_tuned_lora_name`; vllm/config/lora.py, `MaxLoRARanks`, up to 512).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ouro.training.job import TrainingError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_RANK = 512
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_SHOWN = 5  # problems named one by one
_OWN = ("rank_pattern", "alpha_pattern")  # of single modules


def adapter_config(adapter: Path) -> dict[str, Any]:
    """adapter_config.json of an adapter. Raises TrainingError when there is no whole adapter in the folder."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (adapter / name).is_file()]
    if missing:
        raise TrainingError(f"adapter {adapter}: no {' and no '.join(missing)} in it; expected what `train` wrote")
    try:
        return json.loads((adapter / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise TrainingError(f"adapter {adapter}: {CONFIG} is not valid JSON: {error}; train again") from error


def adapter_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an adapter's tensors; nothing is loaded. Raises TrainingError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TrainingError(f"adapter {adapter / WEIGHTS}: not a safetensors file: {error}; train again") from error


def check_adapter(adapter: Path) -> None:
    """Raise TrainingError for a file without weights: ZeRO-3 leaves empty tensors where its parts were not gathered."""
    size = (adapter / WEIGHTS).stat().st_size
    empty = [f"{name} {shape}" for name, shape in adapter_shapes(adapter).items() if len(shape) < 2 or 0 in shape]
    if size < 1024 or empty:
        raise TrainingError(
            f"adapter {adapter / WEIGHTS}: {size} bytes, tensors without weights: {_few(empty) or 'all'}; expected "
            "matrices; were the parts of ZeRO-3 gathered before saving?"
        )


def check_lora(adapter: Path, rank: int, alpha: int) -> None:
    """Raise TrainingError, listing every problem, unless the config and each tensor have this rank, the config this
    alpha, and no module its own."""
    config = adapter_config(adapter)
    wanted = {"r": rank, "lora_alpha": alpha}
    found = [f"{k}: got {config.get(k)}, expected {value}" for k, value in wanted.items() if config.get(k) != value]
    found += [
        f"{key}: got {config[key]}, expected none" for key in ("rank_pattern", "alpha_pattern") if config.get(key)
    ]
    shapes = {name: shape for name, shape in adapter_shapes(adapter).items() if len(shape) > 1}
    other = [f"{name} {shape}" for name, shape in shapes.items() if shape[1 if ".lora_B." in name else 0] != rank]
    found += [f"tensors of another rank than {rank}: {_few(other)}"] if other else []
    if found:
        raise TrainingError("\n  ".join([f"adapter {adapter}: not what train.rank and train.alpha say", *found]))


def check_vllm_names(adapter: Path, base: Any = None) -> None:
    """Raise TrainingError, listing every problem, unless vLLM's LoRA loader takes the adapter for `base`.

    `base` is the model it was trained on, or None: the one that adapter_config.json names, without its weights.
    """
    config = adapter_config(adapter)
    model = base if base is not None else model_outline(config.get("base_model_name_or_path") or "")
    found = [*_features(config), *shape_problems(adapter_shapes(adapter), model)]
    if found:
        raise TrainingError("\n  ".join([f"adapter {adapter}: vLLM would refuse it", *found]))


def model_outline(base: str | Path) -> Any:
    """The model of a folder (or name) without weights: modules and their sizes. Raises TrainingError, ModelError."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from ouro.vision.folders import load_options

    try:
        config = AutoConfig.from_pretrained(base, **load_options(base))
    except OSError as error:
        raise TrainingError(f"base {base}: neither a model folder here nor one that can be fetched: {error}") from error
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def _features(config: dict[str, Any]) -> Iterator[str]:
    if config.get("modules_to_save"):
        yield f"modules_to_save: got {config['modules_to_save']}, expected none; train these modules through LoRA, too"
    if config.get("bias", "none") != "none":
        yield f"bias: got {config['bias']!r}, expected 'none'"
    if config.get("use_dora"):
        yield "use_dora: got true, expected false"
    ranks = [config.get("r", 0), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 0 < rank <= MAX_RANK for rank in ranks):
        yield f"r: got {ranks}, expected 1 to {MAX_RANK}; set train.rank"


def shape_problems(shapes: dict[str, tuple[int, ...]], base: Any) -> list[str]:
    """Tensors whose name no loader knows, whose module `base` has not, or whose sizes are not its."""
    modules = dict(base.named_modules())
    found: list[str] = []
    for name, shape in shapes.items():
        match = _NAME.fullmatch(name)
        if match is None:
            found.append(f"{name}: expected base_model.model.MODULE.lora_A.weight or .lora_B.weight")
            continue
        path, side = match["module"], match["side"]
        other = name.replace(f".lora_{side}.", f".lora_{'B' if side == 'A' else 'A'}.")
        if path not in modules:
            found.append(f"{name}: the base has no module {path}; was it trained on another base?")
        elif other not in shapes:
            found.append(f"{name}: comes without {other}")
        elif (wanted := _size(modules[path], side)) is not None and wanted != shape[-1 if side == "A" else 0]:
            found.append(f"{name}: got shape {shape}, but {path} of the base has size {wanted} there")
    return found if len(found) <= _SHOWN else [*found[:_SHOWN], f"... and {len(found) - _SHOWN} more tensors"]


def _size(module: Any, side: str) -> int | None:
    """What a module takes in (A) or gives out (B); None where it does not say."""
    return getattr(module, "in_features" if side == "A" else "out_features", None)


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
