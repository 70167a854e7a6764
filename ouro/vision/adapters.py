"""A peft adapter, of Ouro or of another trainer, merged into its base, or refused with the reason.

peft itself drops what it does not know from a config and from the tensors without an error, so both are held against
the base here: every tensor has its place, every place its tensor. Afterwards the outputs decide: the merged model must
say what the adapted one says, and the adapter must change something. Weights come from safetensors alone.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ouro.core.adapter_files import UNUSED, WEIGHTS, find_adapter_problems, read_adapter_config
from ouro.core.json_text import parse_json
from ouro.core.model_files import find_unsafe
from ouro.vision.adapter_names import PREFIX, Renaming, rename_tensors
from ouro.vision.adapter_patterns import pattern_problem
from ouro.vision.encoding import Encoder
from ouro.vision.folders import MAX_LISTED, ModelError, explained, load_tokenizer
from ouro.vision.probe import probe_logits

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_QUANTISED = re.compile(
    r"(?i)(?:-unsloth)?-(?:bnb-4bit|bnb-8bit|awq|gptq(?:-int[348])?|int[48]|fp8(?:-dynamic)?|nf4|w[48]a16)$"
)
TOLERANCE = {"float32": 1e-3, "float64": 1e-3}  # of the largest logit, between the adapted and the merged model
HALF_TOLERANCE = 0.1  # the merged weights of 16 bits are rounded once more
_SHARED = ("vblora_vector_bank", ".tinylora_v.", ".unilora_theta_d.")  # listed once a layer, stored once


def merge_into(model: Any, processor: Any, adapter: str | Path) -> Any:
    """The model with the adapter's weights in its own. Its tokenizer replaces the processor's where tokens were added.

    Raises ModelError for an adapter that is missing, incomplete, unsafe, of another base or of a kind that cannot be
    merged; that changes nothing; or whose merged model does not say what the adapted one says.
    """
    path = Path(adapter)
    config, renaming = _read(path, model)
    _fit_vocabulary(model, processor, renaming.tensors, path)
    encoder = Encoder(processor)
    base_logits = probe_logits(model, encoder)
    with explained(path, "adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = _wrap(model, config, renaming, path)
        adapted_logits = probe_logits(wrapped, encoder)
        _check_effect(base_logits, adapted_logits, path)
        merged = wrapped.merge_and_unload().eval()
    _check_merged(adapted_logits, probe_logits(merged, encoder), path)
    return merged


def find_tokenizer(adapter: str | Path) -> Path | None:
    """The adapter's folder where it holds a tokenizer."""
    return Path(adapter) if (Path(adapter) / "tokenizer.json").is_file() else None


def _read(path: Path, model: Any) -> tuple[dict[str, Any], Renaming]:
    """The config without what is not used, and the tensors by the base's names. Raises ModelError."""
    modules = {name for name, _ in model.named_modules()}
    read = read_adapter_config(path)
    config: dict[str, Any] = {} if isinstance(read, str) else read
    problems = find_adapter_problems(path) or [*_find_unknown(config), *find_unsafe(path)]
    if not problems and (problem := pattern_problem(config, modules)):
        problems = [problem]
    if not problems:
        problems = [*_find_other_base(config, model), *_find_quantised(model.config.to_dict())]
    if problems:
        raise ModelError("\n  ".join([f"adapter {path}: refused", *problems[:MAX_LISTED]]))
    return {k: v for k, v in config.items() if k not in UNUSED}, rename_tensors(_load_tensors(path), modules)


def _find_unknown(config: dict[str, Any]) -> list[str]:
    """The keys with a value that the installed peft would leave out."""
    import dataclasses

    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind: Any = config.get("peft_type")
    if kind not in PEFT_TYPE_TO_CONFIG_MAPPING:
        return [f"peft_type {kind}: unknown to the installed peft {peft.__version__}; expected LORA or another of its"]
    known = {field.name for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind])}
    return [
        f"{key}: got {str(value)[:80]}, which the installed peft {peft.__version__} does not know; it would be left out"
        for key, value in config.items()
        if value and key not in known and key not in UNUSED
    ]


