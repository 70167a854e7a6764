"""A round in MLflow: its run, continued with the round, its figures, its adapter, its report."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ouro.core.counts import count_stages
from ouro.core.layout import ADAPTER, PIPELINE
from ouro.core.params import Params, load_params
from ouro.core.state import CHECKOUT
from ouro.rounds.ledger import Round, read_round, tag
from tasks import registry, screen, tracking, versioning, versions
from tasks.promotion import is_candidate
from tasks.report import comparisons, pipeline_report
from tasks.saturation import is_finished
from tasks.verdict import headline


@contextmanager
def round_run(params: Params) -> Generator[tracking.Run]:
    """The round's run, and below it those of the stages that are started in this block."""
    tags = {"round": str(params.round), "k": str(params.train.k), "supervision": params.train.supervision}
    with tracking.run(f"round {params.round}", tags, continued=_run_file(params.round)) as parent:
        parent.params(params.model_dump(mode="json"))
        with tracking.parent_of_children(parent):
            yield parent


def _run_file(number: int) -> Path:
    """The file with the id of a round's MLflow run, until everything is logged."""
    return CHECKOUT.round_run(tag(number))


def result_paths(parent: tracking.Run) -> dict[str, str]:
    """Where the person finds the results of a round."""
    run = f"experiment {tracking.EXPERIMENT}, run {parent.run_id}"
    return {"adapter": str(ADAPTER), "datasets": str(PIPELINE.root), "MLflow run": run}


def log_round(params: Params, parent: tracking.Run, record: Round, seconds: Mapping[str, float]) -> Path:
    """Give MLflow the results of a round, and write the report; returns its path."""
    numbers = {
        f"{count.stage}.{name}": float(n)
        for count in count_stages(PIPELINE)
        for name, n in (("in", count.n_in), ("out", count.n_out))
    }
    headlines = headline(comparisons(PIPELINE.scores / "scores.json"))
    parent.metrics({**numbers, **{f"seconds.{stage}": s for stage, s in seconds.items()}, **headlines})
    verdict_tags = _describe(record)
    annotations = str(record.counts.get("pairs", 0))
    parent.tags({**versions.provenance(), **versions.dataset_digests(), **verdict_tags, "annotations": annotations})
    parent.artifact(Path("rounds") / f"{record.tag}.json")
    version = {key: versions.provenance()[key] for key in ("git_commit", "dvc_lock")}
    registry.register(parent, ADAPTER, {**version, "round": str(record.number), **verdict_tags})
    if params.model.adapter:
        registry.set_champion_alias(parent, Path(params.model.adapter).name.removeprefix("round-").lstrip("0"))
    report = pipeline_report(params, result_paths(parent))
    parent.artifact(report, "report")
    return report


def _describe(record: Round) -> dict[str, str]:
    return {
        "verdict": "promoted" if record.verdict.promoted else "refused",
        "annotator": record.annotator,
        "why": "; ".join(record.verdict.reasons),
        "git_tag": tag(record.number) if versioning.has_tag(record.tag) else "",
    }


def log_pending(number: int) -> None:
    """Log a finished round that MLflow does not have: its process was killed in between."""
    if not (_run_file(number).is_file() and is_finished(number)):
        return
    record = read_round(number)
    if is_candidate(record):
        screen.say(f"round {number} ended before MLflow was told; its figures and its adapter are added now")
        with tracking.run(f"round {number}", continued=_run_file(number)) as parent:
            log_round(load_params(), parent, record, record.seconds)
    else:
        _run_file(number).unlink()
