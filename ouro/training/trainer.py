"""transformers' Trainer with the joint loss on packed rows: what it is told, what a step sees, what it logs."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from ouro.core.params import Train
from ouro.training.checkpoints import keep_only, last_checkpoint, sync_checkpoint
from ouro.training.job import OnLog, TrainingError
from ouro.training.losses import JointLoss, joint_loss, task_weights
from ouro.training.meter import Meter
from ouro.training.packing import Batch, collate, taken_apart
from ouro.training.rows import Encoded

# What of a log depends on nothing but the job; the rest is about time and machine.
STEADY = ("step", "loss", "loss_desc", "loss_qa", "learning_rate", "grad_norm", "tokens", "padding", "saved_by_sharing")


def arguments(params: Train, work: Path, seed: int, deepspeed: dict[str, Any] | None = None) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
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
        use_cpu=not on_gpu,
        ddp_backend=None if on_gpu or alone else "gloo",
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # there are none that change; and a forward of one process alone would wait
        gradient_checkpointing=params.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=math.gcd(10, params.save_steps),  # a checkpoint falls between two logs never within one
        save_steps=params.save_steps,
        save_total_limit=None,  # `keep_only` removes the older one
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        dataloader_num_workers=params.workers,
        dataloader_persistent_workers=params.workers > 0,
        dataloader_pin_memory=on_gpu,
    )


class Collator:
    """Images to one batch: rows laid end to end, pictures in the order in which the rows hold them."""

    def __init__(self, pad: int, row_tokens: int) -> None:
        self.pad, self.row_tokens = pad, row_tokens

    def __call__(self, encoded: Sequence[Encoded]) -> dict[str, Any]:
        """`encoded`: images; each may be several rows, with its pictures in each of them."""
        shown = [(row, e) for e in encoded for row in e.rows]
        batch, order = collate([row for row, _ in shown], self.pad, self.row_tokens)
        pixels = {k: torch.cat([shown[i][1].pixels[k] for i in order]) for k in encoded[0].pixels}
        counts = torch.tensor([len(shown[i][1].pixels["image_grid_thw"]) for i in order])
        return {**batch._asdict(), **pixels, "pictures": counts, "image_ids": [shown[i][1].image_id for i in order]}


class MicroBatch:
    """What a step is given, apart: the batch, the model's pictures, and whose they are."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        given = dict(inputs)
        self.image_ids: list[str] = given.pop("image_ids")
        self.pictures: list[int] = given.pop("pictures").tolist()
        self.batch = Batch(*(given.pop(name) for name in Batch._fields))
        self.pixels: dict[str, Any] = given

    def pieces(self, n: int, pad: int) -> Iterator[MicroBatch]:
        """Its images in n runs, or one each where there are fewer; each a micro-batch of its own."""
        rows = taken_apart(self.batch)
        grids = self.pixels["image_grid_thw"].split(self.pictures)
        patches = [int(g.prod(dim=1).sum()) for g in grids]
        pixels = self.pixels["pixel_values"].split(patches)
        n = min(n, len(rows))
        for i in range(n):
            part = slice(i * len(rows) // n, (i + 1) * len(rows) // n)
            width = sum(row.ids.numel() for row in rows[part])
            made = {
                **collate(rows[part], pad, width).batch._asdict(), "image_ids": self.image_ids[part],
                "pixel_values": torch.cat(pixels[part]), "image_grid_thw": torch.cat(grids[part]),
                "pictures": torch.tensor(self.pictures[part]),
            }  # fmt: skip
            device = self.batch.ids.device
            yield MicroBatch({k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in made.items()})


class JointTrainer(Trainer):
    """Trainer whose loss is L_desc + L_qa on packed rows.

    `pieces`: into how many each micro-batch is cut to fit into memory; the gradients add up to the same.
    """

    def __init__(self, *, params: Train, pad: int, pieces: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.params, self.pad, self.pieces = params, pad, pieces
        self.meter = Meter(kwargs["model"].config, params)
        self.model_accepts_loss_kwargs = False
        self.add_callback(FrozenInputs())

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self._loss(model, MicroBatch(inputs))
        return (loss.total, {}) if return_outputs else loss.total

    def _loss(self, model: Any, micro: MicroBatch, totals: torch.Tensor | None = None) -> JointLoss:
        weights = self.params.weight_desc, self.params.weight_qa
        loss = joint_loss(model, micro.batch, micro.pixels, *weights, totals=totals)
        if not bool(torch.isfinite(loss.total.detach())):
            self._refuse(model, micro, float(loss.total.detach()))
        self.meter.add(micro.batch, loss, micro.pixels["image_grid_thw"])
        return loss

    def _refuse(self, model: Any, micro: MicroBatch, value: float) -> None:
        """Say which images the loss is no number for; the last checkpoint stays as it is."""
        found, weights = list[str](), (self.params.weight_desc, self.params.weight_qa)
        own: Any = self.accelerator.unwrap_model(model)
        whole = not any(hasattr(p, "ds_id") for p in own.parameters())  # else a forward needs all processes (ZeRO-3)
        with torch.no_grad(), self.compute_loss_context_manager():
            for one in micro.pieces(len(micro.image_ids), self.pad) if whole else ():
                if not bool(torch.isfinite(joint_loss(own, one.batch, one.pixels, *weights).total)):
                    found += one.image_ids
        named = f"image {', '.join(found)}" if found else f"one of the images {', '.join(micro.image_ids)}"
        last = last_checkpoint(Path(str(self.args.output_dir)), self.params.processes)
        raise TrainingError(
            f"step {self.state.global_step + 1}: the loss is {value}, {named}; expected a finite number. "
            f"{f'{last.name} is intact' if last else 'No checkpoint was written yet'}. Fix: look at that image's "
            "annotations, or lower train.learning_rate or the weights of the losses"
        )

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self.pieces == 1:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        micro = MicroBatch(self._prepare_inputs(inputs))  # type: ignore[arg-type]
        totals, parts = task_weights(micro.batch), list(micro.pieces(self.pieces, self.pad))
        sums = torch.zeros((), device=totals.device)
        for n, part in enumerate(parts):
            more = n < len(parts) - 1
            with self.accelerator.no_sync(model) if more else contextlib.nullcontext():
                with self.compute_loss_context_manager():
                    loss = self._loss(model, part, totals).total / self.current_gradient_accumulation_steps
                self.accelerator.backward(loss)
            sums += loss.detach()
        return sums

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.meter.sums[2] > 0 and "loss" in logs:
            read = self.meter.read()
            before = next((h["tokens"] for h in reversed(self.state.log_history) if "tokens" in h), 0.0)
            logs |= {**read, "tokens": before + read["tokens"]}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Raises TrainingError when it cannot be written whole; what was begun is removed, the older one stays."""
        work = Path(str(self.args.output_dir))
        try:
            super()._save_checkpoint(model, trial)
            if self.is_world_process_zero():
                keep_only(work / f"checkpoint-{self.state.global_step}")
        except Exception as error:
            last = last_checkpoint(work, self.params.processes)
            if self.is_world_process_zero():
                shutil.rmtree(work / f"checkpoint-{self.state.global_step}", ignore_errors=True)
            raise TrainingError(
                f"{work}: the checkpoint of step {self.state.global_step} could not be written ({error}); "
                f"{f'{last.name} is intact and the next run goes on from it' if last else 'there was none before it'}. "
                "Fix: free space on that disk and run the same command again"
            ) from error

    def _save_rng_state(self, output_dir: str) -> None:
        """The last that each process writes; the first one then writes the sign of completeness."""
        super()._save_rng_state(output_dir)
        sync_checkpoint(Path(output_dir))
        self.accelerator.wait_for_everyone()


class Report(TrainerCallback):
    """Tells the caller of every step, and of what was logged."""

    def __init__(self, report: OnLog) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.report(state.global_step, state.max_steps, {})
        control.should_log |= state.global_step == state.max_steps  # however short the training
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        self.report(state.global_step, state.max_steps, {k: v for k, v in (logs or {}).items() if k != "epoch"})


class FrozenInputs(TrainerCallback):
    """Takes back what transformers does for checkpoints that are reentrant, and ours are not.

    With gradient checkpointing it lets the inputs of every part ask for gradients; a frozen vision tower would then be
    run once more, and backward, for nothing (with Qwen2-VL-7B a quarter of a step).
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                module.disable_input_require_grads()


def steady(history: Sequence[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    """The loss curve of a training's logs: the same for the same job, whatever the machine."""
    return tuple({k: h[k] for k in STEADY if k in h} for h in history if "loss_desc" in h)
