"""A training step and its faults: pieces, memory, losses that are no number, a full disk; parts; what a step costs."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import FAMILIES, tiny_model, tiny_processor
from tiny_training import BASE, drawn_job

from ouro.core.params import Train
from ouro.training import lora, trainer
from ouro.training.checkpoints import checkpoint_key, is_complete, last_checkpoint
from ouro.training.job import OutOfMemory, TrainingError, split_micro_batches
from ouro.training.lora import part_of, target_modules
from ouro.training.losses import joint_loss
from ouro.training.packing import PackedBatch, PackedBranch, collate, pack_row, row_mask, split_images


def weights_of(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")


def small(folder: Path, **knobs: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return drawn_job(folder, 8, epochs=1, bf16=False, region_dropout=0.0, **knobs)


def test_collated_images_come_apart_as_they_were() -> None:
    rows = [
        pack_row([9] * (2 + n), [], [PackedBranch([1], [n, 5], [1.0, 0.5], 1), PackedBranch([], [n], [1.0], 0)],
                 image_token=-1, merge=2)
        for n in range(1, 6)
    ]  # fmt: skip
    batch, order = collate(rows, 0, 20)
    assert batch.ids.shape[0] > 1
    for row, i in zip(split_images(batch), order, strict=True):
        for name in ("ids", "branch", "positions", "weights", "task", "source"):
            assert torch.equal(getattr(row, name), getattr(rows[i], name)), name
        assert row.unshared == rows[i].unshared


def test_keys_that_tokens_see_are_counted_as_the_mask_has_them() -> None:
    branches = [PackedBranch([1, 2], [3], [1.0], 1), PackedBranch([1], [3, 3], [1.0, 1.0], 0)]
    rows = [pack_row([9] * n, [], branches, image_token=-1, merge=2) for n in (4, 2)]
    batch, _ = collate(rows, 0, 9)
    padding = int((batch.branch < 0).sum())  # sees itself
    assert int(row_mask(batch).sum()) - padding == int(batch.counts[2])
    # prefix 4: 10, and two branches of 3: 3 * 4 + 6 each; prefix 2: 3, and 3 * 2 + 6 each
    assert [row.attended() for row in rows] == [10 + 2 * 18, 3 + 2 * 12]


def test_a_micro_batch_in_pieces_trains_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = small(tmp_path / "a"), dataclasses.replace(small(tmp_path / "b"), pieces=3)
    curves = [lora.train_once(job).curve for job in (whole, cut)]
    a, b = weights_of(whole.out), weights_of(cut.out)
    assert a.keys() == b.keys()
    for name in a:
        assert float((a[name] - b[name]).abs().max()) < 2e-4, name
    assert curves[0][0]["loss"] == pytest.approx(curves[1][0]["loss"], rel=1e-4)
    assert curves[0][0]["tokens"] == curves[1][0]["tokens"]


def test_what_does_not_fit_into_memory_is_trained_in_smaller_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory that holds two images of the batch of four: said once, and the training ends."""

    def with_little_memory(model: Any, batch: PackedBatch, *args: Any, **kwargs: Any) -> Any:
        if int(batch.image.max()) + 1 > 2:
            raise torch.OutOfMemoryError("tried to allocate 9 GiB")
        return joint_loss(model, batch, *args, **kwargs)

    monkeypatch.setattr(trainer, "joint_loss", with_little_memory)
    summary = lora.train_adapter(small(tmp_path))
    assert summary.steps == 2 and summary.notes == ("out of memory: each micro-batch was trained in 2 pieces",)
    assert [r.getMessage() for r in caplog.records if "out of memory" in r.getMessage()] == [
        "out of memory (tried to allocate 9 GiB): each micro-batch is now trained in 2 pieces"
    ]
    with pytest.raises(TrainingError, match="one image at a time"):
        split_micro_batches(dataclasses.replace(small(tmp_path), pieces=4), OutOfMemory("x"))


