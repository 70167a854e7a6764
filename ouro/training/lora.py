"""Stage two of OURO (section 3.2): LoRA on full image + k regions with L_desc + L_qa, through transformers' Trainer."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback

from ouro.core.adapter_files import find_adapter_problems
from ouro.core.files import sync
from ouro.core.json_text import parse_json
from ouro.core.params import Train
from ouro.training import zero
from ouro.training.adapter_file import adapter_config, check_adapter, check_lora, check_vllm_names
from ouro.training.attention import use_attention
from ouro.training.checkpoints import checkpoint_key, last_checkpoint, lock_training
from ouro.training.job import (
    NO_SAMPLES,
    OnLog,
    OutOfMemory,
    TrainingError,
    TrainingJob,
    TrainSummary,
    split_micro_batches,
)
from ouro.training.rows import RowDataset
from ouro.training.trainer import Collator, JointTrainer, ReportCallback, loss_curve, training_arguments
from ouro.vision.encoding import Encoder
from ouro.vision.hf import load_model
from ouro.vision.probe import adapter_changes_output

# Keys of adapter_config.json by which the weights of LoRA mean something else, or are not all there is.
_NOT_PLAIN = (
    "bias", "use_rslora", "use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "init_lora_weights",
    "layers_to_transform", "exclude_modules", "trainable_token_indices", "lora_bias", "target_parameters",
    "use_qalora", "fan_in_fan_out", "layer_replication", "alora_invocation_tokens",
)  # fmt: skip


def train_adapter(job: TrainingJob, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """Train a LoRA adapter and write it to `job.out` (safetensors + adapter_config.json), atomically.

    The checkpoints' subfolder is named by a hash of everything the result depends on, code included; a killed run
    resumes from the last checkpoint in it. `discard_checkpoints` removes it once the adapter is stored. A step that
    does not fit into memory is repeated, from the last checkpoint, with micro-batches in twice as many pieces: the same
    gradients, up to rounding. Raises TrainingError when there are no samples, when another process runs the same
    training, when the loss is not finite, when memory is too small for one image, or when the trained adapter does not
    change the model's output.
    """
    while True:
        try:
            return train_once(job, on_log)
        except OutOfMemory as error:
            job = split_micro_batches(job, error)


def train_once(job: TrainingJob, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """As `train_adapter`, but a step that does not fit into memory raises OutOfMemory."""
    if not len(job.samples):
        raise TrainingError(NO_SAMPLES)
    work = job.checkpoints / checkpoint_key(job)
    with lock_training(work):
        return _train(job, work, on_log)


def _train(job: TrainingJob, work: Path, on_log: OnLog) -> TrainSummary:
    deepspeed = zero.deepspeed_config(job.params.deepspeed) if job.params.deepspeed else None
    trainer_args = training_arguments(job.params, work, job.seed, deepspeed)
    zero.join_processes(
        deepspeed
    )  # this and the arguments come before the model, which ZeRO-3 splits while it is loaded
    model, encoder = _load_lora_model(job)
    trainer = JointTrainer(
        params=job.params,
        pad=encoder.pad,
        pieces=job.pieces,
        model=model,
        args=trainer_args,
        train_dataset=RowDataset(job, encoder),  # type: ignore[arg-type]
        data_collator=Collator(encoder.pad, job.params.row_tokens),
        callbacks=[ReportCallback(on_log)],
    )
    trainer.remove_callback(PrinterCallback)
    zero.check_enabled(trainer, deepspeed)
    checkpoint = last_checkpoint(work, job.params.processes)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:
        if _is_out_of_memory(error):
            raise OutOfMemory(str(error).splitlines()[0]) from None
        raise
    model.eval()
    if not adapter_changes_output(model, encoder):
        raise TrainingError("the trained adapter does not change the model's output; is the learning rate too small?")
    with zero.gathered(model):
        if trainer.is_world_process_zero():
            _save(model, job)
    trainer.accelerator.wait_for_everyone()
    return _summarize(job, model, trainer)


def _load_lora_model(job: TrainingJob) -> tuple[Any, Encoder]:
    """The base with LoRA on the modules that get it, and its encoder."""
    on_gpu, params = torch.cuda.is_available(), job.params
    dtype = "bfloat16" if on_gpu and params.bf16 else "float32"  # autocast does the rest; LoRA itself stays float32
    model, processor = load_model(job.base, dtype, quantization=params.quantization)
    use_attention(model, params.attention)
    torch.manual_seed(job.seed)
    lora_model = get_peft_model(model, _lora_config(model, params))
    if job.start:
        _load_start_adapter(lora_model, job.start)
    return lora_model, Encoder(processor, params.min_pixels)


def _load_start_adapter(model: Any, start: Path) -> None:
    """Load the weights of adapter `start`. Raises TrainingError if its rank, alpha or target modules differ."""
    if zero.is_split(model):
        raise TrainingError(
            "train.from champion: got ZeRO-3, expected zero2 or no DeepSpeed. Fix: train.deepspeed=zero2"
        )
    if problems := find_adapter_problems(start):
        raise TrainingError("\n  ".join([f"train.from champion: adapter {start}: refused", *problems]))
    if differences := find_start_differences(model.peft_config["default"], adapter_config(start)):
        raise TrainingError(
            f"train.from champion: {start} has {', '.join(differences)[:300]}, and the params ask for another. Fix: "
            "give train.rank, train.alpha and the modules that get LoRA its values, or set train.from=base"
        )
    _reload(model, start)


def find_start_differences(config: LoraConfig, start: Mapping[str, Any]) -> list[str]:
    """What an adapter_config.json says otherwise than the LoRA that is trained here, which is plain: without it the
    adapter's weights would be loaded and mean something else."""
    expected: dict[str, Any] = {"peft_type": "LORA", "r": config.r, "lora_alpha": config.lora_alpha}
    actual = {name: start.get(name) for name in expected}
    expected |= {"target_modules": _list_modules(config.target_modules), **{name: None for name in _NOT_PLAIN}}
    actual |= {"target_modules": _list_modules(start.get("target_modules"))}
    actual |= {name: _unless_plain(name, start.get(name)) for name in _NOT_PLAIN}
    return [f"{name} {actual[name]}" for name in expected if actual[name] != expected[name]]


