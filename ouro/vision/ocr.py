"""Words in pictures: PaddleOCR 3.7 on ONNX, offline, with the PP-OCRv6 small models of rapidocr's wheel.

PaddleOCR wants each model as a folder of `inference.onnx` and `inference.yml`; the wheel carries bare ONNX
files, the recogniser's characters in its metadata. `model_folders` lays them out once in a cache folder.
One engine per process, loaded at the first use (about 10 s, most of it importing paddleocr). What it reads, words
or whole lines, is put together to lines and blocks by ouro.vision.layout.
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

from ouro.core.processes import Workers
from ouro.vision.layout import READ_SIDE, as_proposals, read_page
from ouro.vision.protocols import Proposal
from ouro.vision.text_likely import text_likely

if TYPE_CHECKING:
    from collections.abc import Sequence

    import PIL.Image

    from ouro.core.params import Propose

DETECTOR, RECOGNISER = "PP-OCRv6_small_det", "PP-OCRv6_small_rec"
LAYOUT = "ppocrv6-small-w128-1"  # raise the number whenever the written files change
MAX_SIDE = READ_SIDE  # longer pictures are scaled down to this for detection; words are read at full scale
CHUNK = 4  # pages a reader is handed at once
MIN_WIDTH = 128  # a line is padded to this width at height 48 (320 upstream, three times slower on words)
_log = logging.getLogger(__name__)
_lock = threading.Lock()  # the pipeline keeps state while it predicts


class OCRUnavailable(ImportError):
    """PaddleOCR or its models cannot be loaded on this machine."""


class OCRProposer:
    """Text as proposals of source "ocr", box in pixels of the given image: blocks in reading order, each followed by
    its lines when it has more than one. What is read with less than `min_score` is left out before.

    `model_cache`: a folder that may be created; holds about 31 MB. With `processes` > 1 so many readers of one
    thread each work side by side; what they read does not depend on their number. With `when` "likely" only the
    images are read that `text_likely` finds rows of letters in; `skipped` counts the others, `why` by reason.
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
        """The same readers with counters of their own, from 0: one for each shard, so that shards do not mix."""
        fresh = copy.copy(self)
        fresh.skipped, fresh.why = 0, Counter()
        return fresh

    def propose(self, images: Sequence[PIL.Image.Image]) -> list[list[Proposal]]:
        """Raises OCRUnavailable when PaddleOCR cannot be loaded."""
        wanted = [i for i, image in enumerate(images) if self._wants(image)]
        read = self._pieces([np.asarray(images[i].convert("RGB")) for i in wanted])
        found: list[list[Proposal]] = [[] for _ in images]
        for i, pieces in zip(wanted, read, strict=True):
            found[i] = as_proposals(read_page([p for p in pieces if p.score >= self._min_score]))
        return found

    def _wants(self, image: PIL.Image.Image) -> bool:
        if self._when == "always":
            return True
        likely = text_likely(image, MAX_SIDE)
        if not likely.likely:
            _log.debug("OCR skips an image of %d x %d: %s", *image.size, likely.why)
            self.skipped += 1
            self.why[likely.reason] += 1
        return likely.likely

    def _pieces(self, pages: list[np.ndarray]) -> list[list[Proposal]]:
        if self._workers is None:
            return _read(self._model_cache, pages, 0)
        chunks = [pages[i : i + CHUNK] for i in range(0, len(pages), CHUNK)]
        read = self._workers.pool().map(_read, repeat(self._model_cache), chunks, repeat(1))
        return [page for chunk in read for page in chunk]


def _read(model_cache: Path, pages: Sequence[np.ndarray], threads: int) -> list[list[Proposal]]:
    """The pieces of text of each (H, W, 3) uint8 RGB page; `threads` 0 leaves their number to ONNX."""
    if not pages:
        return []
    with _lock:
        engine = _engine(model_cache, threads)
        return [_found(engine.predict(page[:, :, ::-1])[0]) for page in pages]


def _found(result: Any) -> list[Proposal]:
    found = zip(result["rec_boxes"], result["rec_texts"], result["rec_scores"], strict=True)
    return [
        Proposal((float(b[0]), float(b[1]), float(b[2]), float(b[3])), float(score), "ocr", text.strip())
        for b, text, score in found
        if text.strip()
    ]


@lru_cache(maxsize=1)
def _engine(model_cache: Path, threads: int) -> Any:
    os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")  # never ask the network
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
    """The PaddleOCR class, imported without modelscope: paddlex only downloads with it, and it would bring
    torch, transformers and peft into the process (19 s of CPU time instead of 7)."""
    absent = "modelscope" not in sys.modules
    if absent:
        sys.modules["modelscope"] = ModuleType("modelscope")
    try:
        from paddleocr import PaddleOCR

        logging.getLogger("paddlex").setLevel(logging.WARNING)  # it announces every model it loads
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
    """The detector's and the recogniser's folders, written atomically at the first call.

    Raises OCRUnavailable when rapidocr, whose wheel carries the models, is not installed.
    """
    home = model_cache / LAYOUT
    if not home.is_dir():
        model_cache.mkdir(parents=True, exist_ok=True)
        draft = model_cache / f".{LAYOUT}.{os.getpid()}.{threading.get_ident()}"
        try:
            _lay_out(draft)
            draft.rename(home)
        except OSError:
            if not home.is_dir():  # else another process was faster, with the same files
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return home / DETECTOR, home / RECOGNISER


def _lay_out(folder: Path) -> None:
    models = _wheel_models()
    for name, config in (
        (DETECTOR, _detector_config()),
        (RECOGNISER, _recogniser_config(models[RECOGNISER])),
    ):
        target = folder / name
        target.mkdir(parents=True)
        shutil.copyfile(models[name], target / "inference.onnx")
        (target / "inference.yml").write_text(json.dumps(config, ensure_ascii=False))  # JSON is YAML


def _wheel_models() -> dict[str, Path]:
    from importlib.util import find_spec

    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise OCRUnavailable("rapidocr: not installed; its wheel carries the OCR models; run `uv sync`")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    found = {DETECTOR: folder / "PP-OCRv6_det_small.onnx", RECOGNISER: folder / "PP-OCRv6_rec_small.onnx"}
    missing = [str(path) for path in found.values() if not path.is_file()]
    if missing:
        raise OCRUnavailable(f"rapidocr's wheel: {', '.join(missing)} not found; expected as in rapidocr 3.10")
    return found


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
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": _characters(model)},
    }


def _characters(model: Path) -> list[str]:
    """The alphabet, one character a line of the ONNX metadata. Only "\\n" ends a line: the alphabet itself
    holds other characters that `splitlines` would split at."""
    import onnx

    metadata = {p.key: p.value for p in onnx.load(str(model), load_external_data=False).metadata_props}
    return metadata["character"].removesuffix("\n").split("\n")
