"""Measures training steps: tokens, padding, tokens saved by sharing, FLOPs, and speed.

MFU is the FLOPs that the model needs (ouro.vision.flops.step_flops, without repeated forwards) over seconds times peak,
as in PaLM (arXiv 2204.02311, appendix B). The peak comes from a GPU's data sheet. On a CPU, and on a GPU that is not in
ouro.core.rates, it is measured with a square matrix product of the same dtype and the same number of threads.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import torch

from ouro.core.rates import known_gpu
from ouro.vision.flops import step_flops

if TYPE_CHECKING:
    from ouro.core.params import Train
    from ouro.training.losses import JointLoss
    from ouro.training.packing import PackedBatch

SUMS = ("desc", "qa", "steps", "tokens", "unshared", "slots", "flops")
PROBE, GPU_PROBE = 1024, 8192  # sides of the matrices


class Meter:
    """Sums of this process since the last call of `read`."""

    def __init__(self, config: Any, params: Train) -> None:
        self.config, self.params = config.to_dict(), params
        self.peak = peak_flops(torch.bfloat16 if params.bf16 else torch.float32)
        self._start()

    def _start(self) -> None:
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64)
        self.start_time = time.perf_counter()

    def add(self, batch: PackedBatch, loss: JointLoss, grids: torch.Tensor) -> None:
        """Count one micro-batch; `grids`: (N, 3) patch grids of its pictures."""
        tokens, unshared, attended = batch.counts.tolist()
        image_grids = [(int(t), int(h), int(w)) for t, h, w in grids.tolist()]
        flops = step_flops(
            self.config, image_grids, tokens, attended, int((batch.weights > 0).sum()), self.params, recompute=False
        )
        sums = [float(loss.desc), float(loss.qa), 1.0, tokens, unshared, batch.ids.numel(), flops]
        self.sums += torch.tensor(sums, dtype=torch.float64)

    def read(self) -> dict[str, float]:
        """Values since the last call: means over all processes, total rates, and the largest process's memory."""
        sums, memory = self.sums.clone(), torch.tensor(memory_gb(), dtype=torch.float64)
        processes = 1
        if torch.distributed.is_initialized():
            device = "cuda" if torch.cuda.is_available() else "cpu"
            sums, memory = sums.to(device), memory.to(device)
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(memory, torch.distributed.ReduceOp.MAX)
            processes = torch.distributed.get_world_size()
        desc, qa, steps, tokens, unshared, slots, flops = sums.tolist()
        seconds = time.perf_counter() - self.start_time
        self._start()
        return {
            "loss_desc": desc / steps, "loss_qa": qa / steps, "tokens": tokens,
            "padding": 1 - tokens / slots, "saved_by_sharing": 1 - tokens / unshared,
            "tokens_per_second": tokens / seconds, "memory_gb": float(memory),
            "mfu": flops / (seconds * self.peak * processes),
        }  # fmt: skip


def memory_gb() -> float:
    """Peak memory of this process in 1e9 bytes: GPU memory if there is a GPU, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def peak_flops(dtype: torch.dtype) -> float:
    """The peak FLOP/s of one process."""
    gpu = known_gpu(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    return gpu.peak if gpu else _measure_peak(dtype)


def _measure_peak(dtype: torch.dtype) -> float:
    side, device = (GPU_PROBE, "cuda") if torch.cuda.is_available() else (PROBE, "cpu")
    a = torch.ones(side, side, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
