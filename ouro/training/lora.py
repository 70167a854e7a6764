"""Stage two of OURO (section 3.2): LoRA on full image + k regions with L_desc + L_qa, through transformers' Trainer."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback

from ouro.core.files import sync
from ouro.core.params import Train
from ouro.training import zero
from ouro.training.adapter_file import check_adapter, check_lora, check_vllm_names
from ouro.training.attention import use_attention
from ouro.training.checkpoints import alone, checkpoint_key, last_checkpoint
from ouro.training.job import NOTHING, Job, OnLog, OutOfMemory, TrainingError, TrainSummary, in_smaller_pieces
from ouro.training.rows import Rows
from ouro.training.trainer import Collator, JointTrainer, Report, arguments, steady
from ouro.vision.encoding import Encoder
from ouro.vision.hf import adapter_changes_output, load_model


def train_adapter(job: Job, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """Train a LoRA adapter and write it to `job.out` (safetensors + adapter_config.json), atomically.

    The checkpoints' subfolder is named after everything that decides the result, code included, and a killed run
    continues from the last one. It is left to `discard_checkpoints`, once the adapter is safe. A step that does not
    fit into memory is repeated, from the last checkpoint, with micro-batches in twice as many pieces: the same
    gradients, up to rounding. Raises TrainingError when there is nothing to train on, when another process is at the
    same training, when the loss is no number, when memory is too small for one image, or when the finished adapter
    changes nothing.
    """
    while True:
        try:
            return train_once(job, on_log)
        except OutOfMemory as error:
            job = in_smaller_pieces(job, error)


def train_once(job: Job, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """As `train_adapter`, but a step that does not fit raises OutOfMemory."""
    if not len(job.samples):
        raise TrainingError(NOTHING)
    work = job.checkpoints / checkpoint_key(job)
    with alone(work):
        return _train(job, work, on_log)


def _train(job: Job, work: Path, on_log: OnLog) -> TrainSummary:
    deepspeed = zero.deepspeed_config(job.params.deepspeed) if job.params.deepspeed else None
    told = arguments(job.params, work, job.seed, deepspeed)
    zero.join(deepspeed)  # both before the model, which ZeRO-3 splits at loading
    model, encoder = _prepared(job)
    trainer = JointTrainer(
        params=job.params,
        pad=encoder.pad,
        pieces=job.pieces,
        model=model,
        args=told,
        train_dataset=Rows(job, encoder),  # type: ignore[arg-type]
        data_collator=Collator(encoder.pad, job.params.row_tokens),
        callbacks=[Report(on_log)],
    )
    trainer.remove_callback(PrinterCallback)
    zero.watch(trainer, deepspeed)
    last = last_checkpoint(work, job.params.processes)
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
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
    return _summary(job, model, trainer)


def _prepared(job: Job) -> tuple[Any, Encoder]:
    """The base with LoRA on the parts that wear it, and its encoder."""
    on_gpu, params = torch.cuda.is_available(), job.params
    dtype = "bfloat16" if on_gpu and params.bf16 else "float32"  # autocast does the rest; LoRA itself stays float32
    model, processor = load_model(job.base, dtype, quantization=params.quantization)
    use_attention(model, params.attention)
    torch.manual_seed(job.seed)
    made = get_peft_model(model, _lora(model, params))
    if job.start:
        _wear(made, job.start)
    return made, Encoder(processor, params.min_pixels)


def _wear(model: Any, start: Path) -> None:
    """Begin with the weights of `start`. Raises TrainingError unless it is an adapter of the same form."""
    if zero.is_split(model):
        raise TrainingError(
            "train.from champion: got ZeRO-3, expected zero2 or no DeepSpeed. Fix: train.deepspeed=zero2"
        )
    own, theirs = model.peft_config["default"], json.loads((start / "adapter_config.json").read_text())
    wanted = {"r": own.r, "lora_alpha": own.lora_alpha, "target_modules": _listed(own.target_modules)}
    found = {**{name: theirs.get(name) for name in wanted}, "target_modules": _listed(theirs.get("target_modules"))}
    if found != wanted:
        different = ", ".join(f"{name} {found[name]}" for name in wanted if found[name] != wanted[name])
        raise TrainingError(
            f"train.from champion: {start} has {different[:300]}, and the params ask for another. Fix: give "
            "train.rank, train.alpha and the parts that wear LoRA its values, or set train.from=base"
        )
    _reload(model, start)


def _listed(modules: Any) -> list[str]:
    """Target modules, which peft has as a set, a list or a pattern."""
    return [modules] if isinstance(modules, str) else sorted(modules or ())


def _lora(model: Any, params: Train) -> LoraConfig:
    return LoraConfig(
        r=params.rank, lora_alpha=params.alpha, lora_dropout=0.0, target_modules=target_modules(model, params),
        task_type="CAUSAL_LM",
    )  # fmt: skip


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _summary(job: Job, model: Any, trainer: JointTrainer) -> TrainSummary:
    trainable, parameters = model.get_nb_trainable_parameters()
    curve = steady(trainer.state.log_history)
    tokens = int(curve[-1]["tokens"]) if curve else 0
    notes = () if job.pieces == 1 else (f"out of memory: each micro-batch was trained in {job.pieces} pieces",)
    return TrainSummary(trainer.state.global_step, len(job.samples), trainable, parameters, tokens, curve, notes)


def _save(model: Any, job: Job) -> None:
    out = job.out
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, safe_serialization=True)
    check_adapter(part)
    check_lora(part, job.params.rank, job.params.alpha)
    check_vllm_names(part, model.get_base_model())
    if not zero.is_split(model):
        _reload(model, part)
    (part / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = part / "adapter_config.json"
    config.write_text(json.dumps(_portable(json.loads(config.read_text())), indent=2, sort_keys=True) + "\n")
    sync(*part.iterdir(), part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)
    sync(out.parent)


def _reload(model: Any, saved: Path) -> None:
    """Load what was saved through peft into the model. Raises TrainingError when a key finds no place: peft would let
    that pass in silence."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    found = set_peft_model_state_dict(model, load_file(saved / "adapter_model.safetensors"))
    lost = [*found.unexpected_keys, *(key for key in found.missing_keys if "lora_" in key)]
    if lost:
        raise TrainingError(f"{saved}: {len(lost)} weights do not load again through peft, such as {lost[0]}")


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """An adapter_config with its sets in order, so that the same training writes the same bytes."""
    return {k: sorted(v) if k == "target_modules" and isinstance(v, list) else v for k, v in config.items()}


# Names of modules are those of transformers' Qwen2-VL, Qwen2.5-VL and Qwen3-VL: `model.visual.*`, in it `merger` and
# Qwen3-VL's `deepstack_merger_list`, and `model.language_model.*`.

PARTS = ("language", "merger", "vision")


def part_of(name: str) -> str:
    """Which part a module's full name belongs to."""
    if not re.search(r"(^|\.)visual\.", name):
        return "language"
    return "merger" if re.search(r"\.(merger|deepstack_merger_list)\.", name) else "vision"


def target_modules(model: Any, params: Train) -> str | list[str]:
    """peft's target_modules: every linear layer of the parts that wear LoRA, but the output layer.

    "all-linear" where all do; else the full names. Raises TrainingError when all are frozen.
    """
    import torch

    worn = {part for part in PARTS if getattr(params, part) == "lora"}
    if len(worn) == len(PARTS):
        return "all-linear"
    output = model.get_output_embeddings()
    names = [
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and part_of(name) in worn
    ]  # fmt: skip
    if not names:
        raise TrainingError(
            "train.language, train.merger and train.vision are all frozen; expected one of them to be lora: there "
            "would be nothing to train"
        )
    return names
