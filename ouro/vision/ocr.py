"""OCR: PaddleOCR 3.7 on ONNX, offline, with the PP-OCRv6 small models of rapidocr's wheel.

PaddleOCR needs each model as a folder of `inference.onnx` and `inference.yml`; the wheel has bare ONNX files, with the
recogniser's characters in the metadata. `model_folders` writes such folders once, to a cache folder. Each process
loads one engine at its first use (about 10 s, most of it for importing paddleocr). ouro.vision.layout joins the words
or lines that it reads to lines and blocks.
"""
# paddleocr publishes no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import sys
import threading
from collections import Counter
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ouro.core.errors import OuroError
from ouro.core.processes import Workers
from ouro.vision.layout import READ_SIDE, read_page, to_proposals
from ouro.vision.protocols import Proposal
from ouro.vision.text_likely import is_text_likely

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

    from ouro.core.params import Propose

DETECTOR, RECOGNISER = "PP-OCRv6_small_det", "PP-OCRv6_small_rec"
LAYOUT = "ppocrv6-small-w128-1"  # increase the last number whenever the written files change
MAX_SIDE = READ_SIDE  # longer pictures are scaled down to this for detection; words are read at full scale
CHUNK = 4  # pages per call of a worker
MIN_WIDTH = 128  # a line is padded to this width at height 48 (320 upstream, three times slower on words)
_log = logging.getLogger(__name__)
_lock = threading.Lock()  # the pipeline keeps state while it predicts


class OCRUnavailable(OuroError, ImportError):
    """PaddleOCR or its models cannot be loaded on this machine."""


