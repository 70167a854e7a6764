"""A VisionLM from a Hugging Face folder: any Qwen2-VL style AutoModelForImageTextToText, nano or 7B.

Refuses remote code and pickled weights. Requests are answered greedily in batches of similar length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ouro.files import fingerprint_files
from ouro.vision.protocols import Request, batches


class ModelError(ValueError):
    """A model folder or adapter that cannot be used, with what to do about it."""


def load_model(folder: str | Path, dtype: str = "float32") -> tuple[Any, Any]:
    """(model in eval mode, processor). Raises ModelError for a missing or unsafe folder."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from ouro.vision.fast import accelerate_vision

    path = Path(folder)
    looks_local = path.is_absolute() or str(folder).startswith((".", "models/")) or path.exists()
    if looks_local and not (path / "config.json").is_file():
        raise ModelError(
            f"model folder {folder}: no config.json found; expected a Hugging Face folder such as models/nano; "
            "set model.base in params.yaml, or --model"
        )
    if looks_local and not list(path.glob("*.safetensors")):
        raise ModelError(f"model folder {folder}: no *.safetensors; pickled weights are refused, convert them first")
    safe = {"trust_remote_code": False, "local_files_only": looks_local}
    processor = AutoProcessor.from_pretrained(folder, **safe)
    model: Any = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=getattr(torch, dtype), use_safetensors=True, attn_implementation="sdpa", **safe
    )
    if torch.cuda.is_available():
        model = model.to(torch.device("cuda"))
    else:
        accelerate_vision(model)
    return model.eval(), processor


def folder_fingerprint(folder: str | Path) -> str:
    """SHA-256 (hex) over the files of a folder (not of its subfolders, not its README); of the name if not local."""
    path = Path(folder)
    if not path.is_dir():
        return hashlib.sha256(str(folder).encode()).hexdigest()
    return fingerprint_files(p for p in path.iterdir() if p.is_file() and p.suffix != ".md")


def vlm_fingerprint(base: str, dtype: str, adapter: str = "") -> str:
    """SHA-256 (hex) over what a model's replies depend on; `base` and `adapter` are fingerprints of their folders."""
    return hashlib.sha256(json.dumps([base, dtype, adapter]).encode()).hexdigest()


class HFVisionLM:
    """Greedy batched generation; implements ouro.vision.protocols.VisionLM."""

    def __init__(
        self, folder: str | Path, adapter: str | Path | None = None, dtype: str = "float32", batch_size: int = 64
    ) -> None:
        from ouro.vision.encoding import Encoder

        self.model, processor = load_model(folder, dtype)
        self.encoder = Encoder(processor)
        self.batch_size = batch_size
        if adapter is not None:
            self.model = load_adapter(self.model, adapter)
        self.shares = share_image_features(self.model)
        worn = folder_fingerprint(adapter) if adapter is not None else ""
        self.fingerprint = vlm_fingerprint(folder_fingerprint(folder), dtype, worn)

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """One reply a request, in order; `progress` is told how many were answered after each batch."""
        replies = [""] * len(requests)
        for chosen in batches(requests, self.batch_size):
            for i, text in zip(chosen, self._batch([requests[i] for i in chosen], max_new_tokens), strict=True):
                replies[i] = text
            if progress:
                progress(len(chosen))
        return replies

    def _batch(self, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
        import torch

        enc = self.encoder
        inputs: dict[str, Any] = {}
        shown = [view for r in requests for view in zip(r.images, r.bounds(), strict=True)]
        distinct = {(id(image), bound): (image, bound) for image, bound in shown}
        grids: list[Any] = []
        if shown:
            views = list(distinct.values()) if self.shares else shown
            inputs = enc.pixels([image for image, _ in views], [bound for _, bound in views])
        if shown and self.shares:
            number = {key: i for i, key in enumerate(distinct)}
            self.shares.use(inputs["image_grid_thw"], [number[id(image), bound] for image, bound in shown])
            inputs["image_grid_thw"] = inputs["image_grid_thw"][self.shares.index]
        if shown:
            grids = [tuple(g) for g in inputs["image_grid_thw"].tolist()]
        rows: list[list[int]] = []
        for r in requests:
            own, grids = grids[: len(r.images)], grids[len(r.images) :]
            rows.append([*enc.prefix(own), *enc.asked(r.prompt, len(r.images))])
        width = max(len(r) for r in rows)
        ids = torch.tensor([[enc.pad] * (width - len(r)) + r for r in rows])
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
        inputs |= {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == enc.image_id).int()}
        inputs = {k: v.to(self.model.device) for k, v in inputs.items()}
        with torch.inference_mode():
            out = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        return [t.strip() for t in enc.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]


class SharedFeatures:
    """A model's image features, made once for each distinct picture of a batch and handed out by index."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.grids: Any = None
        self.index: list[int] = []

    def use(self, grids: Any, index: list[int]) -> None:
        """`grids` (distinct pictures, 3); image i of the batch is distinct picture index[i]."""
        self.grids, self.index = grids, index

    def __call__(self, pixel_values: Any, image_grid_thw: Any = None, **kwargs: Any) -> Any:
        out = self.make(pixel_values, self.grids.to(pixel_values.device), **kwargs)
        out.pooler_output = tuple(out.pooler_output[i] for i in self.index)
        return out


def share_image_features(model: Any) -> SharedFeatures | None:
    """Let questions about one picture share its features; None for architectures that hand out more than features.

    Nine questions an image cost one pass of the vision tower instead of nine.
    """
    inner: Any = getattr(model, "model", None)
    if type(inner).__name__ not in ("Qwen2VLModel", "Qwen2_5_VLModel"):
        return None
    shared = SharedFeatures(inner.get_image_features)
    inner.get_image_features = shared
    return shared


def load_adapter(model: Any, adapter: str | Path) -> Any:
    """A peft adapter on `model`; raises ModelError when it is missing, empty or changes nothing.

    Keys that do not match load silently in peft, so the adapter must change the output to be believed.
    """
    from peft import PeftModel

    path = Path(adapter)
    if not (path / "adapter_config.json").is_file() or not (path / "adapter_model.safetensors").is_file():
        raise ModelError(f"adapter {adapter}: expected adapter_config.json and adapter_model.safetensors in it")
    wrapped = PeftModel.from_pretrained(model, str(path), is_trainable=False)
    if not adapter_changes_output(wrapped):
        raise ModelError(f"adapter {adapter}: loads, but does not change the model's output; was it trained for it?")
    return wrapped.merge_and_unload().eval()


def adapter_changes_output(wrapped: Any) -> bool:
    """Whether logits of a probe prompt are numbers, and differ with and without the adapter."""
    import torch

    ids = torch.arange(8, 24, device=wrapped.device)[None] % wrapped.config.get_text_config().vocab_size
    with torch.inference_mode():
        on = wrapped(input_ids=ids).logits
        with wrapped.disable_adapter():
            off = wrapped(input_ids=ids).logits
    return bool(torch.isfinite(on).all()) and not torch.equal(on, off)
