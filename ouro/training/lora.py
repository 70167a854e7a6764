"""Stage two of OURO (section 3.2): LoRA on full image + k regions with L_desc + L_qa, through transformers' Trainer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ouro.params import Train
from ouro.training.losses import joint_loss
from ouro.training.packing import Batch, collate
from ouro.training.samples import Encoded, OnLog, Rows, Sample, TrainSummary
from ouro.vision.encoding import Encoder
from ouro.vision.hf import adapter_changes_output, folder_fingerprint, load_model


class TrainingError(ValueError):
    """Training cannot start, or did not do what it should have."""


def train_adapter(
    samples: Sequence[Sample],
    *,
    images: Path,
    base: str | Path,
    out: Path,
    params: Train,
    prompt: str,
    seed: int,
    checkpoints: Path,
    on_log: OnLog = lambda step, of, values: None,
) -> TrainSummary:
    """Train a LoRA adapter and write it to `out` (safetensors + adapter_config.json), atomically.

    `prompt` asks for the description. Checkpoints go to a subfolder of `checkpoints` named after everything that
    decides the result, and a killed run continues from the last one. Raises TrainingError when there is nothing
    to train on, or when the finished adapter changes nothing.
    """
    if not samples:
        raise TrainingError("no training samples: data/scenes and data/qa are empty; look at their .rejected.parquet")
    model, processor = load_model(base)
    encoder = Encoder(processor)
    torch.manual_seed(seed)
    model = get_peft_model(model, _lora(params))
    rows = Rows(samples, images, encoder, params, prompt, seed)
    work = checkpoints / _key(samples, base, params, prompt, seed)
    trainer = _JointTrainer(
        params=params,
        model=model,
        args=_arguments(params, work, seed),
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=_Collator(encoder.pad),
        callbacks=[_Report(on_log)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    model.eval()
    if not adapter_changes_output(model):
        raise TrainingError("the trained adapter does not change the model's output; is the learning rate too small?")
    if trainer.is_world_process_zero():
        _save(model, out)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        shutil.rmtree(work, ignore_errors=True)
    trainable, parameters = model.get_nb_trainable_parameters()
    curve = tuple(h for h in trainer.state.log_history if "loss_desc" in h)
    return TrainSummary(trainer.state.global_step, len(samples), trainable, parameters, trainer.tokens, curve)


def _lora(params: Train) -> LoraConfig:
    return LoraConfig(
        r=params.rank, lora_alpha=params.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _arguments(params: Train, work: Path, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=1,  # Rows lays the epochs end to end
        per_device_train_batch_size=params.batch_size,
        gradient_accumulation_steps=params.accumulation,
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_ratio,  # a value below 1 is read as a ratio
        bf16=params.bf16,
        use_cpu=not torch.cuda.is_available(),
        ddp_backend=None if torch.cuda.is_available() or params.processes == 1 else "gloo",
        ddp_find_unused_parameters=False,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=10,
        save_steps=params.save_steps,
        save_total_limit=1,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        dataloader_num_workers=params.workers,
        dataloader_persistent_workers=params.workers > 0,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


class _Collator:
    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, encoded: Sequence[Encoded]) -> dict[str, Any]:
        batch = collate([e.row for e in encoded], self.pad)
        pixels = {k: torch.cat([e.pixels[k] for e in encoded]) for k in encoded[0].pixels}
        return {**batch._asdict(), **pixels}


class _JointTrainer(Trainer):
    """Trainer whose loss is L_desc + L_qa on packed rows; both are logged apart."""

    def __init__(self, *, params: Train, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params = params
        self.parts: list[tuple[float, float]] = []
        self.tokens = 0
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch = Batch(*(inputs[name] for name in Batch._fields))
        pixels = {k: v for k, v in inputs.items() if k not in Batch._fields}
        loss = joint_loss(model, batch, pixels, self.params.weight_desc, self.params.weight_qa)
        self.parts.append((float(loss.desc), float(loss.qa)))
        self.tokens += int((batch.positions[0] > 0).sum())
        return (loss.total, {}) if return_outputs else loss.total

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.parts and "loss" in logs:
            desc, qa = zip(*self.parts, strict=True)
            logs |= {"loss_desc": sum(desc) / len(desc), "loss_qa": sum(qa) / len(qa), "tokens": float(self.tokens)}
            self.parts = []
        super().log(logs, *args, **kwargs)


class _Report(TrainerCallback):
    def __init__(self, report: OnLog) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps, {})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        self.report(state.global_step, state.max_steps, {k: v for k, v in (logs or {}).items() if k != "epoch"})


def _key(samples: Sequence[Sample], base: str | Path, params: Train, prompt: str, seed: int) -> str:
    """Content address of a training run: resuming is only right for the very same one."""
    digest = hashlib.sha256(repr((folder_fingerprint(base), params.model_dump_json(), prompt, seed)).encode())
    for sample in samples:
        digest.update(repr(sample).encode())
    return digest.hexdigest()[:24]


def _last_checkpoint(work: Path) -> str | None:
    """The newest complete checkpoint: the Trainer writes its state file last."""
    found = [p for p in work.glob("checkpoint-*") if _complete(p)]
    return str(max(found, key=lambda p: int(p.name.rsplit("-", 1)[1]))) if found else None


def _complete(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return (folder / "optimizer.pt").is_file() and (folder / "scheduler.pt").is_file()


def _save(model: Any, out: Path) -> None:
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, safe_serialization=True)
    if (part / "adapter_model.safetensors").stat().st_size < 1024:
        raise TrainingError(f"{part}: the saved adapter is empty")
    (part / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = part / "adapter_config.json"
    config.write_text(json.dumps(_portable(json.loads(config.read_text())), indent=2, sort_keys=True) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """An adapter_config with its sets in order, so that the same training writes the same bytes."""
    return {k: sorted(v) if k == "target_modules" and isinstance(v, list) else v for k, v in config.items()}
