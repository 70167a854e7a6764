"""The models of OCR: PP-OCRv6 small and the classifier of upside-down lines, of rapidocr's wheel, on ONNX, offline.

PaddleOCR needs each model as a folder of `inference.onnx` and `inference.yml`; the wheel has bare ONNX files, with the
recogniser's characters in the metadata. `model_folders` writes such folders once, to a cache folder. The classifier
(PP-OCR's ch_ppocr_mobile_v2.0_cls) is read where it lies.
"""
# paddleocr and onnxruntime publish no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ouro.core.errors import OuroError
from ouro.vision.layout import READ_SIDE
from ouro.vision.turned import Line, Page, first_turn, read_turned

if TYPE_CHECKING:
    from collections.abc import Sequence

DETECTOR, RECOGNISER = "PP-OCRv6_small_det", "PP-OCRv6_small_rec"
CLASSIFIER = "ch_ppocr_mobile_v2.0_cls"
LAYOUT = "ppocrv6-small-w128-1"  # increase the last number whenever the written files change
MAX_SIDE = READ_SIDE  # longer pictures are scaled down to this for detection; words are read at full scale
MIN_WIDTH = 128  # a line is padded to this width at height 48 (320 upstream, three times slower on words)
LINE = (192, 48)  # pixels, width and height of what the classifier looks at

Crop = NDArray[np.uint8]


class OCRUnavailable(OuroError, ImportError):
    """PaddleOCR or its models cannot be loaded on this machine."""


class Tools:
    """The models, each loaded when it is used first. Pages and lines are (H, W, 3) uint8 BGR."""

    def __init__(self, model_cache: Path, threads: int) -> None:
        self._model_cache, self._threads = model_cache, threads

    def read(self, page: np.ndarray) -> Page:
        return read_turned(page, self.read_lines, self.upside_down, self.recognise)

    def read_lines(self, page: np.ndarray) -> list[Line]:
        result = _load_reader(self._model_cache, self._threads).predict(page)[0]
        rows = zip(result["rec_polys"], result["rec_texts"], result["rec_scores"], strict=True)
        return [_parse_line(corners, text, score) for corners, text, score in rows]

    def upside_down(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return _upside_down(crops, self._threads)

    def recognise(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        results = _load_line_reader(self._model_cache, self._threads).predict(list(crops))
        return [(result["rec_text"].strip(), float(result["rec_score"])) for result in results]


def _parse_line(corners: Any, text: str, score: float) -> Line:
    quad = np.asarray(corners, dtype=np.float32).reshape(4, 2)
    return Line(quad, text.strip(), float(score), first_turn(quad))


@lru_cache(maxsize=1)
def _load_reader(model_cache: Path, threads: int) -> Any:
    """PaddleOCR: detection and recognition. Raises OCRUnavailable."""
    detector, recogniser = model_folders(model_cache)
    return _paddleocr(model_cache).PaddleOCR(
        **_on_onnx(threads),
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


@lru_cache(maxsize=1)
def _load_line_reader(model_cache: Path, threads: int) -> Any:
    """The recogniser alone, for lines that are cut out already. Raises OCRUnavailable."""
    _, recogniser = model_folders(model_cache)
    return _paddleocr(model_cache).TextRecognition(
        model_name=RECOGNISER, model_dir=str(recogniser), **_on_onnx(threads)
    )


@lru_cache(maxsize=1)
def _load_classifier(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = _find_wheel_models()[CLASSIFIER]
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _upside_down(crops: Sequence[Crop], threads: int) -> NDArray[np.float32]:
    """(N,) probabilities that lines of text, (H, W, 3) uint8 BGR, are turned by 180 degrees."""
    session = _load_classifier(threads)
    batch = np.stack([_prepare_line(crop) for crop in crops])
    return session.run(None, {session.get_inputs()[0].name: batch})[0][:, 1]


def _prepare_line(crop: Crop) -> NDArray[np.float32]:
    """(3, 48, 192) in -1..1: scaled to the height, and squeezed or padded on the right, as PP-OCR does."""
    import cv2

    width, height = LINE
    filled = min(width, max(1, -(-height * crop.shape[1] // crop.shape[0])))
    scaled = cv2.resize(crop, (filled, height)).astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    return np.pad(scaled, ((0, 0), (0, 0), (0, width - filled)))


def _on_onnx(threads: int) -> dict[str, Any]:
    return {"engine": "onnxruntime", "engine_config": {"intra_op_num_threads": threads}, "device": "cpu"}


def _paddleocr(model_cache: Path) -> Any:
    """The package paddleocr, imported without modelscope: paddlex uses it for downloads only, and it would import
    torch, transformers and peft (19 s of CPU time instead of 7)."""
    os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")  # no network access
    os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(model_cache / "paddlex"))
    absent = "modelscope" not in sys.modules
    if absent:
        sys.modules["modelscope"] = ModuleType("modelscope")
    try:
        import paddleocr

        logging.getLogger("paddlex").setLevel(logging.WARNING)  # it logs every model it loads
        return paddleocr
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
            "propose.proposers"
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
    files = {DETECTOR: "PP-OCRv6_det_small", RECOGNISER: "PP-OCRv6_rec_small", CLASSIFIER: f"{CLASSIFIER}_mobile"}
    paths = {name: folder / f"{file}.onnx" for name, file in files.items()}
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
