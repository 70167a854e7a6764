"""What the cards of datasets and adapters say, read from where it lies: params, digests, counts, scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.artifacts import fingerprint_files, list_shards
from ouro.core.cards import ScoreRow, public_value
from ouro.core.code import code_fingerprint
from ouro.core.corrections import corrections_file
from ouro.core.counts import count_stages
from ouro.core.layout import PIPELINE, Layout
from ouro.nano.model import is_nano
from tasks.weights import read_state

if TYPE_CHECKING:
    from ouro.export.card import Provenance

LOCK = Path("dvc.lock")
NANO_LIMIT = (
    "The annotator is nano, a model of 3 million parameters that knows drawn scenes of coloured shapes and nothing "
    "else. On photographs its words mean nothing."
)
UNKNOWN = "unknown"


def code_version() -> str:
    """The version of the installed package; with the fingerprint of its code it says which code ran."""
    try:
        return version("ouro")
    except PackageNotFoundError:
        return UNKNOWN


def dataset_provenance(layout: Layout) -> Provenance:
    """What an annotated folder, or data/, was made of. Raises ArtifactError."""
    from ouro.export.card import Provenance

    params = made_with(layout)
    annotator = annotator_of(params)
    return Provenance(
        name=dataset_name(layout.root),
        annotator=Path(annotator).name,
        version=code_version(),
        code=code_fingerprint(["ouro.export.folder"]),
        params=params,
        digests=shard_digests(layout),
        stages=count_stages(layout),
        scores=read_score_rows(sorted(layout.scores.glob("runs/*"))),
        notes=[NANO_LIMIT] if is_nano(Path(annotator)) else [],
    )


def dataset_name(folder: Path) -> str:
    """The folder's own name as text that any file can hold: bytes that are no UTF-8 are escaped."""
    return os.fsencode(folder.resolve().name).decode("utf-8", "backslashreplace") or "dataset"


def made_with(layout: Layout) -> dict[str, Any]:
    """The flat params of a dataset: those that `ouro annotate` noted; of data/ those of dvc.lock; none where neither
    is there."""
    noted = read_state(layout).get("agreed", {})
    return dict(noted) if noted or layout.root.resolve() != PIPELINE.root.resolve() else _locked_params()


def _locked_params(lock: Path = LOCK) -> dict[str, Any]:
    import yaml

    if not lock.is_file():
        return {}
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {})
    values: dict[str, Any] = {}
    for name in ("ingest", "propose", "describe", "merge", "synthesize"):
        values |= stages.get(name, {}).get("params", {}).get("params.yaml", {})
    return dict(flatten(values))


def flatten(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested params with keys like "train.k"."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def annotator_of(params: dict[str, Any]) -> str:
    """The annotator's folder, or its name on the server; UNKNOWN where the params do not say."""
    key = "model.name" if params.get("model.backend") == "openai" else "model.base"
    return str(params.get(key) or UNKNOWN)


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
            bounds = [points * bound for bound in (estimate.value, estimate.low, estimate.high)]
            rows.append(ScoreRow(label, str(scores["title"]), str(scores["reported"]), *bounds, estimate.n))
    return rows
