"""The end of `ouro annotate`: summary.json, the report when all shards are done, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ouro.core.artifacts import write_json
from ouro.core.counts import count_stages
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.pages.report import write_report
from ouro.pages.summary import Summary, lines, summarise
from tasks import screen
from tasks.processes.locks import exclusive
from tasks.report import notes, samples, writer
from tasks.settings import annotator_name
from tasks.shards import Work


def annotator_notes(params: Params) -> list[str]:
    """The notes for model.base being who annotates, also where that is a server's model."""
    model = params.model.model_copy(update={"base": annotator_name(params.model)})
    return notes(params.model_copy(update={"model": model}))


def write_results(params: Params, layout: Layout, seconds: Mapping[str, float], work: Mapping[str, Work]) -> Summary:
    """Write summary.json and, when all shards are done, the report; of several processes one after the other."""
    annotator = annotator_name(params.model)
    with exclusive(layout.state.summary_lock):
        summary = summarise(layout, Path(annotator), seconds, asked_work(params, work))
        write_json(layout.root / "summary.json", summary.to_json())
        if summary.shards_done == summary.shards:
            write_report(
                layout.root / "report",
                title="Ouro: annotations",
                facts={
                    "annotator": annotator,
                    "questions and answers by": writer(params),
                    "images": params.ingest.source,
                },
                notes=annotator_notes(params),
                samples=samples(layout, params),
                counts=count_stages(layout),
                paths={"dataset": str(layout.root)},
            )
    return summary


def asked_work(params: Params, work: Mapping[str, Work]) -> dict[str, dict[str, int | str]]:
    """The work of the stages that ask the annotator."""
    settings = params.synthesize
    asks = {"describe": True, "merge": params.merge.asks, "synthesize": settings.asks or settings.writer == "vlm"}
    return {stage: w._asdict() for stage, w in work.items() if asks.get(stage)}


def say_results(summary: Summary, layout: Layout) -> None:
    """The summary, and where the person finds everything."""
    for line in lines(summary):
        screen.say(line)
    folders = {
        "regions": layout.regions, "descriptions": layout.descriptions, "scenes": layout.scenes,
        "question-answer pairs": layout.qa, "summary": layout.root / "summary.json",
    }  # fmt: skip
    for name, path in folders.items():
        screen.say(f"{name}: {path}")
    if summary.shards_done == summary.shards:
        screen.say(f"report: {layout.root / 'report/index.html'}")
