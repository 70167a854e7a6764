"""Work of a VisionLM given to other processes: whole batches (PooledVLM), or their preparation alone (Ahead).

Requests are batched here, in an order that depends on the requests alone, and handed to whichever process is
free; so the replies do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.processes import Workers
from ouro.vision.encoding import View, views
from ouro.vision.protocols import OnReplies, Request, batches

if TYPE_CHECKING:
    from ouro.vision.hf import HFVisionLM


class Loading(NamedTuple):
    """What a worker needs to know to load the model."""

    folder: str | Path
    adapter: str | Path | None
    dtype: str


class PooledVLM:
    """A VisionLM spread over `processes` workers that each load the model at the first request, and have one thread.

    On CPUs faster than one process with many threads. Bounds of a batch as in HFVisionLM.
    """

    def __init__(
        self,
        folder: str | Path,
        adapter: str | Path | None,
        dtype: str,
        batch_size: int,
        processes: int,
        fingerprint: str,
        batch_tokens: int | None = None,
    ) -> None:
        self.fingerprint, self.batch_size, self.batch_tokens = fingerprint, batch_size, batch_tokens
        self._loading = Loading(folder, adapter, dtype)
        self._processes = processes
        self._workers = Workers(processes)

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One greedy reply a request, in order. A worker's error is raised here."""
        replies = [""] * len(requests)
        tokens = self._tokens(requests)
        pool = self._workers.pool()
        jobs = {
            pool.submit(_answer, self._loading, [requests[i] for i in chosen], max_new_tokens): chosen
            for chosen in batches(requests, self.batch_size, tokens, self.batch_tokens)
        }
        try:
            for job in as_completed(jobs):
                batch = dict(zip(jobs[job], job.result(), strict=True))
                for i, text in batch.items():
                    replies[i] = text
                if on_replies:
                    on_replies(batch)
                if progress:
                    progress(len(jobs[job]))
        finally:
            for job in jobs:  # after an error: a retry would find them before its own
                job.cancel()
        return replies

    def _tokens(self, requests: Sequence[Request]) -> list[int]:
        """Visual tokens of each request, counted by a worker: this process need not import the model's library.

        Every worker is asked, so that all load the model at the same time; the first answer is taken.
        """
        pool = self._workers.pool()
        shown = [views(r) for r in requests]
        return next(as_completed([pool.submit(_count, self._loading, shown) for _ in range(self._processes)])).result()


@lru_cache(maxsize=1)
def _load(loading: Loading) -> HFVisionLM:
    import torch

    from ouro.vision.hf import HFVisionLM

    torch.set_num_threads(1)
    return HFVisionLM(*loading)


def _count(loading: Loading, shown: Sequence[Sequence[View]]) -> list[int]:
    count = _load(loading).encoder.visual_tokens
    return [sum(map(count, of_request)) for of_request in shown]


def _answer(loading: Loading, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
    return _load(loading).answer(requests, max_new_tokens)
