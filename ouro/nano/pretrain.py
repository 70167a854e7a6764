"""Pretrain the nano VLM from scratch: `python -m ouro.nano.pretrain` (about 30 minutes on two cores).

Two one-thread processes share each step's rows; gradients are averaged over gloo. The curriculum's first two
phases end when shape look-up works (a phase change; without it training sticks), not by the clock. Progress is
printed, checkpoints are written every 100 steps, and a killed run resumes where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ouro.core.processes import end_with_parent
from ouro.core.state import CHECKOUT
from ouro.nano.curriculum import phase_lessons
from ouro.nano.lesson_encoder import LessonEncoder

ROWS = 64  # per step, over all processes
MIN_STEPS = {1: 120, 2: 120, 3: 150}
MAX_STEPS = {1: 600, 2: 1200, 3: 600}
FINAL_STEPS, COARSE_STEPS = 600, 250
WARMUP, FLAT = 40, 0.5
RATE = 2e-3


class Options(NamedTuple):
    """What decides the weights: seed and steps; `out` and `work` are folders."""

    out: Path
    work: Path
    seed: int = 0
    processes: int = 2
    final_steps: int = FINAL_STEPS
    max_steps: int = 10**9


def _optimizers(model: Any) -> list[Any]:
    import torch

    matrices, rest = [], []
    for name, p in model.named_parameters():
        hidden = p.ndim == 2 and "embed" not in name
        (matrices if hidden else rest).append(p)
    return [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(state: dict[str, Any], options: Options) -> float:
    """Warm-up, then flat; phase 4 decays to zero after FLAT of its steps, phase 5 from half the rate to zero."""
    rate = RATE * min(1.0, (state["step"] + 1) / WARMUP)
    if state["phase"] == 4:
        progress = (state["step"] - state["phase_start"]) / options.final_steps
        rate *= min(1.0, max(0.0, (1 - progress) / (1 - FLAT)))
    if state["phase"] == 5:
        rate *= 0.5 * (1 - (state["step"] - state["phase_start"]) / COARSE_STEPS)
    return rate


def _advance(state: dict[str, Any], options: Options) -> bool:
    """Move to the next phase when look-up works; True when training is over."""
    spent = state["step"] - state["phase_start"]
    phase = state["phase"]
    if phase == 5:
        return spent >= COARSE_STEPS
    if phase == 4:
        over = spent >= options.final_steps
    else:
        ready = state["accuracy"].get("shape", 0.0) >= 0.9 and state["accuracy"].get("color", 0.0) >= 0.9
        over = (spent >= MIN_STEPS[phase] and (ready or phase == 1)) or spent >= MAX_STEPS[phase]
    if over:
        state["phase"] += 1
        state["phase_start"] = state["step"]
    return False


def _step(model: Any, encode: LessonEncoder, state: dict[str, Any], rank: int, options: Options) -> dict[str, Any]:
    """Forward and backward of this process's share; returns token losses and hits by kind."""
    import torch

    from ouro.training.losses import joint_loss

    rng = np.random.default_rng([options.seed, state["step"], rank])
    groups = phase_lessons(state["phase"], rng, ROWS // options.processes)
    hits: dict[str, list[float]] = defaultdict(list)
    total = 0.0
    for lessons, share in zip(groups, (1.0, 0.5), strict=True):
        if not lessons:
            continue
        batch, inputs, kinds = encode(lessons)
        with torch.autocast("cpu", torch.bfloat16):
            loss = joint_loss(model, batch, inputs)
        (loss.total * share).backward()
        total += float(loss.total.detach()) * share
        for kind, right in zip(kinds, loss.correct.tolist(), strict=True):
            hits[kind].append(right)
    return {"loss": total, "hits": hits}


def _average_gradients(model: Any, processes: int) -> None:
    import torch
    import torch.distributed as dist

    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if processes > 1:
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= processes
        for g, piece in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            g.copy_(piece.view_as(g))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def _sync_accuracy(state: dict[str, Any], hits: dict[str, list[float]], processes: int) -> None:
    """Running accuracy by kind over fresh rows: what is trained on is never seen twice, so this is held-out."""
    import torch.distributed as dist

    all_hits: list[Any] = [hits]
    if processes > 1:
        all_hits = [None] * processes
        dist.all_gather_object(all_hits, dict(hits))
    for kind in sorted({k for h in all_hits for k in h}):
        values = [v for h in all_hits for v in h.get(kind, [])]
        old = state["accuracy"].get(kind, float(np.mean(values)))
        state["accuracy"][kind] = 0.95 * old + 0.05 * float(np.mean(values))


def train(rank: int, options: Options) -> None:
    """One process of the pretraining; rank 0 reports, checkpoints and saves."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    import torch
    import torch.distributed as dist

    from ouro.nano.model import build_model, build_processor, save
    from ouro.training.attention import use_attention
    from ouro.training.group import join_group, on_loopback
    from ouro.vision.fast import accelerate_vision

    torch.set_num_threads(1)
    if options.processes > 1:
        end_with_parent()
        os.environ.update(on_loopback())
        join_group(options.work / "rendezvous", rank, options.processes, "gloo")
    processor = build_processor()
    model = accelerate_vision(build_model(processor.tokenizer, options.seed))
    use_attention(model, "auto")
    optimizers = _optimizers(model)
    encode = LessonEncoder(processor)
    state: dict[str, Any] = {"step": 0, "phase": 1, "phase_start": 0, "accuracy": {}, "seconds": 0.0}
    checkpoint = options.work / "checkpoint.safetensors"
    if checkpoint.is_file():
        state = _restore(checkpoint, model, optimizers)
    start = time.monotonic() - state["seconds"]
    while not _advance(state, options) and state["step"] < options.max_steps:
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = _rate(state, options)
        out = _step(model, encode, state, rank, options)
        _average_gradients(model, options.processes)
        for optimizer in optimizers:
            optimizer.step()
        _sync_accuracy(state, out["hits"], options.processes)
        state["step"] += 1
        state["seconds"] = time.monotonic() - start
        if rank == 0 and state["step"] % 20 == 0:
            _report(state, out["loss"], options)
        if rank == 0 and state["step"] % 100 == 0:
            _checkpoint(checkpoint, model, optimizers, state)
    if rank == 0:
        _checkpoint(checkpoint, model, optimizers, state)
        save(model, processor, options.out)
    if options.processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def _report(state: dict[str, Any], loss: float, options: Options) -> None:
    phase_step = state["step"] - state["phase_start"]
    of = {**MAX_STEPS, 4: options.final_steps, 5: COARSE_STEPS}[state["phase"]]
    rate = state["step"] * ROWS / state["seconds"]
    accuracies = " ".join(f"{k} {v:.0%}" for k, v in sorted(state["accuracy"].items()) if k != "end")
    head = (
        f"phase {state['phase']} step {phase_step}/{of} ({state['step']} in all) "
        f"{state['seconds']:.0f} s {rate:.0f} rows/s"
    )
    print(f"{head} loss {loss:.3f} | {accuracies}", flush=True)


def _checkpoint(path: Path, model: Any, optimizers: list[Any], state: dict[str, Any]) -> None:
    """Weights and optimizer moments as safetensors (no pickle), the rest as JSON in its metadata; atomic."""
    from safetensors.torch import save_file

    tensors = {f"model.{n}": p.detach().clone() for n, p in model.named_parameters()}
    for k, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{index}.{name}": t.clone() for name, t in moments.items()}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"state": json.dumps(state)})
    os.replace(part, path)


def _restore(path: Path, model: Any, optimizers: list[Any]) -> dict[str, Any]:
    """The inverse of `_checkpoint`; returns the saved state."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
        moments: list[dict[int, dict[str, Any]]] = [defaultdict(dict) for _ in optimizers]
        for key in file.keys():  # noqa: SIM118 (not a dict)
            kind, rest = key.split(".", 1)
            if kind == "model":
                model.get_parameter(rest).data.copy_(file.get_tensor(key))
            else:
                k, index, name = rest.split(".", 2)
                moments[int(k)][int(index)][name] = file.get_tensor(key)
    for optimizer, saved in zip(optimizers, moments, strict=True):
        optimizer.load_state_dict({"state": dict(saved), "param_groups": optimizer.state_dict()["param_groups"]})
    return state


def main() -> None:
    """Command line: where to write, seed, processes, steps of phase 4."""
    parser = argparse.ArgumentParser(prog="python -m ouro.nano.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models/nano"), help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=CHECKOUT.pretrain, help="checkpoints; remove to start anew")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--final-steps", type=int, default=FINAL_STEPS, help="steps of phase 4")
    parser.add_argument("--max-steps", type=int, default=10**9, help="stop early (for a trial)")
    options = Options(**vars(parser.parse_args()))
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "rendezvous").unlink(missing_ok=True)
    options = options._replace(work=options.work.resolve())
    if options.processes == 1:
        return train(0, options)
    # glibc returns large blocks to the system after every step by default: a fifth of the time goes into page faults
    os.environ.update(MALLOC_MMAP_THRESHOLD_="1000000000", MALLOC_TRIM_THRESHOLD_="4000000000")
    from torch.multiprocessing.spawn import spawn

    spawn(train, (options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
