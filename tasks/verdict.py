"""The end of a round: the verdict over its measurements, and the round's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ouro.core.artifacts import ArtifactError, Sidecar, list_shards, read_sidecar
from ouro.core.counts import count_stages
from ouro.core.json_text import parse_json
from ouro.core.layout import PIPELINE, Layout
from ouro.core.params import Params
from ouro.rounds.gate import Measured, Verdict, decide, gained
from ouro.rounds.ledger import Round, write_round
from tasks import versions
from tasks.promotion import candidate_digest

if TYPE_CHECKING:
    from pathlib import Path

    from ouro.benchmarks.comparison import Comparison

COUNTED = {"images": "merge", "regions": "describe", "pairs": "synthesize"}  # count in a round's file -> its stage
NOTHING = (
    "nothing was measured: there are no held-out questions. Fix: name benchmarks in benchmark.names and in "
    "gate.benchmarks"
)


def judge(params: Params, annotator: str, seconds: Mapping[str, float], run_id: str) -> Round:
    """Decide by data/scores/gate.json, and write the round's file and its Prefect artifact; returns the round.

    Without any measurement nothing is promoted. Raises GateError.
    """
    measurements = read_measured(PIPELINE)
    against = "champion" if params.model.adapter else "base"
    verdict = decide(measurements, against, params.gate) if measurements else Verdict(False, (NOTHING,))
    record = Round(
        number=params.round, annotator=annotator, against=against, trained_from=params.train.from_,
        candidate=candidate_digest(), counts=_counts(PIPELINE), words=_words(PIPELINE), measured=tuple(measurements),
        verdict=verdict, gained=gained(measurements, against, params.gate), data=versions.dataset_digests(), run=run_id,
        seconds={stage: round(s, 1) for stage, s in seconds.items()},
    )  # fmt: skip
    write_round(record)
    _artifact(record)
    return record


def read_measured(layout: Layout) -> list[Measured]:
    """The measurements of stage benchmark. Raises ArtifactError."""
    path = layout.scores / "gate.json"
    try:
        return [Measured.from_json(value) for value in parse_json(path.read_text())["measured"]]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{path}: {error}; expected what stage benchmark writes. Fix: run the round again"
        ) from error


def _counts(layout: Layout) -> dict[str, int]:
    """How many training images, regions and accepted pairs there are."""
    outputs = {count.stage: count.n_out for count in count_stages(layout)}
    return {name: outputs.get(stage, 0) for name, stage in COUNTED.items()}


def _words(layout: Layout) -> float:
    """Mean words of a merged description."""
    sidecars = list(_sidecars(layout.scenes))
    return round(sum(s.meta.get("words", 0) for s in sidecars) / max(1, sum(s.n_out for s in sidecars)), 2)


def _sidecars(folder: Path) -> Iterable[Sidecar]:
    return (read_sidecar(shard) for shard in list_shards(folder))


def headline(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The figures of a round that its MLflow run shows first: means over question types."""
    numbers: dict[str, float] = {}
    for c in comparisons:
        row = c.macro
        figures = {
            "accuracy.base": row.base_accuracy, "accuracy.boot": row.boot_accuracy,
            "accuracy.gain": row.accuracy_gain, "margin.base": row.base_margin, "margin.boot": row.boot_margin,
            "margin.gain": row.margin_gain,
        }  # fmt: skip
        numbers |= {f"{c.arm}.{name}": figure.value for name, figure in figures.items() if figure}
    return numbers


def _artifact(record: Round) -> None:
    """The verdict as a table in Prefect."""
    from prefect.artifacts import create_table_artifact

    rows = [
        {"benchmark": m.name, "n": m.gain.n, "compared with": m.models[0], "its": m.first, "candidate": m.second,
         "gain": m.gain.value, "low": m.gain.low, "high": m.gain.high}
        for m in record.measured
    ]  # fmt: skip
    outcome = "promoted" if record.verdict.promoted else "refused"
    create_table_artifact(
        key="verdict",
        table=rows,
        description=f"round {record.number}: {outcome}\n\n" + "\n".join(record.verdict.reasons),
    )
