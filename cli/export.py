"""`ouro export DIR --format FORMAT --out OUT`: what `ouro annotate` or the pipeline wrote, for other trainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import Dataset

if TYPE_CHECKING:
    from ouro.core.layout import Layout
    from ouro.export.folder import ExportShard

ExportFormat = Literal["ms-swift", "llava", "sharegpt", "trl", "webdataset", "coco", "label-studio", "fiftyone"]
ExportImages = Literal["copy", "link", "reference"]
# How to point each reader at the folder; {out} is its absolute path, {folder} the dataset's.
NEXT = {
    "ms-swift": "ROOT_IMAGE_DIR={out} swift sft --dataset {out}/*.jsonl ...",
    "llava": "train.py --data_path {out}/train.json --image_folder {out} ...",
    "sharegpt": "llamafactory-cli train --dataset_dir {out} --dataset ouro ...",
    "trl": 'datasets.load_dataset("{out}", split="train")',
    "webdataset": 'webdataset.WebDataset(sorted(glob.glob("{out}/*.tar"))).decode("pil")',
    "coco": 'pycocotools.coco.COCO("{out}/instances.json"), pictures below {out}/images',
    "label-studio": (
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={out} label-studio; "
        "there a project with label_config.xml, local storage {out}/images, and tasks.json imported; its JSON export "
        "comes back with: ouro review {folder} --from EXPORT.json"
    ),
    "fiftyone": 'fiftyone.Dataset.from_dir(dataset_dir="{out}", dataset_type=fiftyone.types.FiftyOneDataset)',
}


def export(
    folder: Dataset,
    format_: Annotated[ExportFormat, typer.Option("--format", help="The form that your trainer or viewer reads.")],
    out: Annotated[Path, typer.Option(help="Where it goes; made if missing.")],
    images: Annotated[ExportImages, typer.Option(help="How the pictures get there.")] = "copy",
    contents: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="description, questions, regions, grounding: what goes in. May be repeated."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What asks for the description; by default the usual words.")
    ] = None,
    boxes: Annotated[
        str,
        typer.Option(
            metavar="FAMILY",
            help="How boxes are written: qwen2-vl, qwen2.5-vl, qwen3-vl, llava, florence-2 or paligemma; by default "
            "the format's own (ms-swift: pixels, which it converts; others: fractions).",
        ),
    ] = "",
) -> None:
    """Write a dataset in the form of another trainer or viewer, with a card, and say how to point that at it.

    coco, label-studio and fiftyone show regions and descriptions to people. README.md is the card, in the hub's form:
    counts, rejections, scores, limits, provenance; its licence is left to you (`ouro push --license`). What people
    corrected (`ouro review`) is in every export.

    \b
    Examples:
      ouro export out/photos --format ms-swift --out out/swift
      ouro export out/photos --format webdataset --out out/tars
      ouro export data --format trl --out out/trl --images link
      ouro export out/photos --format llava --out out/llava --contents description --contents questions
      ouro export out/photos --format sharegpt --out out/qwen --boxes qwen2.5-vl
      ouro export out/photos --format label-studio --out out/tasks --images link
      ouro export out/photos --format coco --out out/coco
    """
    run(folder, out, format_, images, contents or None, prompt, boxes)


def run(
    folder: Path,
    out: Path,
    format: str,
    images: str = "copy",
    contents: Sequence[str] | None = None,
    prompt: str | None = None,
    boxes: str = "",
) -> None:
    """The command; by default all that the format can hold, and PROMPT. Raises ExportError, and ArtifactError for a
    folder that was not annotated to its end."""
    from ouro.core.artifacts import read_sidecar
    from ouro.core.cards import README
    from ouro.core.layout import layout_of, shard_names
    from ouro.export.card import make_dataset_card
    from ouro.export.conversations import PROMPT
    from ouro.export.folder import VIEWER_FORMATS, ExportError, ExportOptions, contents_of
    from ouro.export.folder import export as write_export
    from tasks import screen
    from tasks.dataset_card import dataset_provenance

    kinds = tuple(contents_of(format) if contents is None else contents)
    if not kinds:
        raise ExportError(f"--contents: got nothing, expected some of {', '.join(contents_of(format))}")
    layout = layout_of(folder)
    names = shard_names(layout.images)
    total = sum(read_sidecar(layout.images / name).n_out for name in names)
    with screen.progress("export", total, "images") as advance:
        settings = ExportOptions(format, kinds, PROMPT if prompt is None else prompt, images, boxes)
        counts = write_export(
            _shards(layout, names, kinds, format in VIEWER_FORMATS), layout.images, out, settings, advance,
            lambda counts, files: make_dataset_card(counts, files, kinds, dataset_provenance(layout)),
        )  # fmt: skip
    screen.say(counts.line())
    screen.say(f"{out}: {NEXT[format].format(out=out.resolve(), folder=folder)}")
    screen.say(f"{out / README}: the card; its licence is left to you: ouro push {out} OWNER/NAME --license ID")


def _shards(
    layout: Layout, names: Sequence[str], contents: Sequence[str], named: bool = False
) -> Iterator[ExportShard]:
    """The shards in order, as people left them; pairs are read only for contents that hold questions, and what the
    annotator calls the main objects only where it is shown (`named`)."""
    from ouro.core.artifacts import read_shard
    from ouro.core.corrections import apply_corrections, count_corrections, read_corrections
    from ouro.core.records import Image, QAPair, Region, Scene
    from ouro.export.folder import ExportShard

    corrections = read_corrections(layout)
    for name in names:
        images = read_shard(layout.images / name, Image)
        regions, scenes = read_shard(layout.regions / name, Region), read_shard(layout.scenes / name, Scene)
        corrected = apply_corrections(corrections, regions, scenes)
        yield ExportShard(
            Path(name).stem,
            images,
            corrected.regions,
            corrected.scenes,
            read_shard(layout.qa / name, QAPair) if "questions" in contents else [],
            _read_names(layout, name) if named else {},
            count_corrections([corrected]),
        )


def _read_names(layout: Layout, name: str) -> dict[str, str]:
    """What the annotator calls the main object of each region; nothing for a dataset without descriptions."""
    from ouro.core.artifacts import read_shard
    from ouro.core.records import Description

    path = layout.descriptions / name
    return {d.region_id: d.name for d in read_shard(path, Description)} if path.is_file() else {}
