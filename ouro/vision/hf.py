"""A VisionLM from a Hugging Face folder: any Qwen2-VL style AutoModelForImageTextToText, nano or 7B.

Refuses remote code and pickled weights. Decoding is greedy, in batches of similar length, longest first; on a GPU,
worker processes prepare the next batches while the model generates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.files import folder_fingerprint
from ouro.vision.adapters import check_unquantised, find_tokenizer, merge_into
from ouro.vision.ahead import BatchPreparer
from ouro.vision.encoding import Encoder, Prepared, views
from ouro.vision.folders import ModelError, explained, load_options, load_processor, vlm_fingerprint
from ouro.vision.probabilities import (
    GreedyProbabilities,
    Ids,
    decisive_paths,
    end_tokens,
    option_probabilities,
    rows_of,
    spellings,
)
from ouro.vision.protocols import OnReplies, Reply, Request, check_options, plan_batches, split_by_length
from ouro.vision.rows import images_of, take_rows
from ouro.vision.shared_features import share_image_features

if TYPE_CHECKING:
    import torch


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
    """Greedy batched generation; implements ouro.vision.protocols.VisionLM and Scoring.

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
        if adapter is not None:
            check_unquantised(folder, adapter)
        self.model, processor = load_model(folder, dtype)
        n_tokens = len(processor.tokenizer)
        if adapter is not None:
            self.model = merge_into(self.model, processor, adapter)
        self.encoder = Encoder(processor)
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        tokenizer = find_tokenizer(adapter) if adapter is not None and len(processor.tokenizer) != n_tokens else None
        self.shares = share_image_features(self.model)
        adapter_fingerprint = folder_fingerprint(adapter) if adapter is not None else ""
        self.fingerprint = vlm_fingerprint(folder_fingerprint(folder), dtype, adapter_fingerprint)
        self._preparer = BatchPreparer(folder, prepare_processes, tokenizer) if prepare_processes else None
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
            batch = dict(
                zip(indices, self._reply([requests[i] for i in indices], prepared, max_new_tokens), strict=True)
            )
            for i, text in batch.items():
                replies[i] = text
            if on_replies:
                on_replies(batch)
            if progress:
                progress(len(indices))
        return replies

    def answer(self, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
        """Replies to the requests as one batch."""
        return self._reply(requests, self.encoder.batch(requests, self.shares is not None), max_new_tokens)

    def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
        """The probability of each request's options (ouro.vision.protocols.Scoring), by teacher forcing.

        A request takes one row of a batch where all its options differ in their first token, else as many as there are
        beginnings that several options share.
        """
        check_options(requests, options)
        paths = [decisive_paths([self._spellings(option) for option in choices]) for choices in options]
        rows = [rows_of(option_paths) for option_paths in paths]
        forced = [(request, ids) for request, option_paths in zip(requests, rows, strict=True) for ids in option_paths]
        logits = iter(self._forced_logits(forced))
        return [
            option_probabilities(option_paths, ids, [next(logits) for _ in ids], len(choices))
            for option_paths, ids, choices in zip(paths, rows, options, strict=True)
        ]

    def _spellings(self, option: str) -> list[Ids]:
        """Token ids with the end token; spellings of which a word is unknown only where all are."""
        all_ids = list(dict.fromkeys((*self.encoder.reply(text),) for text in spellings(option)))
        unknown = self.encoder.tokenizer.unk_token_id
        return [ids for ids in all_ids if unknown not in ids] or all_ids

    def _forced_logits(self, forced: Sequence[tuple[Request, Ids]]) -> list[torch.Tensor]:
        """For each request and beginning of its reply the logits (its tokens and one more, V) on the CPU."""
        requests = [request for request, _ in forced]
        tokens = [sum(map(self.encoder.visual_tokens, views(r))) for r in requests]
        logits: dict[int, torch.Tensor] = {}
        for indices in plan_batches(requests, self.batch_size, tokens, self.batch_tokens):
            batch = [requests[i] for i in indices]
            replies = [forced[i][1] for i in indices]
            for i, row in zip(indices, self._logits(batch, replies), strict=True):
                logits[i] = row[-len(forced[i][1]) - 1 :].float().cpu()
        return [logits[i] for i in range(len(forced))]

    def _logits(self, requests: Sequence[Request], replies: Sequence[Ids]) -> torch.Tensor:
        """(B, the longest reply's tokens and one more, V)."""
        import torch

        prepared = self.encoder.batch(requests, self.shares is not None, replies)
        inputs = {k: torch.from_numpy(v).to(self.model.device) for k, v in prepared.inputs.items()}
        with self._generate_lock, torch.inference_mode(), self._shared(prepared):
            return self.model(**inputs, logits_to_keep=max(map(len, replies)) + 1, use_cache=False).logits

    def _shared(self, prepared: Prepared) -> AbstractContextManager[object]:
        if self.shares is None or prepared.grids is None:
            return nullcontext()
        return self.shares.of(prepared.grids, prepared.picture_of)

    def _reply(self, requests: Sequence[Request], prepared: Prepared, max_new_tokens: int) -> list[str]:
        """Short replies are generated after the long ones, from the same features of the pictures."""
        import torch

        inputs = {k: torch.from_numpy(v).to(self.model.device) for k, v in prepared.inputs.items()}
        replies = [""] * len(requests)
        parts = split_by_length(requests)
        with self._generate_lock, torch.inference_mode(), self._shared(prepared):
            for rows in parts:
                limit = min(max_new_tokens, requests[rows[0]].most_tokens or max_new_tokens)
                part = inputs
                if len(parts) > 1:
                    images = images_of(requests, rows)
                    part = take_rows(inputs, rows, images, shared=prepared.grids is not None)
                    if self.shares:
                        self.shares.images = images
                confidence = any(requests[i].confidence for i in rows)
                for i, reply in zip(rows, self._generate(part, limit, confidence), strict=True):
                    replies[i] = reply if requests[i].confidence else str(reply)
        return replies

    def _generate(self, inputs: dict[str, torch.Tensor], max_new_tokens: int, confidence: bool) -> list[str]:
        """Greedy replies, as Reply with `confidence` where they have a token."""
        probabilities = GreedyProbabilities() if confidence else None
        settings: dict[str, Any] = {"logits_processor": [probabilities]} if probabilities else {}
        out = self.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, **settings)
        ids = out[:, inputs["input_ids"].shape[1] :]
        texts = [t.strip() for t in self.encoder.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        if probabilities is None:
            return texts
        measured = probabilities.of_replies(ids, end_tokens(self.model, self.encoder.end, self.encoder.pad))
        return [Reply(text, *both) if both else text for text, both in zip(texts, measured, strict=True)]
