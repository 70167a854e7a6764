"""The README.md of an exported dataset (ouro.core.cards)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ouro.core.cards import (
    NO_LICENCE,
    SCORES,
    ScoreRow,
    code_block,
    code_span,
    count_table,
    make_card,
    param_block,
    score_table,
    size_category,
    table,
)
from ouro.core.counts import StageCount
from ouro.export.folder import ExportCounts

# What a channel teaches, in the hub's words: huggingface.js, packages/tasks/src/pipelines.ts.
_TASKS = {
    "description": "image-to-text", "questions": "visual-question-answering", "regions": "image-to-text",
    "grounding": "object-detection",
}  # fmt: skip
_ROWS_ARE_IMAGES = ("trl", "webdataset", "coco", "label-studio", "fiftyone")
# File patterns of the formats that `datasets` reads: config name -> (file that must be there, pattern).
_CONFIGS = {
    "ms-swift": {"default": "train.jsonl", "grounding": "grounding.jsonl"},
    "llava": {"default": "train.json"},
    "sharegpt": {"default": "train.jsonl"},
    "trl": {"default": "data/train-*.parquet"},
    "webdataset": {"default": "*.tar"},
}
LIMITS = (
    "A model wrote the descriptions, questions and answers, and rules and the model itself checked them. Where no "
    "person corrected them (see Counts), nobody has read them: they can name things that are not there, miscount, "
    "misread small or slanted text, and repeat what the model learnt to expect of people and places.",
    "Regions are those that the proposers found: what they missed is described by nobody, and a box is as good as its "
    "proposer. Questions are asked of the description, so they ask for nothing that it leaves out.",
    "Pictures are as they came in. People, number plates, screens and papers in them can be recognised, and their "
    "rights are not cleared by this dataset.",
    "The texts are English.",
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a dataset was made of. `params`: flat; `digests`: SHA-256 of the shards of each stage, by its folder;
    `code`: the fingerprint of what exported; `stages`: records in, out, rejected; `notes`: limits of who annotated."""

    name: str
    annotator: str
    version: str
    code: str
    params: Mapping[str, Any]
    digests: Mapping[str, str]
    stages: Sequence[StageCount]
    scores: Sequence[ScoreRow] = ()
    notes: Sequence[str] = ()


def make_dataset_card(counts: ExportCounts, files: Sequence[str], contents: Sequence[str], about: Provenance) -> str:
    """The text of README.md for an export of these contents; `files`: the names in its folder."""
    sections = {
        "What it is": _describe(counts, about),
        "Licence": NO_LICENCE,
        "Counts": _count(counts),
        "Rejected while it was made": _list_rejections(about.stages),
        SCORES: score_table(about.scores),
        "Limits": "\n".join(f"- {text}" for text in (*about.notes, *LIMITS)),
        "Provenance": _list_provenance(about),
    }
    return make_card(_metadata(counts, files, contents, about), code_span(about.name), sections)


def _metadata(counts: ExportCounts, files: Sequence[str], contents: Sequence[str], about: Provenance) -> dict[str, Any]:
    n_rows = counts.images_out if counts.format in _ROWS_ARE_IMAGES else sum(counts.conversations.values())
    makers = ["machine-generated", *(["other"] if any(f != "stale" for f in counts.corrections) else [])]
    return {
        "pretty_name": " ".join(about.name.split())[:100],
        "language": ["en"],
        "annotations_creators": makers,
        "language_creators": list(makers),  # a list of its own: YAML would refer to the other
        "multilinguality": ["monolingual"],
        "size_categories": [size_category(n_rows)],
        "task_categories": list(dict.fromkeys(_TASKS[name] for name in contents)),
        "tags": ["ouro", "synthetic", "vision-language", "region-descriptions", counts.format],
        "configs": _list_configs(counts.format, files),
    }


def _list_configs(format: str, files: Sequence[str]) -> list[dict[str, Any]]:
    """Which files hold rows, for `datasets`, as far as they were written."""
    found = {
        name: pattern
        for name, pattern in _CONFIGS.get(format, {}).items()
        if pattern in files or pattern.split("/")[0] in files or any(f.endswith(pattern.strip("*")) for f in files)
    }
    return [
        {"config_name": name, "data_files": [{"split": "train", "path": pattern}]} for name, pattern in found.items()
    ]


def _describe(counts: ExportCounts, about: Provenance) -> str:
    channels = ", ".join(f"{code_span(name)} ({n:,})" for name, n in counts.turns.items()) or "nothing"
    return (
        f"{counts.images_out:,} images that {code_span(about.annotator)} described region by region, with Ouro: "
        "regions are proposed recursively, each is described, the descriptions are merged into one of the whole image, "
        f"and questions are asked about it. In the form that {code_span(counts.format)} reads. Turns: {channels}."
    )


def _count(counts: ExportCounts) -> str:
    rejected = {f"images: {k}": n for k, n in counts.images_rejected.items()}
    rejected |= {f"turns: {k}": n for k, n in counts.turns_rejected.items()}
    rows = {
        "images in": counts.images_in, "images out": counts.images_out,
        "conversations": sum(counts.conversations.values()), "turns": sum(counts.turns.values()),
    }  # fmt: skip
    parts = [count_table("what", rows)]
    if counts.control_tokens:
        parts.append(f"Control tokens in texts, broken so that no tokenizer takes them: {counts.control_tokens:,}.")
    parts.append(count_table("left out of the export", rejected) if rejected else "Nothing was left out of the export.")
    corrected = count_table("corrected by people", counts.corrections) if counts.corrections else ""
    parts.append(corrected or "No person has corrected anything.")
    return "\n\n".join(parts)


def _list_rejections(stages: Sequence[StageCount]) -> str:
    """In = out + rejected, at every stage."""
    rows = [[code_span(s.stage), f"{s.n_in:,}", f"{s.n_out:,}", f"{sum(s.rejected.values()):,}"] for s in stages]
    reasons = [
        [code_span(s.stage), code_span(reason), f"{n:,}"] for s in stages for reason, n in sorted(s.rejected.items())
    ]
    overview = table(["stage", "in", "out", "rejected"], rows)
    return overview + ("\n\n" + table(["stage", "reason", "rejected"], reasons) if reasons else "")


def _list_provenance(about: Provenance) -> str:
    digests = code_block(f"{name}: sha256 {digest}" for name, digest in about.digests.items())
    return (
        f"Ouro {code_span(about.version)}, code {code_span(about.code)}. SHA-256 over the shards of each stage:\n\n"
        f"{digests}\n\nParams (of paths of the machine only the last name is here):\n\n{param_block(about.params)}"
    )
