"""OCR: PaddleOCR 3.7 on ONNX, offline, with the PP-OCRv6 small models of rapidocr's wheel (ouro/vision/ocr_models.py).

Each process loads one engine at its first use (about 10 s, most of it for importing paddleocr). Lines and pages that
lie turned are read the right way up (ouro/vision/turned.py). ouro.vision.layout joins the words or lines that it reads
to lines and blocks.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Literal

import numpy as np

from ouro.core.processes import Workers
from ouro.vision.ocr_models import MAX_SIDE, Tools
from ouro.vision.text_likely import is_text_likely
from ouro.vision.turned import lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import PIL.Image

    from ouro.core.params import Propose
    from ouro.vision.protocols import Proposal
    from ouro.vision.turned import Page

CHUNK = 4  # pages per call of a worker
_log = logging.getLogger(__name__)
_lock = threading.Lock()  # the pipeline keeps state while it predicts


class OCRProposer:
    """Text as proposals of source "ocr", box in pixels of the given image as it is: blocks in reading order, each
    followed by its lines if it has more than one. Pieces with a score below `min_score` are dropped first.

    `model_cache`: a folder that may be created; holds about 31 MB. `processes` > 1: the number of parallel workers of
    one thread each; the result does not depend on it. With `when` "likely" only images are read in which `text_likely`
    finds rows of letters; `skipped` counts the others, `why` counts them by reason.
    """

    name = "ocr"

    def __init__(
        self, min_score: float, model_cache: Path, processes: int = 1, when: Literal["always", "likely"] = "always"
    ) -> None:
        self._min_score = min_score
        self._model_cache = model_cache.resolve()
        self._workers = Workers(processes) if processes > 1 else None
        self._when = when
        self.skipped = 0
        self.why: Counter[str] = Counter()

    @classmethod
    def from_params(cls, params: Propose, model_cache: Path, processes: int) -> OCRProposer:
        return cls(params.ocr_min_score, model_cache, processes, when=params.ocr_when)

    def counting(self) -> OCRProposer:
        """A copy that shares the workers and has its own counters, from 0, so that each shard is counted separately."""
        fresh = copy.copy(self)
        fresh.skipped, fresh.why = 0, Counter()
        return fresh

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """One list of proposals per image. Raises OCRUnavailable when PaddleOCR cannot be loaded."""
        indices = [i for i, image in enumerate(images) if self._should_read(image)]
        pages = self._read_pages([np.asarray(images[i].convert("RGB")) for i in indices])
        results: list[list[Proposal]] = [[] for _ in images]
        for i, page in zip(indices, pages, strict=True):
            results[i] = lay_out([line for line in page.lines if line.score >= self._min_score], page.turn)
        return results

    def _should_read(self, image: PIL.Image.Image) -> bool:
        if self._when == "always":
            return True
        likely = is_text_likely(image, MAX_SIDE)
        if not likely.likely:
            _log.debug("OCR skips an image of %d x %d: %s", *image.size, likely.counts)
            self.skipped += 1
            self.why[likely.reason] += 1
        return likely.likely

    def _read_pages(self, pages: list[np.ndarray]) -> list[Page]:
        if self._workers is None:
            return _read(self._model_cache, pages, 0)
        chunks = [pages[i : i + CHUNK] for i in range(0, len(pages), CHUNK)]
        page_chunks = self._workers.pool().map(_read, repeat(self._model_cache), chunks, repeat(1))
        return [page for chunk in page_chunks for page in chunk]


def _read(model_cache: Path, pages: Sequence[np.ndarray], threads: int) -> list[Page]:
    """What stands on each (H, W, 3) uint8 RGB page; with `threads` 0, ONNX chooses the number of threads."""
    if not pages:
        return []
    with _lock:
        tools = Tools(model_cache, threads)
        return [tools.read(np.ascontiguousarray(page[:, :, ::-1])) for page in pages]
