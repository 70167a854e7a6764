"""A VisionLM that runs whole batches in worker processes.

Requests are batched here, in an order that depends on the requests alone, and each batch goes to a free process; so
the replies do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ouro.core.processes import Workers
from ouro.vision.encoding import View, views
from ouro.vision.protocols import OnReplies, Request, check_options, plan_batches

if TYPE_CHECKING:
    from ouro.vision.hf import HFVisionLM

T = TypeVar("T")


class LoadArguments(NamedTuple):
    """The arguments with which a worker loads the model."""

    folder: str | Path
    adapter: str | Path | None
    dtype: str


class PooledVLM:
    """A VisionLM and Scoring in `processes` worker processes of one thread each.

    They load the model at the first request. On CPUs this is faster than one process with many threads. `batch_size`
    and `batch_tokens` as in HFVisionLM.
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
        self._arguments = LoadArguments(folder, adapter, dtype)
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
        """One greedy reply per request, in order. A worker's error is raised here."""
        replies = [""] * len(requests)
        pool = self._workers.pool()
        jobs = {
            pool.submit(_answer, self._arguments, [requests[i] for i in indices], max_new_tokens): indices
            for indices in self._plan(requests)
        }
        for indices, texts in _finished(jobs):
            batch = dict(zip(indices, texts, strict=True))
            for i, text in batch.items():
                replies[i] = text
            if on_replies:
                on_replies(batch)
            if progress:
                progress(len(indices))
        return replies

    def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
        """The probabilities of each request's options (ouro.vision.protocols.Scoring), batch by batch as replies."""
        check_options(requests, options)
        probabilities: list[tuple[float, ...]] = [()] * len(requests)
        pool = self._workers.pool()
        jobs = {
            pool.submit(
                _choose, self._arguments, [requests[i] for i in indices], [options[i] for i in indices]
            ): indices
            for indices in self._plan(requests)
        }
        for indices, rows in _finished(jobs):
            for i, row in zip(indices, rows, strict=True):
                probabilities[i] = row
        return probabilities

    def _plan(self, requests: Sequence[Request]) -> list[list[int]]:
        return plan_batches(requests, self.batch_size, self._count_tokens(requests), self.batch_tokens)

    def _count_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Visual tokens of each request, counted by a worker, so that this process need not import the model's library.

        Every worker counts, so that all load the model at the same time; the first result is returned.
        """
        pool = self._workers.pool()
        view_lists = [views(r) for r in requests]
        return next(
            as_completed([pool.submit(_count_tokens, self._arguments, view_lists) for _ in range(self._processes)])
        ).result()


def _finished(jobs: Mapping[Future[list[T]], list[int]]) -> Iterator[tuple[list[int], list[T]]]:
    """Indices and results of the jobs as they end."""
    try:
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    finally:
        for job in jobs:  # after an error: otherwise a retry would wait for them
            job.cancel()


@lru_cache(maxsize=1)
def _load(arguments: LoadArguments) -> HFVisionLM:
    import torch

    from ouro.vision.hf import HFVisionLM

    torch.set_num_threads(1)
    return HFVisionLM(*arguments)


def _count_tokens(arguments: LoadArguments, view_lists: Sequence[Sequence[View]]) -> list[int]:
    count = _load(arguments).encoder.visual_tokens
    return [sum(map(count, request_views)) for request_views in view_lists]


def _answer(arguments: LoadArguments, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
    return _load(arguments).answer(requests, max_new_tokens)


def _choose(
    arguments: LoadArguments, requests: Sequence[Request], options: Sequence[tuple[str, ...]]
) -> list[tuple[float, ...]]:
    return _load(arguments).choose(requests, options)
