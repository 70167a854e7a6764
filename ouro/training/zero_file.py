"""What a DeepSpeed file may say. DeepSpeedConfig takes unknown top-level keys in silence; here nothing is.

The known keys come from the installed DeepSpeed: its pydantic models where a section has one, otherwise those that
DeepSpeedConfig asks a file for, taken down by a dict that listens. Only the arguments of optimizers and schedulers are
read from their classes.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# What transformers fills in where a file says "auto": HfTrainerDeepSpeedConfig.trainer_config_process and
# .trainer_config_finalize of transformers/integrations/deepspeed.py (5.23).
OURS = {
    "train_micro_batch_size_per_gpu": "train.batch_size",
    "train_batch_size": "train.batch_size, accumulation and processes",
    "gradient_accumulation_steps": "train.accumulation",
    "gradient_clipping": "the trainer, 1.0",
    "optimizer.params.lr": "train.learning_rate",
    "optimizer.params.betas": "the trainer, AdamW's usual",
    "optimizer.params.eps": "the trainer, AdamW's usual",
    "optimizer.params.weight_decay": "the trainer, 0.0",
    "scheduler.params.warmup_max_lr": "train.learning_rate",
    "scheduler.params.warmup_num_steps": "train.warmup_ratio",
    "scheduler.params.total_num_steps": "the length of the training",
    "bf16.enabled": "train.bf16",
    "fp16.enabled": "the trainer, false",
}
AUTO = {
    *OURS, "scheduler.params.warmup_min_lr", "zero_optimization.reduce_bucket_size",
    "zero_optimization.stage3_prefetch_bucket_size", "zero_optimization.stage3_param_persistence_threshold",
}  # fmt: skip
# deepspeed/runtime/config.py and engine.py, _configure_basic_optimizer: taken out of an Adam's params before use.
ADAM_EXTRAS = ("torch_adam", "adam_w_mode", "max_grad_norm")
SEEDS: dict[str, dict[str, str]] = {"optimizer": {"type": "AdamW"}, "scheduler": {"type": "WarmupLR"}}


class _Listening(dict[str, Any]):
    """A dict that takes down which keys it is asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def keys(self) -> Any:
        return self


def problems(config: Mapping[str, Any]) -> list[str]:
    """All that is wrong with the contents of a DeepSpeed file, one line each; [] for a good one."""
    found = [*_top_level(config), *_sections(config), *_values(config)]
    return found + [p for name in ("optimizer", "scheduler") for p in _arguments(name, config.get(name))]


def _top_level(config: Mapping[str, Any]) -> Iterator[str]:
    from deepspeed.runtime.config import _REMOVED_TOP_LEVEL_CONFIG_KEYS  # type: ignore[reportPrivateUsage]

    removed: dict[str, str] = _REMOVED_TOP_LEVEL_CONFIG_KEYS
    known = _asked({})[0] - set(removed)
    for key in config:
        if key in removed:
            yield f"{key}: {removed[key].strip()}"
        elif key not in known:
            yield _unknown(key, key, known)
    if "zero_optimization" not in config:
        yield 'zero_optimization: missing; expected a section with its stage, e.g. {"stage": 2}'


def _asked(sections: Mapping[str, Mapping[str, Any]]) -> tuple[set[str], dict[str, set[str]]]:
    """Keys that the installed DeepSpeedConfig asks a file for, and those of each section that is given."""
    from deepspeed.runtime.config import DeepSpeedConfig

    listening = {name: _Listening(values) for name, values in sections.items()}
    file = _Listening({"train_micro_batch_size_per_gpu": 1, **listening})
    DeepSpeedConfig(file)
    return file.asked, {name: section.asked for name, section in listening.items()}


def _models() -> dict[str, Any]:
    """Sections with a pydantic model, which refuses unknown keys and wrong values."""
    from deepspeed.comm.config import CommsLoggerConfig
    from deepspeed.compile.config import CompileConfig
    from deepspeed.monitor.config import CometConfig, CSVConfig, TensorBoardConfig, WandbConfig
    from deepspeed.runtime.config import HybridEngineConfig
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.tensor_parallel.config import TPTrainingConfig
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    return {
        "zero_optimization": DeepSpeedZeroConfig, "bf16": DeepSpeedBF16Config, "bfloat16": DeepSpeedBF16Config,
        "fp16": DeepSpeedFP16Config, "comms_logger": CommsLoggerConfig, "compile": CompileConfig,
        "tensorboard": TensorBoardConfig, "wandb": WandbConfig, "csv_monitor": CSVConfig, "comet": CometConfig,
        "hybrid_engine": HybridEngineConfig, "tensor_parallel": TPTrainingConfig,
    }  # fmt: skip


