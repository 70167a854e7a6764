"""A VisionLM from a Hugging Face folder: any Qwen2-VL style AutoModelForImageTextToText, nano or 7B.

Refuses remote code and pickled weights. Decoding is greedy, in batches of similar length, longest first; on a GPU,
worker processes prepare the next batches while the model generates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ouro.core.files import folder_fingerprint
from ouro.core.json_text import parse_json
from ouro.vision.adapter_patterns import pattern_problem
from ouro.vision.ahead import BatchPreparer
from ouro.vision.encoding import Encoder, Prepared, views
from ouro.vision.folders import ModelError, check_model_files, explained, load_options, load_processor, vlm_fingerprint
from ouro.vision.protocols import OnReplies, Request, plan_batches

PROBE_SIDE = 112  # pixels; of the picture that tests whether an adapter changes the output


def load_model(folder: str | Path, dtype: str = "float32", quantization: str = "none") -> tuple[Any, Any]:
    """(model in eval mode, processor). `quantization` "nf4" keeps the weights of linear layers in 4 bits (QLoRA).

    Raises ModelError for a missing or unsafe folder, and where bitsandbytes is missing.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    from ouro.vision.fast import accelerate_vision

    processor = load_processor(folder)
    options = {**_quantization_options(dtype, quantization), **load_options(folder)}
    with explained(folder):
        model: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, attn_implementation="sdpa", **options
        )
    if quantization == "none" and torch.cuda.is_available():
        model = model.to(torch.device("cuda"))
    else:
        accelerate_vision(model)
    return model.eval(), processor


def _quantization_options(dtype: str, quantization: str) -> dict[str, Any]:
    """Options of from_pretrained for QLoRA (Dettmers et al., arXiv 2305.14314): NF4 with double quantization."""
    import importlib.util

    if quantization == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"train.quantization={quantization}: bitsandbytes is not installed. Fix: `uv sync --extra qlora`, or "
            "train.quantization=none"
        )
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=quantization, bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )  # fmt: skip
    return {"quantization_config": config, "device_map": {"": "cuda" if torch.cuda.is_available() else "cpu"}}


class HFVisionLM:
    """Greedy batched generation; implements ouro.vision.protocols.VisionLM.

    A batch holds at most `batch_size` requests and `batch_tokens` visual tokens (None: no such bound).
    `prepare_processes`: the number of workers that resize and tokenize the next batches; replies do not depend on it.
    """

    def __init__(
        self,
        folder: str | Path,
        adapter: str | Path | None = None,
        dtype: str = "float32",
        batch_size: int = 64,
        batch_tokens: int | None = None,
        prepare_processes: int = 0,
    ) -> None:
        self.model, processor = load_model(folder, dtype)
        self.encoder = Encoder(processor)
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        if adapter is not None:
            self.model = load_adapter(self.model, adapter, self.encoder)
        self.shares = share_image_features(self.model)
        adapter_fingerprint = folder_fingerprint(adapter) if adapter is not None else ""
        self.fingerprint = vlm_fingerprint(folder_fingerprint(folder), dtype, adapter_fingerprint)
        self._preparer = BatchPreparer(folder, prepare_processes) if prepare_processes else None
        self._generate_lock = threading.Lock()  # shared features and M-RoPE offsets are state of the model

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One reply per request, in order; `progress` gets the number of replies after each batch."""
        replies = [""] * len(requests)
        tokens = [sum(map(self.encoder.visual_tokens, views(r))) for r in requests]
        plan = plan_batches(requests, self.batch_size, tokens, self.batch_tokens)
        request_batches = [[requests[i] for i in indices] for indices in plan]
        share = self.shares is not None
        inputs = (
            self._preparer.prepare(request_batches, share)
            if self._preparer
            else (self.encoder.batch(p, share) for p in request_batches)
        )
        for indices, prepared in zip(plan, inputs, strict=True):
            batch = dict(zip(indices, self._reply(prepared, max_new_tokens), strict=True))
            for i, text in batch.items():
                replies[i] = text
            if on_replies:
                on_replies(batch)
            if progress:
                progress(len(indices))
        return replies

    def answer(self, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
        """Replies to the requests as one batch."""
        return self._reply(self.encoder.batch(requests, self.shares is not None), max_new_tokens)

    def _reply(self, prepared: Prepared, max_new_tokens: int) -> list[str]:
        import torch

        inputs = {k: torch.from_numpy(v).to(self.model.device) for k, v in prepared.inputs.items()}
        width = inputs["input_ids"].shape[1]
        with self._generate_lock, torch.inference_mode():
            if self.shares and prepared.grids is not None:
                self.shares.use(torch.from_numpy(prepared.grids), prepared.picture_of)
            out = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        texts = self.encoder.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        return [text.strip() for text in texts]


class SharedFeatures:
    """Replaces a model's get_image_features: computes features once per distinct picture of a batch, then indexes."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.grids: Any = None
        self.index: Sequence[int] = ()

    def use(self, grids: Any, index: Sequence[int]) -> None:
        """For the next call: `grids` (distinct pictures, 3); image i of the batch is distinct picture index[i]."""
        self.grids, self.index = grids, index

    def __call__(self, pixel_values: Any, image_grid_thw: Any = None, **kwargs: Any) -> Any:
        if self.grids is None:  # `use` was not called: no sharing
            return self.make(pixel_values, image_grid_thw, **kwargs)
        out = self.make(pixel_values, self.grids.to(pixel_values.device), **kwargs)
        self.grids = None
        out.pooler_output = tuple(out.pooler_output[i] for i in self.index)
        if getattr(out, "deepstack_features", None):  # Qwen3-VL: features of earlier layers, too
            out.deepstack_features = [tuple(layer[i] for i in self.index) for layer in out.deepstack_features]
        return out


