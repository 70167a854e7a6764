"""What the cards of datasets and of adapters both say: which code, shards, scores and limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ouro.core.artifacts import fingerprint_files, list_shards
from ouro.core.cards import ScoreRow, public_value
from ouro.core.corrections import corrections_file
from ouro.core.json_text import parse_json
from ouro.core.layout import Layout

NANO_LIMIT = (
    "The annotator is nano, a model of 3 million parameters that knows drawn scenes of coloured shapes and nothing "
    "else. On photographs its words mean nothing."
)
UNKNOWN = "unknown"


def nano_limits(base: Path) -> list[str]:
    """What must be known of a base or an annotator that is nano: by its config, as ouro.nano.model.is_nano, since stage
    train depends on nothing of ouro/nano."""
    try:
        world = parse_json((base / "config.json").read_text()).get("ouro_world")
    except (OSError, ValueError, AttributeError):
        return []
    return [NANO_LIMIT] if world == "nano" else []


def code_version() -> str:
    """The version of the installed package; with the fingerprint of its code it says which code ran."""
    try:
        return version("ouro")
    except PackageNotFoundError:
        return UNKNOWN


def flatten(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested params with keys like "train.k"."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shard_digests(layout: Layout) -> dict[str, str]:
    """SHA-256 over the shards of every stage that has run, and over the corrections."""
    digests = {
        folder.name: fingerprint_files(list_shards(folder)) for folder in layout.stages().values() if folder.is_dir()
    }
    corrections = corrections_file(layout)
    return digests | ({"corrections": fingerprint_files([corrections])} if corrections.is_file() else {})


def read_score_rows(runs: Sequence[Path]) -> list[ScoreRow]:
    """The reported figure of every benchmark of these runs (what `ouro benchmark --out` wrote, or data/scores/runs).

    Raises BenchmarkFileError for a folder that is no run.
    """
    from ouro.benchmarks.run_folder import SCORES, read_about, read_scores, reported, scored_folders

    rows: list[ScoreRow] = []
    for run in runs:
        label = str(public_value(read_about(run)["label"]))
        for place in scored_folders(run):
            scores = read_scores(place / SCORES)
            estimate, points = reported(scores), float(scores["points"])
            value, low, high = (points * bound for bound in (estimate.value, estimate.low, estimate.high))
            rows.append(ScoreRow(label, str(scores["title"]), str(scores["reported"]), value, low, high, estimate.n))
    return rows