def _sections(config: Mapping[str, Any]) -> Iterator[str]:
    models = _models()
    listened = _LISTENED & config.keys()
    for name in config.keys() & (models.keys() | listened):
        if not isinstance(config[name], dict):
            yield f"{name}: got {config[name]!r}, expected a section, {{...}}"
        elif name in models:
            yield from _pydantic(name, models[name], config[name])
        else:
            known = _asked({name: SEEDS.get(name, {})})[1][name]
            yield from (_unknown(f"{name}.{key}", key, known) for key in config[name] if key not in known)


# Sections of plain keys, all of which DeepSpeedConfig asks for; data_efficiency and autotuning are deeper, and left.
_LISTENED = frozenset(
    "activation_checkpointing optimizer scheduler aio checkpoint data_types flops_profiler timers".split()
)


def _pydantic(name: str, model: Any, section: Mapping[str, Any]) -> Iterator[str]:
    from pydantic import ValidationError

    known = {field for key, info in model.model_fields.items() for field in (key, info.alias) if field}
    try:
        model(**section)
    except ValidationError as error:
        for e in error.errors():
            at = ".".join(str(part) for part in (name, *e["loc"]))
            if e["type"] == "extra_forbidden":
                yield _unknown(at, str(e["loc"][-1]), known if len(e["loc"]) == 1 else ())
            else:
                yield f"{at}: got {e['input']!r}, {e['msg']}"
    except (AssertionError, ValueError, TypeError) as error:
        yield f"{name}: {error}"


def _values(config: Mapping[str, Any]) -> Iterator[str]:
    """ "auto" where nobody fills it in, and numbers that params.yaml decides."""
    for at, value in _leaves(config):
        if at in OURS and value != "auto" and not (at == "fp16.enabled" and value is False):
            yield f'{at}: got {value!r}, expected "auto" or no such key; {OURS[at]} decides it'
        elif value == "auto" and at not in AUTO:
            yield f'{at}: got "auto", which nobody fills in; expected a value, or no such key'


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _arguments(name: str, section: Any) -> Iterator[str]:
    """Type and params of an optimizer or a scheduler, against the class that takes them."""
    if not isinstance(section, dict):
        return
    classes = _optimizers() if name == "optimizer" else _schedulers()
    kind = section.get("type")
    chosen = next((key for key in classes if str(kind).lower() == key.lower()), None)
    if chosen is None and name == "optimizer" and str(kind).lower() in _compiled():
        return
    if chosen is None:
        yield f"{name}.type: got {kind!r}, expected one of {', '.join(sorted(classes))}"
        return
    known = [p for p in inspect.signature(classes[chosen].__init__).parameters if p not in ("self", "params")]
    known += ADAM_EXTRAS if chosen.lower().startswith("adam") else ()
    params = section.get("params", {})
    if not isinstance(params, dict):
        yield f"{name}.params: got {params!r}, expected a section, {{...}}"
        return
    yield from (_unknown(f"{name}.params.{key}", key, known) for key in params if key not in known)


def _optimizers() -> dict[str, Any]:
    """torch's, which build without a compiler; the arguments of DeepSpeed's own Adam are among these and the extras."""
    import torch

    return {name: getattr(torch.optim, name) for name in ("AdamW", "Adam", "Adagrad", "SGD", "RMSprop")}


def _compiled() -> set[str]:
    """DeepSpeed's own optimizers, in lower case; whose arguments are theirs to refuse."""
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS

    return set(DEEPSPEED_OPTIMIZERS)


def _schedulers() -> dict[str, Any]:
    from deepspeed.runtime import lr_schedules

    return {name: getattr(lr_schedules, name) for name in lr_schedules.VALID_LR_SCHEDULES}


def _unknown(at: str, key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else "remove it"
    return f"{at}: unknown to the installed DeepSpeed, which would take no notice of it; {hint}"