def share_image_features(model: Any) -> SharedFeatures | None:
    """Let questions about one picture share its image features; None for other architectures than those listed here.

    Nine questions about an image then need one pass of the vision tower instead of nine.
    """
    inner_model: Any = getattr(model, "model", None)
    if type(inner_model).__name__ not in ("Qwen2VLModel", "Qwen2_5_VLModel", "Qwen3VLModel"):
        return None
    shared = SharedFeatures(inner_model.get_image_features)
    inner_model.get_image_features = shared
    return shared


def load_adapter(model: Any, adapter: str | Path, encoder: Encoder) -> Any:
    """Load a peft adapter and merge it into `model`. Raises ModelError when it is missing, empty or changes nothing.

    peft silently ignores keys that do not match, so the output with the adapter is checked to be different.
    """
    from peft import PeftModel

    path = Path(adapter)
    if not (path / "adapter_config.json").is_file() or not (path / "adapter_model.safetensors").is_file():
        raise ModelError(f"adapter {adapter}: expected adapter_config.json and adapter_model.safetensors in it")
    check_model_files(path)
    config = parse_json((path / "adapter_config.json").read_bytes())
    if problem := pattern_problem(config, (name for name, _ in model.named_modules())):
        raise ModelError(f"adapter {adapter}: {problem}")
    with explained(adapter, "adapter"):
        wrapped = PeftModel.from_pretrained(model, str(path), is_trainable=False)
    if not adapter_changes_output(wrapped, encoder):
        raise ModelError(f"adapter {adapter}: loads, but does not change the model's output; was it trained for it?")
    return wrapped.merge_and_unload().eval()


def adapter_changes_output(wrapped: Any, encoder: Encoder) -> bool:
    """Whether the logits of a test request are finite and differ with and without the adapter.

    The request has a picture, since an adapter of the vision tower alone does not change a reply to text.
    """
    import torch

    probe = encoder.batch([_make_probe()], share=False).inputs
    inputs = {k: torch.from_numpy(v).to(wrapped.device) for k, v in probe.items()}
    with torch.inference_mode():
        with_adapter = wrapped(**inputs).logits
        with wrapped.disable_adapter():
            without_adapter = wrapped(**inputs).logits
    return bool(torch.isfinite(with_adapter).all()) and not torch.equal(with_adapter, without_adapter)


def _make_probe() -> Request:
    """A request with a picture of noise, in which no two patches are equal."""
    import numpy as np
    from PIL import Image as PILImage

    noise = np.random.default_rng(0).integers(0, 256, (PROBE_SIDE, PROBE_SIDE, 3), dtype=np.uint8)
    return Request((PILImage.fromarray(noise),), "Describe the image.", (PROBE_SIDE**2,))