def test_a_loss_that_is_no_number_names_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second step; the checkpoint of the first is intact, and goes on once the image is out of the way."""
    job = small(tmp_path, save_steps=1)
    second = [job.samples[int(i)] for i in trainer_order(job)[4:]]
    broken = second[1].image_id
    marked = lora.Encoder(lora.load_model(BASE)[1]).reply(second[1].description)

    def bad(model: Any, batch: PackedBatch, *args: Any, **kwargs: Any) -> Any:
        loss = joint_loss(model, batch, *args, **kwargs)
        is_bad = any(
            set(marked) <= set(row.ids.tolist()) and _has(row.ids.tolist(), marked) for row in split_images(batch)
        )
        return loss._replace(total=loss.total * float("nan")) if is_bad else loss

    monkeypatch.setattr(trainer, "joint_loss", bad)
    with pytest.raises(TrainingError, match=rf"step 2: the loss is nan, image {broken}; .*checkpoint-1 is intact"):
        lora.train_once(job)
    monkeypatch.undo()
    steps: list[int] = []
    lora.train_once(job, lambda step, of, values: steps.append(step))
    assert min(steps) == 2


def trainer_order(job: Any) -> list[int]:
    from ouro.training.rows import RowDataset

    return [int(i) for i in RowDataset(job, None).order(0)]  # type: ignore[arg-type]


def _has(ids: list[int], part: list[int]) -> bool:
    return any(ids[i : i + len(part)] == part for i in range(len(ids) - len(part) + 1))


def test_a_full_disk_leaves_the_older_checkpoint_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses the write as it does when that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    job, undisturbed = small(tmp_path / "a", save_steps=1), small(tmp_path / "b", save_steps=1)

    def fill(step: int, of: int, values: dict[str, float]) -> None:
        if step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(TrainingError, match=r"checkpoint of step 2 could not be written .*checkpoint-1 is intact"):
            lora.train_once(job, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    work = job.checkpoints / checkpoint_key(job)
    assert [p.name for p in work.glob("checkpoint-*")] == ["checkpoint-1"] and is_complete(work / "checkpoint-1")
    lora.train_once(job)
    lora.train_once(undisturbed)
    assert (job.out / "adapter_model.safetensors").read_bytes() == (
        undisturbed.out / "adapter_model.safetensors"
    ).read_bytes()


def test_a_power_cut_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the order of events: contents and names to the disk, then the marker, that to the disk, then the older goes;
    and the adapter is on the disk before it gets its name."""
    from transformers import TrainerState

    happened: list[str] = []
    work = tmp_path / "checkpoints"

    def record_calls(owner: Any, name: str, describe: Any) -> None:
        done = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            happened.append(f"{name} {describe(*args)}")
            return done(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    def file_of(handle: int) -> str:
        return str(Path(f"/proc/self/fd/{handle}").readlink().relative_to(tmp_path))

    def path_of(path: Any, *_: Any) -> str:
        return str(Path(path).relative_to(tmp_path)) if Path(path).is_relative_to(tmp_path) else "elsewhere"

    record_calls(os, "fsync", file_of)
    record_calls(os, "replace", path_of)
    record_calls(shutil, "rmtree", path_of)
    record_calls(TrainerState, "save_to_json", lambda state, path: path_of(path))
    job = small(tmp_path, save_steps=1)
    lora.train_once(job)

    key = f"checkpoints/{checkpoint_key(job)}"
    for step in (1, 2):
        folder = f"{key}/checkpoint-{step}"
        marked = happened.index(f"save_to_json {folder}/trainer_state.json")
        before, after = happened[:marked], happened[marked + 1 :]
        names = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
        expected = {f"fsync {folder}/{name}" for name in names} | {f"fsync {folder}", f"fsync {key}"}
        assert expected <= set(before), f"not on the disk before the marker: {expected - set(before)}"
        synced = after.index(f"fsync {folder}/trainer_state.json")
        if step == 2:
            assert synced < after.index(f"rmtree {key}/checkpoint-1")
    assert [p.name for p in (work / checkpoint_key(job)).glob("checkpoint-*")] == ["checkpoint-2"]
    renamed = happened.index("replace adapter.part")
    assert {"fsync adapter.part/adapter_model.safetensors", "fsync adapter.part"} <= set(happened[:renamed])


def test_an_incomplete_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    for step, files in ((2, ("trainer_state.json", "optimizer.pt", "scheduler.pt")), (4, ("optimizer.pt",))):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    (tmp_path / "checkpoint-2/trainer_state.json").write_text('{"half')
    assert last_checkpoint(tmp_path) is None


def test_accumulated_steps_continue_exactly(tmp_path: Path) -> None:
    knobs = {"accumulation": 2, "batch_size": 2, "save_steps": 1}
    whole, broken = small(tmp_path / "a", **knobs), small(tmp_path / "b", **knobs)

    def stop(step: int, of: int, values: dict[str, float]) -> None:
        if step == 2 and values == {}:
            raise KeyboardInterrupt

    lora.train_once(whole)
    with pytest.raises(KeyboardInterrupt):
        lora.train_once(broken, stop)
    assert last_checkpoint(broken.checkpoints / checkpoint_key(broken)) is not None
    summary = lora.train_once(broken)
    assert summary.steps == 2
    assert weights_of(whole.out).keys() == weights_of(broken.out).keys()
    for name, value in weights_of(whole.out).items():
        assert torch.equal(value, weights_of(broken.out)[name]), name


def test_a_training_of_a_few_steps_still_says_how_it_went(tmp_path: Path) -> None:
    """Losses are logged every tenth step; of three steps none was."""
    summary = lora.train_once(small(tmp_path, save_steps=100, batch_size=3))
    assert [row["step"] for row in summary.curve] == [summary.steps] == [3]
    assert summary.tokens == summary.curve[0]["tokens"] > 0


# ---- parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_each_part_wears_lora_or_is_frozen(family: str) -> None:
    from peft import LoraConfig, get_peft_model

    def trainable_names(**parts: str) -> set[str]:
        model = tiny_model(family, tiny_processor(family))
        modules = target_modules(model, Train(**parts))  # type: ignore[arg-type]
        wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=modules, task_type="CAUSAL_LM"))
        names = [n for n, p in wrapped.named_parameters() if p.requires_grad]
        assert names and all("lora_" in n for n in names) and not any("lm_head" in n for n in names)
        return {n.split(".lora_")[0] for n in names}

    each = [{"language": "frozen", "merger": "frozen", "vision": "frozen", part: "lora"} for part in lora_parts]
    apart = [trainable_names(**parts) for parts in each]
    assert all(apart) and sum(map(len, apart)) == len(set.union(*apart))
    assert set.union(*apart) == trainable_names(language="lora", merger="lora", vision="lora")
    for part, names in zip(lora_parts, apart, strict=True):
        assert {part_of(name) for name in names} == {part}


