"""Prepares the batches of a VisionLM in worker processes while the model answers the batch before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path

from ouro.core.processes import Workers
from ouro.vision.encoding import Encoder, Prepared
from ouro.vision.folders import load_processor, load_tokenizer
from ouro.vision.protocols import Request


class BatchPreparer:
    """Worker processes that prepare the next batches (resize, normalise, tokenize) while the model answers one."""

    def __init__(self, folder: str | Path, processes: int, tokenizer: Path | None = None) -> None:
        """`tokenizer`: the folder of one that replaces the model's own."""
        self._folder, self._processes, self._tokenizer = folder, processes, tokenizer
        self._workers = Workers(processes)

    def prepare(self, request_batches: Sequence[Sequence[Request]], share: bool) -> Iterator[Prepared]:
        """Each batch's inputs, in order. Besides the batch in use, at most one batch per worker is held."""
        pool = self._workers.pool()
        futures: deque[Future[Prepared]] = deque()
        for requests in request_batches:
            futures.append(pool.submit(_prepare, self._folder, self._tokenizer, requests, share))
            if len(futures) > self._processes:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


@lru_cache(maxsize=1)
def _load_encoder(folder: str | Path, tokenizer: Path | None) -> Encoder:
    import torch

    torch.set_num_threads(1)
    processor = load_processor(folder)
    if tokenizer is not None:
        processor.tokenizer = load_tokenizer(tokenizer)
    return Encoder(processor)


def _prepare(folder: str | Path, tokenizer: Path | None, requests: Sequence[Request], share: bool) -> Prepared:
    return _load_encoder(folder, tokenizer).batch(requests, share)
