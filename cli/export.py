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

ExportFormat = Literal["ms-swift", "llava", "sharegpt", "trl", "webdataset"]
ExportImages = Literal["copy", "link", "reference"]
# How to point each trainer at the folder; {out} is its absolute path.
NEXT = {
    "ms-swift": "ROOT_IMAGE_DIR={out} swift sft --dataset {out}/*.jsonl ...",
    "llava": "train.py --data_path {out}/train.json --image_folder {out} ...",
    "sharegpt": "llamafactory-cli train --dataset_dir {out} --dataset ouro ...",
    "trl": 'datasets.load_dataset("{out}", split="train")',
    "webdataset": 'webdataset.WebDataset(sorted(glob.glob("{out}/*.tar"))).decode("pil")',
}


def export(
    folder: Dataset,
    format_: Annotated[ExportFormat, typer.Option("--format", help="The form that your trainer reads.")],
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
    """Write a dataset in the form of another trainer, and say how to point that trainer at it.

    \b
    Examples:
      ouro export out/photos --format ms-swift --out out/swift
      ouro export out/photos --format webdataset --out out/tars
      ouro export data --format trl --out out/trl --images link
      ouro export out/photos --format llava --out out/llava --contents description --contents questions
      ouro export out/photos --format sharegpt --out out/qwen --boxes qwen2.5-vl
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
    """The command; by default all CONTENTS, and PROMPT. Raises ExportError, and ArtifactError for a folder that was not
    annotated to its end."""
    from ouro.core.artifacts import read_sidecar
    from ouro.core.layout import layout_of, shard_names
    from ouro.export.conversations import CONTENTS, PROMPT
    from ouro.export.folder import ExportError, ExportOptions
    from ouro.export.folder import export as write_export
    from tasks import screen

    contents = CONTENTS if contents is None else contents
    unknown = [name for name in contents if name not in CONTENTS]
    if unknown or not contents:
        raise ExportError(f"--contents: got {unknown or 'nothing'}, expected some of {', '.join(CONTENTS)}")
    layout = layout_of(folder)
    names = shard_names(layout.images)
    total = sum(read_sidecar(layout.images / name).n_out for name in names)
    with screen.progress("export", total, "images") as advance:
        settings = ExportOptions(format, contents, PROMPT if prompt is None else prompt, images, boxes)
        counts = write_export(_shards(layout, names, contents), layout.images, out, settings, advance)
    screen.say(counts.line())
    screen.say(f"{out}: {NEXT[format].format(out=out.resolve())}")


def _shards(layout: Layout, names: Sequence[str], contents: Sequence[str]) -> Iterator[ExportShard]:
    """The shards in order; pairs are read only for contents that hold questions."""
    from ouro.core.artifacts import read_shard
    from ouro.core.records import Image, QAPair, Region, Scene
    from ouro.export.folder import ExportShard

    for name in names:
        yield ExportShard(
            Path(name).stem,
            read_shard(layout.images / name, Image),
            read_shard(layout.regions / name, Region),
            read_shard(layout.scenes / name, Scene),
            read_shard(layout.qa / name, QAPair) if "questions" in contents else [],
        )
