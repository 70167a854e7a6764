"""report/index.html from the results of a run: what the stages wrote, read back and handed to ouro.pages.report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ouro.benchmarks.comparison import Comparison
from ouro.core.artifacts import list_shards, read_shard
from ouro.core.counts import count_stages
from ouro.core.json_text import parse_json
from ouro.core.layout import ADAPTER, PIPELINE, Layout
from ouro.core.params import Params, load_params
from ouro.core.pictures import load_stored, stored_file
from ouro.core.records import Description, Image, QAPair, Region, Scene
from ouro.nano.model import is_nano
from ouro.pages.report import LossPoint, ReportSample, write_report
from tasks import screen

OUT = Path("report")
SAMPLES = 8
NANO_PROPOSER = Path("models/nano/rpn")
NANO_NOTE = (
    "These annotations come from models/nano, a model of 3 million parameters that knows only the drawn scenes of "
    "its own nano world. On photographs its words mean nothing. To use a real model: "
    "ouro annotate FOLDER --out DIR --profile paper --model PATH_TO_A_HUGGING_FACE_FOLDER (or set model.base and "
    "what profiles/paper.yaml sets in params.yaml)."
)
PROPOSER_NOTE = (
    "The regions come from models/nano/rpn, a proposal network trained on drawn scenes: on other images it finds "
    "fewer regions, and rougher ones. To use another: set model.proposer."
)


def rebuild() -> None:
    """`ouro report`: the page of the pipeline's last results. Raises ArtifactError when there are none."""
    path = pipeline_report(load_params(), {})
    screen.say(f"report: {path}")


def pipeline_report(params: Params, paths: Mapping[str, str]) -> Path:
    """The page of a round."""
    facts = {
        "annotator": params.model.base,
        "questions and answers by": writer(params),
        "source": params.ingest.source,
        "seed": str(params.seed),
        "sub-regions (k)": str(params.train.k),
        "LoRA rank": str(params.train.rank),
        "supervision": params.train.supervision,
    }
    return write_report(
        OUT,
        title="Ouro: one round",
        facts=facts,
        notes=notes(params),
        samples=samples(PIPELINE, params),
        losses=losses(ADAPTER),
        comparisons=comparisons(PIPELINE.scores / "scores.json"),
        counts=count_stages(PIPELINE),
        paths=paths,
    )


def notes(params: Params) -> list[str]:
    """What the reader has to know when nano's models are pointed at something that is not their world."""
    if params.ingest.source == "nano":
        return []
    proposes = "rpn" in params.propose.proposers and Path(params.model.proposer).resolve() == NANO_PROPOSER.resolve()
    return [NANO_NOTE] * is_nano(Path(params.model.base)) + [PROPOSER_NOTE] * proposes


def writer(params: Params) -> str:
    """Who writes the question-answer pairs."""
    return "a template, from the merged description" if params.synthesize.writer == "template" else "the annotator"


def samples(layout: Layout, params: Params, n: int = SAMPLES) -> list[ReportSample]:
    """The first training images of the first shards, with the records of every stage."""
    report_samples: list[ReportSample] = []
    for shard in list_shards(layout.scenes):
        name = shard.name
        images = [i for i in read_shard(layout.images / name, Image) if i.split == "train"]
        regions = read_shard(layout.regions / name, Region)
        descriptions = read_shard(layout.descriptions / name, Description)
        scenes = {s.image_id: s for s in read_shard(layout.scenes / name, Scene)}
        pairs = read_shard(layout.qa / name, QAPair)
        for image in images[: n - len(report_samples)]:
            image_id = image.image_id
            report_samples.append(
                ReportSample(
                    image,
                    load_stored(stored_file(layout.images, image), params.ingest.max_pixels),
                    [r for r in regions if r.image_id == image_id],
                    [d for d in descriptions if d.image_id == image_id],
                    scenes.get(image_id),
                    [p for p in pairs if p.image_id == image_id],
                )
            )
        if len(report_samples) == n:
            break
    return report_samples


def losses(adapter: Path) -> list[LossPoint]:
    """The loss curves that stage train left beside the adapter."""
    path = adapter / "train_log.json"
    if not path.is_file():
        return []
    rows = parse_json(path.read_text())
    return [LossPoint(row["step"], row.get("loss_desc"), row.get("loss_qa")) for row in rows]


def comparisons(scores: Path) -> list[Comparison]:
    """Base against bootstrapped in each arm; [] where nothing was benchmarked."""
    if not scores.is_file():
        return []
    return [Comparison.from_json(value) for value in parse_json(scores.read_text())["comparisons"]]