def _find_other_base(config: dict[str, Any], model: Any) -> list[str]:
    """That the adapter was trained on a model of another class; a warning where only the name is another."""
    mapping: Any = config.get("auto_mapping") or {}
    trained, here = str(mapping.get("base_model_class") or ""), type(model).__name__
    if trained and trained != here:
        return [f"was trained on a {trained}, and the base is a {here}; name the model that it was trained on"]
    recorded, base = str(config.get("base_model_name_or_path") or ""), str(model.name_or_path)
    if recorded and not is_same_name(recorded, base):
        log.warning("an adapter trained on %s is merged into %s: is that the same model?", recorded, base)
    return []


def is_same_name(a: str, b: str) -> bool:
    """Whether the last parts are equal (a model may have moved), but for how a copy of 4 or 8 bits is called: adapters
    of those are merged into the model itself."""
    return _QUANTISED.sub("", Path(a).name).lower() == _QUANTISED.sub("", Path(b).name).lower()


def check_unquantised(base: str | Path, adapter: str | Path) -> None:
    """Raise ModelError for the folder of a quantised model, before it is loaded."""
    path = Path(base) / "config.json"
    config: Any = parse_json(path.read_bytes()) if path.is_file() else {}
    if isinstance(config, dict) and (problems := _find_quantised(cast("dict[str, Any]", config))):
        raise ModelError(f"adapter {adapter}, base {base}: {problems[0]}")


def _find_quantised(config: Mapping[str, Any]) -> list[str]:
    nested: Any = config.get("text_config") or {}
    method: Any = config.get("quantization_config") or nested.get("quantization_config")
    if not method:
        return []
    name = method.get("quant_method", "") if isinstance(method, dict) else getattr(method, "quant_method", "")
    return [
        f"the base is quantised ({getattr(name, 'value', name)}): to merge would round the adapter's weights away. "
        "Fix: name the unquantised model as the base"
    ]


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Raises ModelError for a damaged file and for tensors without elements, which ZeRO-3 saves if not gathered."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"adapter {path / WEIGHTS}: not a safetensors file ({error}); copy it again") from error
    empty = sorted(name for name, tensor in tensors.items() if tensor.numel() == 0)
    if empty or not tensors:
        raise ModelError(
            f"adapter {path / WEIGHTS}: {len(empty) or 'all'} tensors without weights, such as {[*empty, 'none'][0]}; "
            "were the parts of ZeRO-3 gathered before saving?"
        )
    return tensors


