"""What a DeepSpeed file may say: https://www.deepspeed.ai/docs/config-json/

DeepSpeedConfig refuses wrong values, what it has dropped, and unknown keys of most sections, but the first fault ends
it, and elsewhere it takes unknown keys in silence. So it is given one section after the other, and the other keys are
those listed here; tests/test_zero.py holds the lists to the installed DeepSpeed.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TOP_LEVEL = frozenset(
    """
    activation_checkpointing aio autotuning bf16 bfloat16 checkpoint comet comms_logger communication_data_type
    compile csv_monitor data_efficiency data_types dataloader_drop_last datastates_ckpt disable_allgather
    disable_python_gc dump_state expert_parallel flops_profiler fp16 gradient_accumulation_steps
    gradient_allreduce_op gradient_clipping gradient_predivide_factor hybrid_engine log_level
    managed_gradient_accumulation memory_breakdown optimizer pipeline prescale_gradients scheduler
    seq_parallel_communication_data_type steps_per_print tensor_parallel tensorboard timers torch_autocast
    train_batch_size train_micro_batch_size_per_gpu use_data_before_expert_parallelism vocabulary_size
    wall_clock_breakdown wandb weight_quantization zero_allow_untested_optimizer zero_force_ds_cpu_optimizer
    zero_optimization
    """.split()
)
# Sections whose keys DeepSpeed does not check itself.
KEYS = {
    "activation_checkpointing": {
        "partition_activations", "contiguous_memory_optimization", "cpu_checkpointing", "number_checkpoints", "profile",
        "synchronize_checkpoint_boundary",
    },
    "aio": {"block_size", "intra_op_parallelism", "overlap_events", "queue_depth", "single_submit", "use_gds"},
    "checkpoint": {
        "checkpoint_serialization", "load_universal", "parallel_write", "tag_validation", "use_node_local_storage",
        "writer",
    },
    "data_types": {"buffer_dtype", "grad_accum_dtype", "keep_in_fp32_modules", "param_dtype"},
    "flops_profiler": {
        "detailed", "enabled", "module_depth", "output_file", "profile_step", "recompute_fwd_factor", "top_modules",
    },
    "optimizer": {"type", "params", "legacy_fusion"},
    "scheduler": {"type", "params"},
    "timers": {"throughput"},
}  # fmt: skip
# What transformers fills in where a file says "auto" (integrations/deepspeed.py, HfTrainerDeepSpeedConfig, 5.23), and
# who decides it.
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
ADAM_EXTRAS = ("torch_adam", "adam_w_mode", "max_grad_norm")  # DeepSpeed's engine takes them out of Adam's params


def problems(config: Mapping[str, Any]) -> list[str]:
    """All that is wrong with the contents of a DeepSpeed file, one line each; [] for a good one."""
    zero = config.get("zero_optimization")
    if zero is None:
        lines = ['zero_optimization: missing; expected a section with its stage, e.g. {"stage": 2}']
    else:
        lines = list(_section("zero_optimization", zero, {}))
    beside = {} if lines else {"zero_optimization": zero}  # some sections are only good with a stage
    for name, value in config.items():
        if name != "zero_optimization" and value != "auto":
            lines += _section(name, value, beside)
    return [*lines, *(line for path, value in _leaves(config) for line in _auto(path, value))]


def _section(name: str, value: Any, beside: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one key of the file."""
    error = _error({**beside, name: value})
    if error is not None:
        yield from _explain(name, value, error)
    elif name not in TOP_LEVEL:
        yield _unknown(name, TOP_LEVEL)
    elif name in KEYS:
        yield from (_unknown(f"{name}.{key}", KEYS[name]) for key in value if key not in KEYS[name])
        yield from _arguments(name, value) if name in ("optimizer", "scheduler") else ()


def _error(config: Mapping[str, Any]) -> Exception | None:
    from deepspeed import DeepSpeedConfig

    try:
        DeepSpeedConfig({"train_micro_batch_size_per_gpu": 1, **config})
    except Exception as error:  # each part of DeepSpeed raises its own
        return error
    return None


def _explain(name: str, value: Any, error: Exception) -> Iterator[str]:
    """DeepSpeed's error, with the key that it is about."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from pydantic import ValidationError

    if not isinstance(value, dict) and _error({name: {}}) is None:
        yield f"{name}: got {value!r}, expected a section, {{...}}"
    elif not isinstance(error, ValidationError):
        yield f"{name}: {str(error).strip()}"
    else:
        fields = DeepSpeedZeroConfig.model_fields if name == "zero_optimization" else ()
        for e in error.errors():
            path = ".".join(map(str, e["loc"] if e["loc"][:1] == (name,) else (name, *e["loc"])))
            yield (
                _unknown(path, fields) if e["type"] == "extra_forbidden" else f"{path}: got {e['input']!r}, {e['msg']}"
            )


def _auto(path: str, value: Any) -> Iterator[str]:
    """ "auto" where nobody fills it in, and numbers that params.yaml decides."""
    if path in OURS and value != "auto" and not (path == "fp16.enabled" and value is False):
        yield f'{path}: got {value!r}, expected "auto" or no such key; {OURS[path]} decides it'
    elif value == "auto" and path not in AUTO:
        yield f'{path}: got "auto", which nobody fills in; expected a value, or no such key'


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _arguments(name: str, section: Mapping[str, Any]) -> Iterator[str]:
    """Type and params of an optimizer or a scheduler. Their classes refuse them, too, but once the model is loaded."""
    classes, params = _classes(name), section.get("params", {})
    kind = str(section.get("type")).lower()
    if kind not in {n.lower() for n in classes}:
        yield f"{name}.type: got {section.get('type')!r}, expected one of {', '.join(sorted(classes))}"
    elif not isinstance(params, dict):
        yield f"{name}.params: got {params!r}, expected a section, {{...}}"
    elif factory := next((c for n, c in classes.items() if n.lower() == kind and c is not None), None):
        names = {*inspect.signature(factory).parameters, *(ADAM_EXTRAS if kind.startswith("adam") else ())}
        yield from (_unknown(f"{name}.params.{key}", names) for key in params if key not in names - {"params"})


def _classes(name: str) -> dict[str, Any]:
    """By name; torch's optimizers build without a compiler, DeepSpeed's own (None) refuse arguments themselves."""
    import torch
    from deepspeed.runtime import lr_schedules
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS

    if name == "scheduler":
        return {n: getattr(lr_schedules, n) for n in lr_schedules.VALID_LR_SCHEDULES}
    torchs = {n: getattr(torch.optim, n) for n in ("AdamW", "Adam", "Adagrad", "SGD", "RMSprop")}
    return torchs | dict.fromkeys({*DEEPSPEED_OPTIMIZERS} - {n.lower() for n in torchs})


def _unknown(path: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(path.rpartition(".")[2], sorted(names), 1)
    hint = f"did you mean {near[0]!r}?" if near else "remove it"
    return f"{path}: unknown to the installed DeepSpeed, which would take no notice of it; {hint}"
