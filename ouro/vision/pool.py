"""A VisionLM spread over processes, one thread each: on CPUs faster than one process with many threads.

Requests are batched here, in an order that depends on the requests alone, and handed to whichever process is
free; so the replies do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.processes import Workers
from ouro.vision.protocols import Request, batches

if TYPE_CHECKING:
    from ouro.vision.hf import HFVisionLM

Loading = tuple[str | Path, str | Path | None, str, int]  # the arguments of HFVisionLM


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
        self._loading: Loading = (folder, adapter, dtype, batch_size)
        self._workers = Workers(processes)

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """One greedy reply a request, in order. A worker's error is raised here."""
        replies = [""] * len(requests)
        pool = self._workers.pool()
        jobs = {
            pool.submit(_answer, self._loading, [requests[i] for i in chosen], max_new_tokens): chosen
            for chosen in batches(requests, self.batch_size)
        }
        for job in as_completed(jobs):
            for i, text in zip(jobs[job], job.result(), strict=True):
                replies[i] = text
            if progress:
                progress(len(jobs[job]))
        return replies


@lru_cache(maxsize=1)
def _load(loading: Loading) -> HFVisionLM:
    import torch

    from ouro.vision.hf import HFVisionLM

    torch.set_num_threads(1)
    return HFVisionLM(*loading)


def _answer(loading: Loading, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
    return _load(loading).generate(requests, max_new_tokens=max_new_tokens)
