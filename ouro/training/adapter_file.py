"""Checks a saved adapter: complete tensors of the configured rank, under names that vLLM's LoRA loader accepts.

These are vLLM's own checks at load time (vllm/lora/peft_helper.py, `PEFTHelper._validate_features` and
`validate_legal`; vllm/lora/utils.py, `parse_fine_tuned_lora_name`; vllm/config/lora.py, `MaxLoRARanks`, up to 512).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ouro.core.adapter_files import CONFIG, WEIGHTS
from ouro.core.hub import explain_hub
from ouro.core.json_text import parse_json
from ouro.training.job import TrainingError

MAX_RANK = 512
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_MAX_LISTED = 5  # problems listed in one error
_MODULE_OVERRIDES = ("rank_pattern", "alpha_pattern")  # keys of adapter_config.json that set values for single modules


def adapter_config(adapter: Path) -> dict[str, Any]:
    """adapter_config.json of an adapter. Raises TrainingError when the folder holds no complete adapter."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (adapter / name).is_file()]
    if missing:
        raise TrainingError(f"adapter {adapter}: no {' and no '.join(missing)} in it; expected what `train` wrote")
    try:
        return parse_json((adapter / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise TrainingError(f"adapter {adapter}: {CONFIG} is not valid JSON: {error}; train again") from error


def adapter_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an adapter's tensors, read without loading them. Raises TrainingError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TrainingError(f"adapter {adapter / WEIGHTS}: not a safetensors file: {error}; train again") from error


def check_adapter(adapter: Path) -> None:
    """Raise TrainingError for empty tensors, which ZeRO-3 saves when its shards were not gathered before."""
    size = (adapter / WEIGHTS).stat().st_size
    empty = [f"{name} {shape}" for name, shape in adapter_shapes(adapter).items() if len(shape) < 2 or 0 in shape]
    if size < 1024 or empty:
        raise TrainingError(
            f"adapter {adapter / WEIGHTS}: {size} bytes, tensors without weights: {_format_names(empty) or 'all'}; "
            "expected matrices; were the parts of ZeRO-3 gathered before saving?"
        )


def check_lora(adapter: Path, rank: int, alpha: int) -> None:
    """Raise TrainingError, listing every problem, unless the config and each tensor have this rank, the config has this
    alpha, and no module has a rank or alpha of its own."""
    config = adapter_config(adapter)
    expected = {"r": rank, "lora_alpha": alpha}
    problems = [
        f"{k}: got {config.get(k)}, expected {value}" for k, value in expected.items() if config.get(k) != value
    ]
    problems += [f"{key}: got {config[key]}, expected none" for key in _MODULE_OVERRIDES if config.get(key)]
    shapes = {name: shape for name, shape in adapter_shapes(adapter).items() if len(shape) > 1}
    wrong_ranks = [f"{name} {shape}" for name, shape in shapes.items() if shape[1 if ".lora_B." in name else 0] != rank]
    problems += [f"tensors of another rank than {rank}: {_format_names(wrong_ranks)}"] if wrong_ranks else []
    if problems:
        raise TrainingError("\n  ".join([f"adapter {adapter}: not what train.rank and train.alpha say", *problems]))


def check_vllm_names(adapter: Path, base: Any = None) -> None:
    """Raise TrainingError, listing every problem, unless vLLM's LoRA loader accepts the adapter for `base`.

    `base` is the model it was trained on. With None the base that adapter_config.json names is built without weights.
    """
    config = adapter_config(adapter)
    model = base if base is not None else model_outline(config.get("base_model_name_or_path") or "")
    problems = [*_find_unsupported(config), *find_shape_problems(adapter_shapes(adapter), model)]
    if problems:
        raise TrainingError("\n  ".join([f"adapter {adapter}: vLLM would refuse it", *problems]))


def model_outline(base: str | Path) -> Any:
    """The model of a folder (or hub name) on the meta device: modules and their sizes, no weights.

    Raises TrainingError and ModelError.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from ouro.vision.folders import load_options

    options = load_options(base)
    try:
        config = AutoConfig.from_pretrained(base, **options)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"base {base}: neither a model folder here nor one that can be fetched: {explain_hub(error)}"
        ) from error
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def _find_unsupported(config: dict[str, Any]) -> Iterator[str]:
    if config.get("modules_to_save"):
        yield f"modules_to_save: got {config['modules_to_save']}, expected none; train these modules through LoRA, too"
    if config.get("bias", "none") != "none":
        yield f"bias: got {config['bias']!r}, expected 'none'"
    if config.get("use_dora"):
        yield "use_dora: got true, expected false"
    ranks = [config.get("r", 0), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 0 < rank <= MAX_RANK for rank in ranks):
        yield f"r: got {ranks}, expected 1 to {MAX_RANK}; set train.rank"


def find_shape_problems(shapes: dict[str, tuple[int, ...]], base: Any) -> list[str]:
    """One problem per tensor whose name is unknown, whose module `base` lacks, or whose size differs from it."""
    modules = dict(base.named_modules())
    problems: list[str] = []
    for name, shape in shapes.items():
        match = _NAME.fullmatch(name)
        if match is None:
            problems.append(f"{name}: expected base_model.model.MODULE.lora_A.weight or .lora_B.weight")
            continue
        path, side = match["module"], match["side"]
        partner = name.replace(f".lora_{side}.", f".lora_{'B' if side == 'A' else 'A'}.")
        if path not in modules:
            problems.append(f"{name}: the base has no module {path}; was it trained on another base?")
        elif partner not in shapes:
            problems.append(f"{name}: comes without {partner}")
        elif (size := _module_size(modules[path], side)) is not None and size != shape[-1 if side == "A" else 0]:
            problems.append(f"{name}: got shape {shape}, but {path} of the base has size {size} there")
    return (
        problems
        if len(problems) <= _MAX_LISTED
        else [*problems[:_MAX_LISTED], f"... and {len(problems) - _MAX_LISTED} more tensors"]
    )


def _module_size(module: Any, side: str) -> int | None:
    """The input size (A) or output size (B) of a module; None for a module without one."""
    return getattr(module, "in_features" if side == "A" else "out_features", None)


def _format_names(names: list[str]) -> str:
    return ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    )