def _fit_vocabulary(model: Any, processor: Any, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Give the model as many tokens as the adapter's embeddings have, with the tokenizer that lies beside them."""
    rows, n_base = _vocabulary(model, tensors), model.get_input_embeddings().weight.shape[0]
    if rows in (None, n_base):
        return
    folder = find_tokenizer(path)
    tokenizer = load_tokenizer(folder) if folder else None
    if tokenizer is None or len(tokenizer) > rows:
        found = "there is no tokenizer beside it" if tokenizer is None else f"its tokenizer has {len(tokenizer)}"
        raise ModelError(
            f"adapter {path}: was trained with {rows} tokens, and the base has {n_base}, but {found}. Fix: copy "
            "tokenizer.json and tokenizer_config.json from where it was trained into its folder"
        )
    model.resize_token_embeddings(rows, mean_resizing=False)
    processor.tokenizer = tokenizer


def _vocabulary(model: Any, tensors: dict[str, torch.Tensor]) -> int | None:
    """The number of tokens that the adapter's tensors of the embeddings or the output layer have; None without any."""
    layers = {id(model.get_input_embeddings()), id(model.get_output_embeddings())}
    for name, module in model.named_modules():
        if id(module) not in layers:
            continue
        for suffix, axis in (("weight", 0), ("base_layer.weight", 0), ("lora_embedding_A", 1)):
            if (tensor := tensors.get(f"{PREFIX}{name}.{suffix}")) is not None:
                return int(tensor.shape[axis])
    return None


def _wrap(model: Any, values: dict[str, Any], renaming: Renaming, path: Path) -> Any:
    """The model with the adapter beside its weights, and every tensor of it in its place."""
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    config: Any = PeftConfig.from_peft_type(**values, inference_mode=True)
    if renaming.parts:
        _name_targets(config, model, renaming)
    wrapped: Any = PeftModel(model, config)
    places = wrapped.state_dict().keys()
    tensors = {_bias_place(name, places): tensor for name, tensor in renaming.tensors.items()}
    missing = _missing_to_save(wrapped, tensors)
    if not missing:
        try:
            result = set_peft_model_state_dict(wrapped, tensors)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
            raise ModelError(f"adapter {path}: does not fit the base, was it trained on another? {lines[0]}") from error
        _check_places(wrapped, list(result.unexpected_keys), path)
        missing = [name for name in _own_keys(wrapped) if name in set(result.missing_keys)]
    if missing:
        raise ModelError(
            f"adapter {path}: {len(missing)} tensors that its config asks for in this base are not in it, such as "
            f"{missing[0]}; was it saved whole, and trained on this base?"
        )
    return wrapped.eval()


def _name_targets(config: Any, model: Any, renaming: Renaming) -> None:
    """Replace the patterns of a config, which mean the names of the trainer's base, by the names of the base here."""
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

    if config.target_modules != "all-linear" and config.target_modules:
        names = [name for name, _ in model.named_modules() if name]
        targets = [name for name in names if check_target_module_exists(config, renaming.saved_name(name))]
        for key in ("rank_pattern", "alpha_pattern"):
            pattern = getattr(config, key, None) or {}
            keys = {name: get_pattern_key(list(pattern), renaming.saved_name(name)) for name in targets}
            if hasattr(config, key):
                setattr(config, key, {name: pattern[k] for name, k in keys.items() if k in pattern})
        config.target_modules, config.exclude_modules = set(targets), None
        for key in ("layers_to_transform", "layers_pattern"):
            if hasattr(config, key):
                setattr(config, key, None)


def _bias_place(name: str, places: Any) -> str:
    """Where the bias of an adapted module is (`bias: lora_only`), which older releases of peft name otherwise."""
    inner = f"{name.removesuffix('.bias')}.base_layer.bias"
    return inner if name.endswith(".bias") and name not in places and inner in places else name


def _missing_to_save(wrapped: Any, tensors: dict[str, torch.Tensor]) -> list[str]:
    """The tensors of whole modules that the config says are saved; peft raises a KeyError for them."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    wanted = [
        f"{name}.{key}" for name, module in wrapped.named_modules() if isinstance(module, AuxiliaryTrainingWrapper)
        for key in module.adapter_state_dict_load_map("default")
    ]  # fmt: skip
    return [name for name in wanted if name not in tensors]


def _own_keys(wrapped: Any) -> list[str]:
    """The places of the adapter's own tensors."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(wrapped.peft_config["default"].peft_type, "")
    keys = (k for k in wrapped.state_dict() if prefix and f".{prefix}" in k and "default" in k.split("."))
    return [key for key in keys if not any(shared in key for shared in _SHARED)]


def _check_places(wrapped: Any, unexpected: list[str], path: Path) -> None:
    if not unexpected:
        return
    raise ModelError(
        f"adapter {path}: {len(unexpected)} tensors of it have no place in the base, such as {unexpected[0]}; was it "
        "trained on another base, or does its config name other modules?"
    )


def _check_effect(base: torch.Tensor, adapted: torch.Tensor, path: Path) -> None:
    import torch

    if not bool(torch.isfinite(adapted).all()):
        raise ModelError(f"adapter {path}: with it the model's output is not finite; was its training broken off?")
    if torch.equal(base, adapted):
        raise ModelError(f"adapter {path}: loads, but does not change the model's output; was it trained for it?")


def _check_merged(adapted: torch.Tensor, merged: torch.Tensor, path: Path) -> None:
    """Raise ModelError unless both (1, T, V) are equal but for rounding."""
    difference = float((adapted - merged).abs().max() / adapted.abs().max())
    allowed = TOLERANCE.get(str(adapted.dtype).removeprefix("torch."), HALF_TOLERANCE)
    if not difference <= allowed:
        raise ModelError(
            f"adapter {path}: the merged model's output differs from the adapted one's by {difference:.2g} of the "
            f"largest logit, expected at most {allowed:g}; peft cannot merge this kind into this base"
        )
