"""`ouro benchmark`, asked once and then repeated: `uv run python perf/asking.py [--scenes 600]`.

Held-out nano scenes and their questions, written as VQAv2's official files, are asked of models/nano by a process of
`ouro benchmark`; then again, with every reply kept, and again after one picture has changed. Printed: questions,
seconds of each, and how many times faster the repeat is (target: 20), start of the process included. Exit code 1 when
the target is missed or the repeat writes another file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = 20.0
FILES = ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json")


def write(folder: Path, scenes: int) -> list[Path]:
    """The benchmark of that many scenes; returns its pictures."""
    from ouro.core.artifacts import read_shard
    from ouro.core.layout import shard_names
    from ouro.core.params import Ingest
    from ouro.core.records import Image
    from ouro.nano.world import write_world

    images, annotations = folder / "images", folder / "annotations"
    write_world(images, annotations, Ingest(train_images=1, test_images=scenes), seed=7)
    paths = {i.image_id: i.path for name in shard_names(images) for i in read_shard(images / name, Image)}
    for part, name in zip(("questions", "annotations"), FILES, strict=True):
        content = json.loads((annotations / f"test_{part}.json").read_text())
        rows = [{**row, "image_id": paths[row["image_id"]]} for row in content[part]]
        (folder / name).write_text(json.dumps({part: rows}))
    return sorted(images / path for path in paths.values())


def ask(work: Path, out: str) -> float:
    """Seconds of the command."""
    words = ["benchmark", "--benchmarks", "vqav2", "--data", str(work / "data"), "--out", out, "--no-track"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cli.app", *words], check=True, cwd=work, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=600)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pictures = write(work / "data/vqav2", args.scenes)
        for name in ("models", "params.yaml"):
            (work / name).symlink_to(ROOT / name)
        first, second = ask(work, "first"), ask(work, "again")
        one, other = (json.loads((work / run / "vqav2/scores.json").read_text()) for run in ("first", "again"))
        pictures[0].write_bytes(pictures[1].read_bytes())
        changed = ask(work, "changed")
    ratio = first / second
    print(json.dumps({
        "questions": one["n"], "first s": round(first, 1), "again s": round(second, 1), "times faster": round(ratio, 1),
        "one picture changed s": round(changed, 1), "same scores": one == other,
    }, indent=1))  # fmt: skip
    return 0 if one == other and ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
