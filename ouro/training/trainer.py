"""transformers' Trainer with the joint loss on packed rows: its arguments, its batches, and its logs."""

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
from ouro.training.packing import PackedBatch, collate, split_images
from ouro.training.rows import EncodedImage

# The logged values that depend on the job alone; the others depend on time and machine.
REPRODUCIBLE_KEYS = (
    "step",
    "loss",
    "loss_desc",
    "loss_qa",
    "learning_rate",
    "grad_norm",
    "tokens",
    "padding",
    "saved_by_sharing",
)


def training_arguments(
    params: Train, work: Path, seed: int, deepspeed: dict[str, Any] | None = None
) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
    single_process = params.processes == 1 and deepspeed is None
    return TrainingArguments(
        deepspeed=deepspeed,
        output_dir=str(work),
        num_train_epochs=1,  # Rows concatenates the epochs
        per_device_train_batch_size=params.batch_size,
        gradient_accumulation_steps=params.accumulation,
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_ratio,  # a value below 1 is read as a ratio
        bf16=params.bf16,
        use_cpu=not on_gpu,
        ddp_backend=None if on_gpu or single_process else "gloo",
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # no buffer changes; and a forward in one process alone would wait for the others
        gradient_checkpointing=params.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=math.gcd(10, params.save_steps),  # so that every checkpoint is written at a step that is logged
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
    """Collates encoded images to one batch: rows packed by `collate`, pictures in the order of the batch's rows."""

    def __init__(self, pad: int, row_tokens: int) -> None:
        self.pad, self.row_tokens = pad, row_tokens

    def __call__(self, encoded: Sequence[EncodedImage]) -> dict[str, Any]:
        """`encoded`: images; an image may have several rows, and its pictures are repeated for each of them."""
        rows_with_images = [(row, e) for e in encoded for row in e.rows]
        batch, order = collate([row for row, _ in rows_with_images], self.pad, self.row_tokens)
        pixels = {k: torch.cat([rows_with_images[i][1].pixels[k] for i in order]) for k in encoded[0].pixels}
        counts = torch.tensor([len(rows_with_images[i][1].pixels["image_grid_thw"]) for i in order])
        return {
            **batch._asdict(),
            **pixels,
            "pictures": counts,
            "image_ids": [rows_with_images[i][1].image_id for i in order],
        }


class MicroBatch:
    """A step's inputs, separated: the packed batch, the pixel inputs, and the image ids."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        fields = dict(inputs)
        self.image_ids: list[str] = fields.pop("image_ids")
        self.pictures: list[int] = fields.pop("pictures").tolist()
        self.batch = PackedBatch(*(fields.pop(name) for name in PackedBatch._fields))
        self.pixels: dict[str, Any] = fields

    def pieces(self, n: int, pad: int) -> Iterator[MicroBatch]:
        """Split into n micro-batches of consecutive images; into one per image if there are fewer than n."""
        rows = split_images(self.batch)
        grids = self.pixels["image_grid_thw"].split(self.pictures)
        patches = [int(g.prod(dim=1).sum()) for g in grids]
        pixels = self.pixels["pixel_values"].split(patches)
        n = min(n, len(rows))
        for i in range(n):
            span = slice(i * len(rows) // n, (i + 1) * len(rows) // n)
            width = sum(row.ids.numel() for row in rows[span])
            inputs = {
                **collate(rows[span], pad, width).batch._asdict(), "image_ids": self.image_ids[span],
                "pixel_values": torch.cat(pixels[span]), "image_grid_thw": torch.cat(grids[span]),
                "pictures": torch.tensor(self.pictures[span]),
            }  # fmt: skip
            device = self.batch.ids.device
            yield MicroBatch({k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()})


class JointTrainer(Trainer):
    """Trainer whose loss is L_desc + L_qa on packed rows.

    `pieces`: the number of pieces that each micro-batch is split into to fit into memory; the gradients are the same.
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
        """Raise a TrainingError that names the images whose loss is not finite; the last checkpoint is unchanged."""
        image_ids, weights = list[str](), (self.params.weight_desc, self.params.weight_qa)
        unwrapped: Any = self.accelerator.unwrap_model(model)
        # With ZeRO-3 a forward needs all processes.
        can_forward = not any(hasattr(p, "ds_id") for p in unwrapped.parameters())
        with torch.no_grad(), self.compute_loss_context_manager():
            for piece in micro.pieces(len(micro.image_ids), self.pad) if can_forward else ():
                if not bool(torch.isfinite(joint_loss(unwrapped, piece.batch, piece.pixels, *weights).total)):
                    image_ids += piece.image_ids
        culprits = f"image {', '.join(image_ids)}" if image_ids else f"one of the images {', '.join(micro.image_ids)}"
        checkpoint = last_checkpoint(Path(str(self.args.output_dir)), self.params.processes)
        raise TrainingError(
            f"step {self.state.global_step + 1}: the loss is {value}, {culprits}; expected a finite number. "
            f"{f'{checkpoint.name} is intact' if checkpoint else 'No checkpoint was written yet'}. "
            "Fix: look at that image's annotations, or lower train.learning_rate or the weights of the losses"
        )

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self.pieces == 1:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        micro = MicroBatch(self._prepare_inputs(inputs))  # type: ignore[arg-type]
        totals, micro_batches = task_weights(micro.batch), list(micro.pieces(self.pieces, self.pad))
        sums = torch.zeros((), device=totals.device)
        for n, micro_batch in enumerate(micro_batches):
            is_not_last = n < len(micro_batches) - 1
            with self.accelerator.no_sync(model) if is_not_last else contextlib.nullcontext():
                with self.compute_loss_context_manager():
                    loss = self._loss(model, micro_batch, totals).total / self.current_gradient_accumulation_steps
                self.accelerator.backward(loss)
            sums += loss.detach()
        return sums

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.meter.sums[2] > 0 and "loss" in logs:
            measurements = self.meter.read()
            tokens_before = next((h["tokens"] for h in reversed(self.state.log_history) if "tokens" in h), 0.0)
            logs |= {**measurements, "tokens": tokens_before + measurements["tokens"]}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Raises TrainingError when the checkpoint cannot be written; the incomplete one is removed, not the older."""
        work = Path(str(self.args.output_dir))
        try:
            super()._save_checkpoint(model, trial)
            if self.is_world_process_zero():
                keep_only(work / f"checkpoint-{self.state.global_step}")
        except Exception as error:
            previous = last_checkpoint(work, self.params.processes)
            if self.is_world_process_zero():
                shutil.rmtree(work / f"checkpoint-{self.state.global_step}", ignore_errors=True)
            older = f"{previous.name} is intact and the next run goes on from it" if previous else ""
            raise TrainingError(
                f"{work}: the checkpoint of step {self.state.global_step} could not be written ({error}); "
                f"{older or 'there was none before it'}. Fix: free space on that disk and run the same command again"
            ) from error

    def _save_rng_state(self, output_dir: str) -> None:
        """The last file that each process writes; after it the first process writes the completeness marker."""
        super()._save_rng_state(output_dir)
        sync_checkpoint(Path(output_dir))
        self.accelerator.wait_for_everyone()


class ReportCallback(TrainerCallback):
    """Reports every step and all logged values to the caller."""

    def __init__(self, report: OnLog) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.report(state.global_step, state.max_steps, {})
        control.should_log |= state.global_step == state.max_steps  # however short the training
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        self.report(state.global_step, state.max_steps, {k: v for k, v in (logs or {}).items() if k != "epoch"})


class FrozenInputs(TrainerCallback):
    """Undoes a setting of transformers that only reentrant gradient checkpointing needs; ours is not reentrant.

    With gradient checkpointing transformers makes the inputs of every part require gradients. A frozen vision tower
    would then run a second forward, and a backward, for nothing (a quarter of a step with Qwen2-VL-7B).
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                module.disable_input_require_grads()


def loss_curve(history: Sequence[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    """The loss curve in a training's logs, with reproducible values only."""
    return tuple({k: h[k] for k in REPRODUCIBLE_KEYS if k in h} for h in history if "loss_desc" in h)
