"""A VisionLM spread over processes, one thread each: on CPUs faster than one process with many threads.

Requests are batched here, in an order that depends on the requests alone, and handed to whichever process is
free; so the replies do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.vision.protocols import Request, batches

if TYPE_CHECKING:
    from ouro.vision.hf import HFVisionLM

_model: HFVisionLM | None = None  # of a worker process


class PooledVLM:
    """Implements VisionLM with `processes` workers that each load the model; started at the first request."""

    def __init__(
        self,
        folder: str | Path,
        adapter: str | Path | None,
        dtype: str,
        batch_size: int,
        processes: int,
        fingerprint: str,
    ) -> None:
        self.fingerprint, self.batch_size = fingerprint, batch_size
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=get_context("spawn"),
            initializer=_start,
            initargs=(folder, adapter, dtype, batch_size),
        )

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """One greedy reply a request, in order. A worker's error is raised here."""
        replies = [""] * len(requests)
        jobs = {
            self._pool.submit(_answer, [requests[i] for i in chosen], max_new_tokens): chosen
            for chosen in batches(requests, self.batch_size)
        }
        for job in as_completed(jobs):
            for i, text in zip(jobs[job], job.result(), strict=True):
                replies[i] = text
            if progress:
                progress(len(jobs[job]))
        return replies


def _start(folder: str | Path, adapter: str | Path | None, dtype: str, batch_size: int) -> None:
    global _model
    import torch

    from ouro.vision.hf import HFVisionLM

    torch.set_num_threads(1)
    _model = HFVisionLM(folder, adapter, dtype, batch_size)


def _answer(requests: Sequence[Request], max_new_tokens: int) -> list[str]:
    assert _model is not None, "the pool's initializer has not run"
    return _model.generate(requests, max_new_tokens=max_new_tokens)