def _unless_plain(name: str, value: Any) -> Any:
    """None for a value by which LoRA is what it is without that key."""
    plain = {"bias": "none", "init_lora_weights": True}.get(name)
    return None if not value or value == plain else value


def _list_modules(modules: Any) -> list[str]:
    """Target modules as a sorted list; peft stores a set, a list or a pattern."""
    return [modules] if isinstance(modules, str) else sorted(modules or ())


def _lora_config(model: Any, params: Train) -> LoraConfig:
    return LoraConfig(
        r=params.rank, lora_alpha=params.alpha, lora_dropout=0.0, target_modules=target_modules(model, params),
        task_type="CAUSAL_LM",
    )  # fmt: skip


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _summarize(job: TrainingJob, model: Any, trainer: JointTrainer) -> TrainSummary:
    trainable, parameters = model.get_nb_trainable_parameters()
    curve = loss_curve(trainer.state.log_history)
    tokens = int(curve[-1]["tokens"]) if curve else 0
    notes = () if job.pieces == 1 else (f"out of memory: each micro-batch was trained in {job.pieces} pieces",)
    return TrainSummary(trainer.state.global_step, len(job.samples), trainable, parameters, tokens, curve, notes)


def _save(model: Any, job: TrainingJob) -> None:
    out = job.out
    partial = out.with_name(out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, safe_serialization=True)
    check_adapter(partial)
    check_lora(partial, job.params.rank, job.params.alpha)
    check_vllm_names(partial, model.get_base_model())
    if not zero.is_split(model):
        _reload(model, partial)
    (partial / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = partial / "adapter_config.json"
    config.write_text(json.dumps(_sort_target_modules(parse_json(config.read_text())), indent=2, sort_keys=True) + "\n")
    sync(*partial.iterdir(), partial)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)
    sync(out.parent)


def _reload(model: Any, adapter: Path) -> None:
    """Load a saved adapter into the model through peft. Raises TrainingError for keys that do not match, which peft
    itself ignores without an error."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    result = set_peft_model_state_dict(model, load_file(adapter / "adapter_model.safetensors"))
    unmatched = [*result.unexpected_keys, *(key for key in result.missing_keys if "lora_" in key)]
    if unmatched:
        raise TrainingError(
            f"{adapter}: {len(unmatched)} weights do not load again through peft, such as {unmatched[0]}"
        )


def _sort_target_modules(config: dict[str, Any]) -> dict[str, Any]:
    """adapter_config with its target modules sorted, so that the same training writes the same bytes."""
    return {k: sorted(v) if k == "target_modules" and isinstance(v, list) else v for k, v in config.items()}


# Module names in transformers' Qwen2-VL, Qwen2.5-VL and Qwen3-VL: `model.visual.*`, which contains `merger` and
# Qwen3-VL's `deepstack_merger_list`, and `model.language_model.*`.

PARTS = ("language", "merger", "vision")


def part_of(name: str) -> str:
    """The part ("language", "merger" or "vision") of a module's full name."""
    if not re.search(r"(^|\.)visual\.", name):
        return "language"
    return "merger" if re.search(r"\.(merger|deepstack_merger_list)\.", name) else "vision"


def target_modules(model: Any, params: Train) -> str | list[str]:
    """peft's target_modules: every linear layer, except the output layer, of the parts that get LoRA.

    "all-linear" when all parts get it; else full module names. Raises TrainingError when all parts are frozen.
    """
    import torch

    lora_parts = {part for part in PARTS if getattr(params, part) == "lora"}
    if len(lora_parts) == len(PARTS):
        return "all-linear"
    output = model.get_output_embeddings()
    names = [
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and part_of(name) in lora_parts
    ]  # fmt: skip
    if not names:
        raise TrainingError(
            "train.language, train.merger and train.vision are all frozen; expected one of them to be lora: there "
            "would be nothing to train"
        )
    return names
