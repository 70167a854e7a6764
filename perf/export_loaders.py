"""Do ms-swift and LLaMA-Factory read what `ouro export` writes? `uv run python perf/export_loaders.py [--data DIR]`

Needs the folder that `ouro bootstrap` or `ouro annotate` leaves (default: data), uv, and a package index: each
trainer is installed by uv into an environment of its own (about 6 GB, once), since neither lives with Ouro's
transformers. Exports to a temporary folder, lets the trainer's own loader read it, strictly, and counts what arrives:
conversations, answers, boxes, and pictures that it can open. Leaves with 1 unless all of it does.

torch is held at 2.8 for LLaMA-Factory: it imports torchaudio, of which the newest release was built for another CUDA
than the newest torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cli import export as command

MS_SWIFT = """
import json, os, sys
folder, *names = sys.argv[1:]
os.environ["ROOT_IMAGE_DIR"] = folder
from swift.dataset import load_dataset
from swift.template.vision_utils import load_image
rows, _ = load_dataset([os.path.join(folder, name) for name in names], strict=True)
found = {"conversations": len(rows), "answers": 0, "boxes": 0, "pictures": 0}
for row in rows:
    found["answers"] += sum(m["role"] == "assistant" for m in row["messages"])
    found["boxes"] += len((row.get("objects") or {"bbox": []})["bbox"])
    found["pictures"] += sum(load_image(image["path"]).mode == "RGB" for image in row["images"])
print(json.dumps(found))
"""

LLAMA_FACTORY = """
import json, sys
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import TrainingArguments
from PIL import Image
folder = sys.argv[1]
[described] = get_dataset_list(["ouro"], folder)
arguments = DataArguments(dataset="ouro", dataset_dir=folder)
arguments.media_dir = arguments.media_dir or folder
rows = _load_single_dataset(described, ModelArguments(model_name_or_path="-"), arguments, TrainingArguments())
found = {"conversations": len(rows), "answers": 0, "boxes": 0, "pictures": 0}
for row in rows:
    said = row["_prompt"] + row["_response"]
    found["answers"] += sum(m["role"] == "assistant" for m in said)
    found["pictures"] += sum(Image.open(path).mode == "RGB" for path in row["_images"])
print(json.dumps(found))
"""

SWIFT = ("ms-swift>=4.6",)
FACTORY = ("llamafactory>=0.9.5", "torch==2.8.*", "torchaudio==2.8.*", "torchvision==0.23.*")
# format -> (packages, code, files that the loader is given)
READERS = {
    "ms-swift": (SWIFT, MS_SWIFT, ("train.jsonl", "grounding.jsonl")),
    "llava": (SWIFT, MS_SWIFT, ("train.json",)),  # which ms-swift reads, too
    "sharegpt": (FACTORY, LLAMA_FACTORY, ()),
}


def read_back(folder: Path, packages: tuple[str, ...], code: str, names: tuple[str, ...]) -> dict[str, int]:
    """What the loader found, run in an environment of its own."""
    words = ["uv", "run", "--isolated", "--no-project", "--python", "3.11"]
    words += [word for package in packages for word in ("--with", package)]
    words += ["python", "-c", code, str(folder), *(name for name in names if (folder / name).is_file())]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{packages[0]} does not read {folder.name}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def written(folder: Path, name: str) -> dict[str, int]:
    """What the loader has to find, by the export's own counts; boxes are a field of ms-swift's rows alone."""
    counts: dict[str, Any] = json.loads((folder / "counts.json").read_text())["ouro_export"]
    conversations = sum(counts["conversations"].values())
    boxes = 2 * counts["turns"].get("regions", 0) if name == "ms-swift" else 0  # described, and found
    totals = {"conversations": conversations, "answers": sum(counts["turns"].values()), "boxes": boxes}
    return {**totals, "pictures": conversations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    data: Path = parser.parse_args().data
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        for name, (packages, code, names) in READERS.items():
            folder = Path(scratch) / name
            command.run(data, folder, name)
            wrote, read = written(folder, name), read_back(folder, packages, code, names)
            failed |= wrote != read
            print(f"{name} by {packages[0]}: wrote {wrote}, read {read}: {'same' if wrote == read else 'DIFFERS'}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