lora_parts = ("language", "merger", "vision")


def test_checkpointing_runs_a_frozen_tower_once_and_only_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_model = lora._load_lora_model  # pyright: ignore[reportPrivateUsage]
    seen: dict[str, list[bool]] = {"vision": [], "language": [], "layer": []}

    def watched(job: Any) -> Any:
        model, encoder = load_model(job)
        inner = model.get_base_model().model
        for name, norm in (("vision", inner.visual.blocks[0].norm2), ("language", inner.language_model.norm)):
            flags = seen[name]
            norm.register_forward_hook(lambda module, inputs, out, flags=flags: flags.append(out.requires_grad))
        layer = inner.language_model.layers[0].post_attention_layernorm
        layer.register_forward_hook(lambda module, inputs, out: seen["layer"].append(out.requires_grad))
        return model, encoder

    monkeypatch.setattr(lora, "_load_lora_model", watched)
    job = small(tmp_path, vision="frozen", merger="frozen", gradient_checkpointing=True)
    summary = lora.train_adapter(job)
    assert sum(seen["layer"]) == 2 * summary.steps, "the layers that learn run again"
    assert not any(seen["vision"]) and len(seen["vision"]) == len(seen["language"])


def test_all_parts_frozen_leave_nothing_to_train() -> None:
    frozen = Train(language="frozen", merger="frozen", vision="frozen")
    with pytest.raises(TrainingError, match="all frozen; expected one of them to be lora"):
        target_modules(tiny_model("Qwen2VL", tiny_processor("Qwen2VL")), frozen)


@pytest.mark.slow
def test_qlora_keeps_frozen_weights_in_four_bits_and_learns(tmp_path: Path) -> None:
    """bitsandbytes quantizes on a CPU, too: the loss of the same rows falls from the first step to the last."""
    pytest.importorskip("bitsandbytes", reason="`uv sync --extra qlora` installs it")
    job = drawn_job(tmp_path, 8, epochs=8, bf16=False, quantization="nf4", learning_rate=3e-3, save_steps=1)
    seen: list[float] = []
    lora.train_once(job, lambda step, of, values: seen.append(values["loss"]) if "loss_desc" in values else None)
    assert np.mean(seen[-4:]) < np.mean(seen[:4])
    assert json.loads((job.out / "adapter_config.json").read_text())["r"] == job.params.rank


# ---- what a step costs ---------------------------------------------------------------------------------------


def test_a_step_says_what_it_cost(tmp_path: Path) -> None:
    logs: list[dict[str, float]] = []
    job = small(tmp_path, save_steps=1)
    lora.train_once(job, lambda step, of, values: logs.append(values) if "loss_desc" in values else None)
    first, second = logs
    assert second["tokens"] > first["tokens"] > 0
    for values in logs:
        assert values["padding"] == 0.0, "eight images fit into one row"
        assert 0.3 < values["saved_by_sharing"] < 0.9
        assert values["tokens_per_second"] > 0 and 0 < values["mfu"] < 1.5 and values["memory_gb"] > 0.1
