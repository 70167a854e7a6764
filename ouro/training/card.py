"""The README.md of an adapter (ouro.core.cards)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ouro.core.cards import (
    NO_LICENCE,
    SCORES,
    code_block,
    code_span,
    count_table,
    make_card,
    param_block,
    score_table,
    table,
)
from ouro.training.job import TrainSummary

LIMITS = (
    "It was trained on what a model wrote of pictures. Where no person corrected that, the adapter learns its mistakes "
    "with the rest: things that are not there, wrong numbers, text that was misread.",
    "It was trained to describe pictures and to answer short questions about them, in English. Nothing else was tried.",
    "What the base model must not be used for, the adapter must not be used for.",
)


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an adapter was made of. `base`: the base's own name and its fingerprint; `code`: of what trained it;
    `account`: samples.json; `params`: flat; `digests`: SHA-256 of the shards that it was trained on, by stage."""

    base: str
    base_fingerprint: str
    version: str
    code: str
    params: Mapping[str, Any]
    account: Mapping[str, Any]
    digests: Mapping[str, str]
    notes: Sequence[str] = ()


def make_adapter_card(summary: TrainSummary, about: AdapterFacts) -> str:
    """The text of README.md beside a new adapter, which no benchmark has seen yet."""
    sections = {
        "What it is": (
            f"A LoRA adapter for {code_span(about.base)}, trained with Ouro on pictures with region-by-region "
            "descriptions and on questions about them that a model wrote.\n\n"
            + code_block(["peft.PeftModel.from_pretrained(base, REPO)  # base: the model named above"], "python")
        ),
        "Licence": NO_LICENCE,
        "Counts": _count(summary, about.account),
        SCORES: score_table([]),
        "Limits": "\n".join(f"- {text}" for text in (*about.notes, *LIMITS)),
        "Provenance": _list_provenance(about),
    }
    metadata = {
        "library_name": "peft",
        "pipeline_tag": "image-text-to-text",
        "language": ["en"],
        "tags": ["ouro", "lora", "vision-language", "synthetic"],
    }
    return make_card(metadata, f"LoRA for {code_span(about.base)}", sections)


def _count(summary: TrainSummary, account: Mapping[str, Any]) -> str:
    counts = {
        "images in": account["n_in"], "samples": account["n_out"], "optimizer steps": summary.steps,
        "tokens": summary.tokens, "trained parameters": summary.trainable, "all parameters": summary.parameters,
    }  # fmt: skip
    parts = [count_table("what", counts)]
    rejected: dict[str, int] = account["rejected"]
    parts.append(count_table("images that became no sample", rejected) if rejected else "Every image became a sample.")
    corrected: dict[str, int] = account.get("corrections", {})
    parts.append(count_table("corrected by people", corrected) if corrected else "No person corrected anything.")
    if summary.curve:
        last = summary.curve[-1]
        losses = [[code_span(name), f"{last[name]:.3f}"] for name in ("loss_desc", "loss_qa") if name in last]
        parts.append(table(["loss at the end", "value"], losses))
    return "\n\n".join(parts)


def _list_provenance(about: AdapterFacts) -> str:
    digests = code_block(f"{name}: sha256 {digest}" for name, digest in about.digests.items())
    return (
        f"Ouro {code_span(about.version)}, code {code_span(about.code)}; base {code_span(about.base)} with the "
        f"fingerprint {code_span(about.base_fingerprint)}. SHA-256 over the shards that it was trained on:\n\n"
        f"{digests}\n\nParams (of paths of the machine only the last name is here):\n\n{param_block(about.params)}"
    )