class OCRProposer:
    """Text as proposals of source "ocr", box in pixels of the given image: blocks in reading order, each followed by
    its lines if it has more than one. Pieces with a score below `min_score` are dropped first.

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
        pieces_by_page = self._read_pieces([np.asarray(images[i].convert("RGB")) for i in indices])
        results: list[list[Proposal]] = [[] for _ in images]
        for i, pieces in zip(indices, pieces_by_page, strict=True):
            results[i] = to_proposals(read_page([p for p in pieces if p.score >= self._min_score]))
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

    def _read_pieces(self, pages: list[np.ndarray]) -> list[list[Proposal]]:
        if self._workers is None:
            return _read(self._model_cache, pages, 0)
        chunks = [pages[i : i + CHUNK] for i in range(0, len(pages), CHUNK)]
        page_chunks = self._workers.pool().map(_read, repeat(self._model_cache), chunks, repeat(1))
        return [page for chunk in page_chunks for page in chunk]


def _read(model_cache: Path, pages: Sequence[np.ndarray], threads: int) -> list[list[Proposal]]:
    """The pieces of text of each (H, W, 3) uint8 RGB page; with `threads` 0, ONNX chooses the number of threads."""
    if not pages:
        return []
    with _lock:
        engine = _engine(model_cache, threads)
        return [_parse_result(engine.predict(page[:, :, ::-1])[0]) for page in pages]


def _parse_result(result: Any) -> list[Proposal]:
    rows = zip(result["rec_boxes"], result["rec_texts"], result["rec_scores"], strict=True)
    return [
        Proposal((float(b[0]), float(b[1]), float(b[2]), float(b[3])), float(score), "ocr", text.strip())
        for b, text, score in rows
        if text.strip()
    ]


@lru_cache(maxsize=1)
def _engine(model_cache: Path, threads: int) -> Any:
    os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")  # no network access
    os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(model_cache / "paddlex"))
    detector, recogniser = model_folders(model_cache)
    return _paddleocr()(
        engine="onnxruntime",
        engine_config={"intra_op_num_threads": threads},
        device="cpu",
        text_detection_model_name=DETECTOR,
        text_detection_model_dir=str(detector),
        text_recognition_model_name=RECOGNISER,
        text_recognition_model_dir=str(recogniser),
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        text_det_limit_side_len=MAX_SIDE,
        text_det_limit_type="max",
    )


def _paddleocr() -> Any:
    """The PaddleOCR class, imported without modelscope: paddlex uses it for downloads only, and it would import
    torch, transformers and peft (19 s of CPU time instead of 7)."""
    absent = "modelscope" not in sys.modules
    if absent:
        sys.modules["modelscope"] = ModuleType("modelscope")
    try:
        from paddleocr import PaddleOCR

        logging.getLogger("paddlex").setLevel(logging.WARNING)  # it logs every model it loads
        return PaddleOCR
    except ImportError as error:
        raise OCRUnavailable(_explain(error)) from error
    finally:
        if absent:
            del sys.modules["modelscope"]


def _explain(error: ImportError) -> str:
    if "libGL" in str(error) or "libgthread" in str(error):
        return (
            f"PaddleOCR: OpenCV cannot be loaded ({error}); expected the system libraries libGL and glib; "
            "install them (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0) or remove 'ocr' from "
            "propose.proposers in params.yaml"
        )
    return f"PaddleOCR: cannot be imported ({error}); run `uv sync`, or remove 'ocr' from propose.proposers"


def model_folders(model_cache: Path) -> tuple[Path, Path]:
    """The folders of the detector and the recogniser, written atomically at the first call.

    Raises OCRUnavailable when rapidocr, whose wheel contains the models, is not installed.
    """
    home = model_cache / LAYOUT
    if not home.is_dir():
        model_cache.mkdir(parents=True, exist_ok=True)
        draft = model_cache / f".{LAYOUT}.{os.getpid()}.{threading.get_ident()}"
        try:
            _lay_out(draft)
            draft.rename(home)
        except OSError:
            if not home.is_dir():  # otherwise another process wrote the same files first
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return home / DETECTOR, home / RECOGNISER


def _lay_out(folder: Path) -> None:
    models = _find_wheel_models()
    for name, config in (
        (DETECTOR, _detector_config()),
        (RECOGNISER, _recogniser_config(models[RECOGNISER])),
    ):
        target = folder / name
        target.mkdir(parents=True)
        shutil.copyfile(models[name], target / "inference.onnx")
        (target / "inference.yml").write_text(json.dumps(config, ensure_ascii=False))  # JSON is YAML


def _find_wheel_models() -> dict[str, Path]:
    from importlib.util import find_spec

    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise OCRUnavailable("rapidocr: not installed; its wheel carries the OCR models; run `uv sync`")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    paths = {DETECTOR: folder / "PP-OCRv6_det_small.onnx", RECOGNISER: folder / "PP-OCRv6_rec_small.onnx"}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise OCRUnavailable(f"rapidocr's wheel: {', '.join(missing)} not found; expected as in rapidocr 3.10")
    return paths


def _detector_config() -> dict[str, Any]:
    return {
        "Global": {"model_name": DETECTOR},
        "PreProcess": {
            "transform_ops": [
                {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
                {"DetResizeForTest": {"resize_long": MAX_SIDE}},
                {
                    "NormalizeImage": {
                        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
                        "scale": "1./255.", "order": "hwc",
                    }
                },
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {
            "name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5,
            "max_candidates": 1000,
        },
    }  # fmt: skip


def _recogniser_config(model: Path) -> dict[str, Any]:
    return {
        "Global": {"model_name": RECOGNISER},
        "PreProcess": {
            "transform_ops": [
                {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
                {"RecResizeImg": {"image_shape": [3, 48, MIN_WIDTH]}},
            ]
        },
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": _read_characters(model)},
    }


def _read_characters(model: Path) -> list[str]:
    """The alphabet, one character per line of the ONNX metadata. Only "\\n" ends a line: the alphabet itself
    contains other characters at which `splitlines` would split."""
    import onnx

    metadata = {p.key: p.value for p in onnx.load(str(model), load_external_data=False).metadata_props}
    return metadata["character"].removesuffix("\n").split("\n")
