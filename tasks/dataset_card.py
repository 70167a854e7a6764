"""What the card of an exported dataset says of where it comes from, read from where that lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ouro.core.code import code_fingerprint
from ouro.core.counts import count_stages
from ouro.core.layout import PIPELINE, Layout
from ouro.export.card import Provenance
from tasks.cards import UNKNOWN, code_version, flatten, nano_limits, read_score_rows, shard_digests
from tasks.weights import read_state

LOCK = Path("dvc.lock")


def dataset_provenance(layout: Layout) -> Provenance:
    """What an annotated folder, or data/, was made of. Raises ArtifactError."""
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
        notes=nano_limits(Path(annotator)),
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


def annotator_of(params: dict[str, Any]) -> str:
    """The annotator's folder, or its name on the server; UNKNOWN where the params do not say."""
    key = "model.name" if params.get("model.backend") == "openai" else "model.base"
    return str(params.get(key) or UNKNOWN)
