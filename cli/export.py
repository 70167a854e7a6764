"""`ouro export DIR --format FORMAT --out OUT`: what `ouro annotate` or the pipeline wrote, for other trainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ouro.core.artifacts import read_shard, read_sidecar
from ouro.core.layout import Layout, layout_of, shard_names
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.export.conversations import CONTENTS, PROMPT
from ouro.export.folder import ExportError, Shard, Wanted, export
from tasks import screen

# How to point each trainer at the folder; {out} is its absolute path.
NEXT = {
    "ms-swift": "ROOT_IMAGE_DIR={out} swift sft --dataset {out}/*.jsonl ...",
    "llava": "train.py --data_path {out}/train.json --image_folder {out} ...",
    "sharegpt": "llamafactory-cli train --dataset_dir {out} --dataset ouro ...",
    "trl": 'datasets.load_dataset("{out}", split="train")',
    "webdataset": 'webdataset.WebDataset(sorted(glob.glob("{out}/*.tar"))).decode("pil")',
}


def run(
    folder: Path,
    out: Path,
    format: str,
    images: str = "copy",
    contents: Sequence[str] = CONTENTS,
    prompt: str = PROMPT,
) -> None:
    """The command. Raises ExportError, and ArtifactError for a folder that was not annotated to its end."""
    strange = [name for name in contents if name not in CONTENTS]
    if strange or not contents:
        raise ExportError(f"--contents: got {strange or 'nothing'}, expected some of {', '.join(CONTENTS)}")
    layout = layout_of(folder)
    names = shard_names(layout.images)
    total = sum(read_sidecar(layout.images / name).n_out for name in names)
    with screen.progress("export", total, "images") as advance:
        wanted = Wanted(format, contents, prompt, images)
        counts = export(_shards(layout, names, contents), layout.images, out, wanted, advance)
    screen.say(counts.line())
    screen.say(f"{out}: {NEXT[format].format(out=out.resolve())}")


def _shards(layout: Layout, names: Sequence[str], contents: Sequence[str]) -> Iterator[Shard]:
    """Shard after shard; pairs are read only where they are wanted."""
    for name in names:
        yield Shard(
            Path(name).stem,
            read_shard(layout.images / name, Image),
            read_shard(layout.regions / name, Region),
            read_shard(layout.scenes / name, Scene),
            read_shard(layout.qa / name, QAPair) if "questions" in contents else [],
        )
