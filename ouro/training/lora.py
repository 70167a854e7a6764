"""Stage two of OURO (section 3.2): LoRA on full image + k regions with L_desc + L_qa, through transformers' Trainer."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ouro.params import Train
from ouro.training import zero
from ouro.training.adapter_file import check_adapter, check_vllm_names
from ouro.training.attention import use_attention
from ouro.training.losses import joint_loss
from ouro.training.packing import Batch, collate
from ouro.training.samples import NOTHING, Encoded, Job, OnLog, Rows, TrainingError, TrainSummary, checkpoint_key
from ouro.vision.encoding import Encoder
from ouro.vision.hf import adapter_changes_output, load_model

LOCK_SECONDS = 60  # longer than the workers of a killed parent need to notice


def train_adapter(job: Job, on_log: OnLog = lambda step, of, values: None) -> TrainSummary:
    """Train a LoRA adapter and write it to `job.out` (safetensors + adapter_config.json), atomically.

    The checkpoints' subfolder is named after everything that decides the result, code included, and a killed run
    continues from the last one. It is left to `discard_checkpoints`, once the adapter is safe. Raises TrainingError
    when there is nothing to train on, when another process is at the same training, when the loss is no number, or
    when the finished adapter changes nothing.
    """
    if not job.samples:
        raise TrainingError(NOTHING)
    work = job.checkpoints / checkpoint_key(job)
    with _alone(work):
        return _train(job, work, on_log)


@contextmanager
def _alone(work: Path) -> Generator[None]:
    """Hold the lock of this very training (the first process does); the system frees it when the holder dies."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise TrainingError(
            f"{work}: another process has been at this very training for {LOCK_SECONDS} s and more; wait for it to "
            "end, or end it"
        ) from error


def _train(job: Job, work: Path, on_log: OnLog) -> TrainSummary:
    deepspeed = zero.deepspeed_config(job.params.deepspeed) if job.params.deepspeed else None
    arguments = _arguments(job.params, work, job.seed, deepspeed)
    zero.join(deepspeed)  # both before the model, which ZeRO-3 splits at loading
    model, processor = load_model(job.base)
    use_attention(model, job.params.attention)
    encoder = Encoder(processor)
    torch.manual_seed(job.seed)
    model = get_peft_model(model, _lora(job.params))
    trainer = _JointTrainer(
        params=job.params,
        model=model,
        args=arguments,
        train_dataset=Rows(job, encoder),  # type: ignore[arg-type]
        data_collator=_Collator(encoder.pad, job.params.row_tokens),
        callbacks=[_Report(on_log)],
    )
    trainer.remove_callback(PrinterCallback)
    zero.watch(trainer, deepspeed)
    trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    model.eval()
    if not adapter_changes_output(model):
        raise TrainingError("the trained adapter does not change the model's output; is the learning rate too small?")
    with zero.gathered(model):
        if trainer.is_world_process_zero():
            _save(model, job.out)
    trainer.accelerator.wait_for_everyone()
    trainable, parameters = model.get_nb_trainable_parameters()
    curve = tuple(h for h in trainer.state.log_history if "loss_desc" in h)
    tokens = int(curve[-1]["tokens"]) if curve else 0
    return TrainSummary(trainer.state.global_step, len(job.samples), trainable, parameters, tokens, curve)


def _lora(params: Train) -> LoraConfig:
    return LoraConfig(
        r=params.rank, lora_alpha=params.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _arguments(params: Train, work: Path, seed: int, deepspeed: dict[str, Any] | None = None) -> TrainingArguments:
    alone = params.processes == 1 and deepspeed is None
    return TrainingArguments(
        deepspeed=deepspeed,
        output_dir=str(work),
        num_train_epochs=1,  # Rows lays the epochs end to end
        per_device_train_batch_size=params.batch_size,
        gradient_accumulation_steps=params.accumulation,
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_ratio,  # a value below 1 is read as a ratio
        bf16=params.bf16,
        use_cpu=not torch.cuda.is_available(),
        ddp_backend=None if torch.cuda.is_available() or alone else "gloo",
        ddp_find_unused_parameters=False,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=math.gcd(10, params.save_steps),  # a checkpoint falls between two logs never within one
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
    def __init__(self, pad: int, row_tokens: int) -> None:
        self.pad, self.row_tokens = pad, row_tokens

    def __call__(self, encoded: Sequence[Encoded]) -> dict[str, Any]:
        """`encoded`: images; each may be several rows, with its pictures in each of them."""
        shown = [(row, e.pixels) for e in encoded for row in e.rows]
        batch, order = collate([row for row, _ in shown], self.pad, self.row_tokens)
        pixels = {k: torch.cat([shown[i][1][k] for i in order]) for k in encoded[0].pixels}
        return {**batch._asdict(), **pixels}


class _JointTrainer(Trainer):
    """Trainer whose loss is L_desc + L_qa on packed rows; both are logged apart, as means over processes."""

    def __init__(self, *, params: Train, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params = params
        self.parts = torch.zeros(4)  # since the last log: L_desc, L_qa, steps; and this process's tokens
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        batch = Batch(*(inputs[name] for name in Batch._fields))
        pixels = {k: v for k, v in inputs.items() if k not in Batch._fields}
        loss = joint_loss(model, batch, pixels, self.params.weight_desc, self.params.weight_qa)
        if not bool(torch.isfinite(loss.total.detach())):
            raise TrainingError(
                f"step {self.state.global_step + 1}: the loss is {float(loss.total.detach())}; lower "
                "train.learning_rate, or look for broken images among this step's"
            )
        tokens = float(batch.counts[0])
        self.parts += torch.tensor([float(loss.desc), float(loss.qa), 1.0, tokens])
        return (loss.total, {}) if return_outputs else loss.total

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.parts[2] > 0 and "loss" in logs:
            parts = self.parts.clone()
            if torch.distributed.is_initialized():
                parts = parts.to(self.args.device)
                torch.distributed.all_reduce(parts)
            desc, qa, n, tokens = parts.tolist()
            before = next((h["tokens"] for h in reversed(self.state.log_history) if "tokens" in h), 0.0)
            logs |= {"loss_desc": desc / n, "loss_qa": qa / n, "tokens": before + tokens}
            self.parts = torch.zeros(4)
        super().log(logs, *args, **kwargs)


class _Report(TrainerCallback):
    def __init__(self, report: OnLog) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps, {})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        self.report(state.global_step, state.max_steps, {k: v for k, v in (logs or {}).items() if k != "epoch"})


def _last_checkpoint(work: Path) -> str | None:
    """The newest complete checkpoint: the Trainer writes its state file last."""
    found = [p for p in work.glob("checkpoint-*") if _complete(p)]
    return str(max(found, key=lambda p: int(p.name.rsplit("-", 1)[1]))) if found else None


def _complete(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return zero.is_complete(folder) or ((folder / "optimizer.pt").is_file() and (folder / "scheduler.pt").is_file())


def _save(model: Any, out: Path) -> None:
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, safe_serialization=True)
    check_adapter(part)
    check_vllm_names(part, model.get_base_model())
    (part / "README.md").unlink(missing_ok=True)  # peft's empty model card
    config = part / "adapter_config.json"
    config.write_text(json.dumps(_portable(json.loads(config.read_text())), indent=2, sort_keys=True) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """An adapter_config with its sets in order, so that the same training writes the same bytes."""
    return {k: sorted(v) if k == "target_modules" and isinstance(v, list) else v for k, v in config.items()}
